import json
import re

import pytest

from l1ad.study import stages
from l1ad.study.stages import code_digest, path_digest, run_stage


@pytest.fixture
def stage(tmp_path):
    """Function that runs a stage writing one file, and says whether its action ran."""

    def running(made_from, name="train", text="made", error=None):
        out = tmp_path / f"{name}.txt"
        ran = []

        def action():
            ran.append(True)
            out.write_text(text)
            if error is not None:
                raise error

        run_stage(tmp_path, name, made_from, (out,), action)
        return bool(ran)

    return running


def record(folder):
    return json.loads((folder / "stages.json").read_text())


def test_a_stage_is_skipped_while_nothing_changes(stage, capsys, tmp_path):
    assert stage({"epochs": 3, "events": "abc"})
    assert re.fullmatch(rf"{tmp_path.name}: train\n{tmp_path.name}: train: done in \d\.\d s\n", capsys.readouterr().out)
    assert not stage({"events": "abc", "epochs": 3})  # the order of keys means nothing
    assert capsys.readouterr().out == f"{tmp_path.name}: train: up to date\n"


@pytest.mark.parametrize("changed", [{"epochs": 4, "events": "abc"}, {"epochs": 3, "events": "abd"}, {"epochs": 3}])
def test_other_settings_or_sources_run_it_again(stage, changed):
    assert stage({"epochs": 3, "events": "abc"})
    assert stage(changed)
    assert not stage(changed)


def test_other_outputs_run_it_again(stage, tmp_path):
    stage({})
    (tmp_path / "train.txt").write_text("edited")
    assert stage({})
    (tmp_path / "train.txt").unlink()
    assert stage({})
    assert not stage({})


def test_other_code_runs_it_again(stage, monkeypatch):
    stage({})
    monkeypatch.setattr(stages, "code_digest", lambda: "other")
    assert stage({})
    assert not stage({})


@pytest.mark.parametrize("error", [ValueError("diverged"), KeyboardInterrupt()])
def test_a_stage_that_ends_early_is_not_recorded(stage, error, tmp_path):
    with pytest.raises(type(error)):
        stage({}, error=error)
    assert not (tmp_path / "stages.json").exists()
    assert stage({})


def test_a_failure_keeps_what_other_stages_did(stage, tmp_path):
    stage({}, "train")
    stage({}, "convert")
    before = record(tmp_path)
    with pytest.raises(ValueError, match="no"):
        stage({"new": 1}, "train", text="half", error=ValueError("no"))
    assert record(tmp_path) == before
    assert not stage({}, "convert")
    assert stage({}, "train")  # its file is no longer the recorded one
    assert sorted(record(tmp_path)) == ["convert", "train"]


@pytest.mark.parametrize("text", ["{", "[]", '{"train": 1}', ""])
def test_a_damaged_record_is_named(stage, text, tmp_path):
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(ValueError, match=r"stages\.json: must be the record of finished stages.*; delete it$"):
        stage({})


def test_a_folder_is_its_files_without_what_compilers_leave(tmp_path):
    folder = tmp_path / "project"
    assert path_digest(folder) == ""
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "w2.txt").write_text("1, 2")
    first = path_digest(folder)
    (folder / "l1ad-1234.so").write_bytes(b"\x7fELF")
    assert path_digest(folder) == first
    (folder / "weights" / "w2.txt").write_text("1, 3")
    second = path_digest(folder)
    (folder / "weights" / "w2.txt").rename(folder / "weights" / "w3.txt")
    assert len({first, second, path_digest(folder)}) == 3


def test_the_code_digest_covers_sources_and_versions(monkeypatch):
    code_digest.cache_clear()
    before = code_digest()
    assert re.fullmatch("[0-9a-f]{64}", before)
    with monkeypatch.context() as patch:
        patch.setattr(stages, "version", lambda _: "other")
        code_digest.cache_clear()
        assert code_digest() != before
    with monkeypatch.context() as patch:
        patch.setattr(stages, "file_digest", lambda path: path.name)
        code_digest.cache_clear()
        assert code_digest() != before
    code_digest.cache_clear()
    assert code_digest() == before
