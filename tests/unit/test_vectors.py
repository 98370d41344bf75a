"""Pattern files and ``.dat`` vectors: by hand, there and back, and in the hls4ml project's own test bench."""

import re
import shlex
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from l1ad.compiler import find_compiler
from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.fixed import FixedPoint
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.vectors import (
    n_links,
    outputs,
    pack,
    raw_range,
    read_pattern,
    unpack,
    write_pattern,
    write_vectors,
)
from l1ad.network import Network
from l1ad.operations import Dense, Input

PORTS = (Port("pt", 12, False), Port("eta", 8, True), Port("wide", 60, True), Port("flag", 1, False))

PATTERN = """\
Board l1ad_0123
 Quad/Chan :       q00c0              q00c1
      Link :         00                 01
Frame 0000 : 1v0000000000000001 1vfedcba9876543210
Frame 0001 : 1vffffffffffffffff 1v0000000000000000
"""
WORDS = np.array([[1, 0xFEDCBA9876543210], [2**64 - 1, 0]], np.uint64)


def small_network():
    trigger = Input("trigger", ("a", "b"), np.array([-128, 0]), np.array([127, 63]), FixedPoint(9, 1))
    weight, bias, out = np.array([[3], [1]]), np.array([0]), FixedPoint(12, 3, True, "TRN", "WRAP")
    return Network((trigger, Dense("score", "trigger", weight, FixedPoint(4, 2), bias, FixedPoint(2, 0), None, out)))


NETWORK = small_network()
INPUTS = (Port("a", 8, True), Port("b", 6, False))
DESIGN = Design("core", NETWORK.digest, INPUTS, Port("score", 12, True), 5.0, 3, 1, {})
THRESHOLDS = [5, -300]


def events(n=50):
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.integers(-128, 128, n), rng.integers(0, 64, n)])
    x[:2] = [[-128, 63], [127, 0]]
    score = reference.emulate(NETWORK, x)
    return x, score, score[:, None] >= np.array(THRESHOLDS)


def write(folder, **changed):
    x, score, accept = events()
    given = {"design": DESIGN, "network": NETWORK, "x": x, "score": score, "accept": accept, "thresholds": THRESHOLDS}
    given |= changed
    return write_vectors(folder=folder, **given)


# packing


def test_ports_lie_one_after_the_other_lowest_bit_first():
    (words,) = pack(PORTS, [[0xABC, -1, -2, 1]]).tolist()
    whole = 1 << 80 | ((1 << 60) - 2) << 20 | 0xFF << 12 | 0xABC
    assert words == [whole & (1 << 64) - 1, whole >> 64]
    assert [f"{word:016x}" for word in words] == ["ffffffffffeffabc", "000000000001ffff"]


def test_words_are_unpacked_to_what_was_packed(rng):
    for _ in range(20):
        widths = rng.integers(1, 64, rng.integers(1, 12))
        ports = [Port(f"p{i}", int(w), bool(w > 1 and rng.integers(2))) for i, w in enumerate(widths)]
        low, high = np.array([raw_range(port) for port in ports]).T
        raw = np.vstack([low, high, rng.integers(low, high, (5, len(ports)), endpoint=True)])
        words = pack(ports, raw)
        assert words.shape == (7, n_links(ports)) == (7, -(-int(widths.sum()) // 64))
        np.testing.assert_array_equal(unpack(ports, words), raw)


@pytest.mark.parametrize(
    ("raw", "error", "said"),
    [
        ([[4096, 0, 0, 0]], ValueError, "event 0: pt must lie in 0 .. 4095, not be 4096"),
        ([[0, 0, 0, 0], [0, -129, 0, 0]], ValueError, "event 1: eta must lie in -128 .. 127, not be -129"),
        ([[0, 0, 0]], ValueError, r"shape \(n_events, 4\), not \(1, 3\)"),
        ([[0.0, 0, 0, 0]], TypeError, "must be integers, not float64"),
    ],
)
def test_what_does_not_fit_the_ports_is_refused(raw, error, said):
    with pytest.raises(error, match=said):
        pack(PORTS, raw)


def test_words_of_another_packing_are_refused():
    with pytest.raises(ValueError, match="frame 0: bits above flag must be 0"):
        unpack(PORTS, np.array([[0, 1 << 17]], np.uint64))
    with pytest.raises(ValueError, match=r"shape \(n_events, 2\), not \(1, 3\)"):
        unpack(PORTS, np.zeros((1, 3), np.uint64))


# pattern files


def test_pattern_file_is_as_boards_read_it(tmp_path):
    write_pattern(tmp_path / "input.txt", "l1ad_0123", WORDS)
    assert (tmp_path / "input.txt").read_text() == PATTERN
    write_pattern(tmp_path / "many.txt", "b", np.zeros((1, 6), np.uint64))
    assert re.findall(r"q\d\dc\d", (tmp_path / "many.txt").read_text())[3:] == ["q00c3", "q01c0", "q01c1"]


def test_pattern_is_read_as_it_was_written(tmp_path, rng):
    words = rng.integers(0, 2**64, (2000, 9), np.uint64)
    write_pattern(tmp_path / "p.txt", "a board", words)
    pattern = read_pattern(tmp_path / "p.txt")
    assert pattern.board == "a board"
    assert pattern.links == tuple(range(9))
    assert pattern.valid.all()
    np.testing.assert_array_equal(pattern.words, words)


def test_pattern_of_others_is_read(tmp_path):
    text = (
        "# captured\r\n\r\nBoard x1\r\n Quad/Chan :    q00c0      q17c3  \r\n      Link :     00    71\r\n"
        "Frame 0000 : 0v0000000000000000 1vABCDEF0123456789\r\n"
    )
    (tmp_path / "p.txt").write_bytes(text.encode())
    pattern = read_pattern(tmp_path / "p.txt")
    assert pattern.links == (0, 71)
    assert pattern.valid.tolist() == [[False, True]]
    assert pattern.words.tolist() == [[0, 0xABCDEF0123456789]]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Board l1ad_0123", "Bored", r":1: line must be 'Board NAME', not 'Bored'"),
        ("Quad/Chan", "Quad", r":2: line must be 'Quad/Chan : \.\.\.', not 'Quad :"),
        ("Link :", "Lynk :", r":3: line must be 'Link : \.\.\.', not 'Lynk :"),
        ("01\n", "x\n", ":3: Link must list numbers, not '00 +x'"),
        ("01\n", "01 02\n", ":3: Link must list 2 links, as Quad/Chan does, not 3"),
        ("Frame 0001", "Frame 0002", r":5: line must be 'Frame 0001 : \.\.\.', not 'Frame 0002"),
        ("Frame 0000 :", "Frame 0000", r":4: line must be 'Frame 0000 : \.\.\.'"),
        (" 1v0000000000000000\n", "\n", ":5: frame must have 2 words, one a link, not 1"),
        ("1v0000000000000001", "1v00000001", ":4: word must be 0v or 1v and 16 hexadecimal digits, not '1v00000001'"),
        ("1v0000000000000001", "1s1v0000000000000001", ":4: word must be .*, not '1s1v0000000000000001'"),
        (PATTERN, "", ":1: line must be 'Board NAME', not 'the end'"),
    ],
)
def test_damaged_pattern_names_its_line(tmp_path, old, new, said):
    assert old in PATTERN
    (tmp_path / "p.txt").write_text(PATTERN.replace(old, new))
    with pytest.raises(ValueError, match=r"p\.txt" + said):
        read_pattern(tmp_path / "p.txt")


def test_missing_pattern_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.txt: must be a readable pattern file"):
        read_pattern(tmp_path / "none.txt")


def test_pattern_has_frames_of_four_digits(tmp_path):
    with pytest.raises(ValueError, match="at most 10000 frames, not 10001; write fewer events"):
        write_pattern(tmp_path / "p.txt", "b", np.zeros((10_001, 1), np.uint64))
    assert not list(tmp_path.iterdir())


# vectors of a design


def test_vectors_hold_the_events_and_what_must_come_out(tmp_path):
    x, score, accept = events()
    assert accept.any(0).all()
    assert not accept.all(0).any()
    paths = write(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    given, made = read_pattern(tmp_path / "input.txt"), read_pattern(tmp_path / "expected.txt")
    assert given.board == made.board == f"l1ad_{NETWORK.digest[:16]}"
    np.testing.assert_array_equal(unpack(DESIGN.inputs, given.words), x)
    out = unpack(outputs(DESIGN, 2), made.words)
    np.testing.assert_array_equal(out[:, 0], score)
    np.testing.assert_array_equal(out[:, 1], accept[:, 0] + 2 * accept[:, 1])
    assert (tmp_path / "thresholds.txt").read_text() == "5\n-300\n"
    bench = tmp_path / "tb_data"
    np.testing.assert_array_equal(np.loadtxt(bench / "tb_input_features.dat"), x / 2)
    np.testing.assert_array_equal(np.loadtxt(bench / "tb_output_predictions.dat"), score / 8)
    np.testing.assert_array_equal(np.loadtxt(bench / "expected_scores_raw.dat", np.int64), score)


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"design": replace(DESIGN, network="f" * 64)}, MismatchError, "not ffffffffffff; build it"),
        ({"thresholds": [5]}, ValueError, r"accept must have shape \(50, 1\), not \(50, 2\)"),
        ({"thresholds": [5, 2048]}, ValueError, "raw scores from -2048 to 2047, not 2048"),
        ({"score": np.zeros(3, np.int64)}, ValueError, r"score must have shape \(50,\), not \(3,\)"),
        ({"score": np.full(50, 2048)}, ValueError, "event 0: score must lie in -2048 .. 2047, not be 2048"),
        ({"accept": np.ones((50, 2))}, TypeError, "accept must be of type bool, not float64"),
        ({"x": np.zeros((0, 2), np.int64)}, ValueError, "at least one event"),
        ({"x": np.full((50, 2), 128)}, ValueError, "column 'a' is 128"),
        ({"design": replace(DESIGN, inputs=(Port("a", 7, True), INPUTS[1]))}, ValueError, "event 0: a must lie"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(tmp_path, changed, error, said):
    with pytest.raises(error, match=said):
        write(tmp_path, **changed)
    assert not list(tmp_path.iterdir())


def test_inputs_that_the_test_bench_cannot_read_are_refused(tmp_path):
    high = (1 << 25) + 1
    trigger = Input("trigger", ("a",), np.array([0]), np.array([high]), FixedPoint(27, 0))
    one, two_bits, out = np.array([[1]]), FixedPoint(2, 0), FixedPoint(27, 0)
    network = Network((trigger, Dense("score", "trigger", one, two_bits, one[0] * 0, two_bits, None, out)))
    design = Design("core", network.digest, (Port("a", 26, False),), Port("score", 27, True), 5.0, 1, 1, {})
    accept = np.ones((1, 1), bool)
    with pytest.raises(ValueError, match=r"fit single precision.*24 bits"):
        write_vectors(design, network, tmp_path, np.array([[high]]), np.array([high]), accept, [0])
    assert write_vectors(design, network, tmp_path, np.array([[high - 1]]), np.array([high]), accept, [0])


def test_hls4ml_project_is_checked_against_the_same_vectors(tmp_path, require):
    from l1ad.hardware.hls import PROJECT, write_project
    from l1ad.hardware.target import Target

    require("compiler")
    x, _, _ = events()
    project = write_project(NETWORK, tmp_path / "hls", Target(), x)
    write(tmp_path / "vectors")
    names = ("tb_input_features.dat", "tb_output_predictions.dat", "expected_scores_raw.dat")
    for name in names:
        mine = tmp_path / "vectors/tb_data" / name
        assert mine.read_bytes() == (project / "tb_data" / name).read_bytes()
        (project / "tb_data" / name).write_bytes(mine.read_bytes())
    sources = [f"{PROJECT}_test.cpp", f"firmware/{PROJECT}.cpp"]
    command = [*shlex.split(find_compiler()), "-std=c++17", "-w", "-Ifirmware/ap_types", *sources, "-o", "bench"]
    subprocess.run(command, cwd=project, check=True)
    subprocess.run(["./bench"], cwd=project, check=True, stdout=subprocess.DEVNULL)
    made = np.loadtxt(project / "tb_data/csim_results.log")
    np.testing.assert_array_equal(made, np.loadtxt(tmp_path / "vectors/tb_data/tb_output_predictions.dat"))
