import hashlib
import os
import stat

import pytest

from l1ad.files import canonical_json, digest, file_digest, replacing, replacing_folder, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "één\n")
    write_text(str(path), "two\n")
    assert path.read_bytes() == b"two\n"
    assert names(path.parent) == ["a.txt"]


def test_nothing_changes_where_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(TypeError), replacing(path) as aside, aside.open("w") as file:
        file.writelines(["half of the ", None])
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_final_name_appears_last(tmp_path):
    with replacing(tmp_path / "a.txt") as aside:
        aside.write_text("x")
        assert aside.parent == tmp_path
        assert not (tmp_path / "a.txt").exists()
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"/a\.txt: cannot write into folder '.*/file' \(.*\); choose a writable"):
        write_text(tmp_path / "file" / "a.txt", "x")


def fill(path, text, **options):
    with replacing_folder(path, **options) as aside:
        (aside / text).write_text(text)


def test_a_folder_is_written_and_replaced_whole(tmp_path):
    path = tmp_path / "new" / "a"
    fill(path, "one")
    assert names(path) == ["one"]
    fill(str(path), "two")
    assert names(path) == ["two"]
    assert names(path.parent) == ["a"]


def test_a_folder_may_be_read_by_whom_it_may_concern(tmp_path):
    before = os.umask(0o022)
    try:
        fill(tmp_path / "a", "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755


def test_nothing_changes_where_a_folder_is_not_filled(tmp_path):
    path = tmp_path / "a"
    fill(path, "old")
    with pytest.raises(TypeError), replacing_folder(path) as aside, (aside / "new").open("w") as file:
        file.writelines(["half of the ", None])
    assert names(path) == ["old"]
    assert names(tmp_path) == ["a"]


def test_what_a_faster_process_made_is_kept_in_a_cache(tmp_path):
    path = tmp_path / "a"
    with replacing_folder(path, keep=True) as aside:
        (aside / "late").write_text("x")
        fill(path, "fast", keep=True)
    assert names(path) == ["fast"]
    assert names(tmp_path) == ["a"]


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(OSError, match="file"):
            fill(path, "one")
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file"]


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": [1, 2], "a": "é"}) == r'{"a":"\u00e9","b":[1,2]}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
    assert digest([]) == hashlib.sha256(b"[]").hexdigest()
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest([float("nan")])


def test_file_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc\r\n")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc\r\n").hexdigest()
