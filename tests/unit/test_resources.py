import os
from dataclasses import astuple, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import random_network
from l1ad.hardware.resources import (
    ESTIMATE,
    HLS,
    METHOD,
    Resources,
    _cost,
    _signed_digits,
    estimate,
    find_vitis,
    parse_csynth,
    synthesise,
)
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Merge

REPORT = Path(__file__).parents[1] / "reports" / "csynth.xml"
RECORDED = Path(__file__).parents[3] / "shared" / "data" / "vendor_reports"

PARSED = Resources(
    stage=HLS,
    tool="2024.1 (csynth.xml)",
    part="xcvu13p-flga2577-2-e",
    clock_ns=2.5,
    lut=17171,
    ff=4242,
    dsp=57,
    bram=0,
    latency_cycles=13,
    interval_cycles=2,
    latency_ns=32.5,
)


def two_inputs(weights, bias, out):
    """One dense layer on two 8-bit integers: the sum is the score."""
    trigger = Input("trigger", ("a", "b"), np.full(2, -128), np.full(2, 127), FixedPoint(8, 0))
    weight = np.array([[w] for w in weights])
    return Network(
        (trigger, Dense("score", "trigger", weight, FixedPoint(8, 0), np.array([bias]), FixedPoint(4, 0), None, out))
    )


WIDE = FixedPoint(20, 0)


@pytest.mark.parametrize(
    ("weights", "bias", "out", "lut", "levels"),
    [
        # 7 = 8 - 1 and 3 = 4 - 1: one adder each, 8 + 3 and 8 + 2 bits; three terms in 2 adders of the sum's 12
        # bits (-1280 .. 1271); 1 level in the multipliers, 2 in the tree
        ((7, 3), 1, WIDE, 11 + 10 + 2 * 12, 3),
        ((-7, -3), 1, WIDE, 11 + 10 + 2 * 12, 3),
        # powers of two are wires: one adder of 11 bits (-768 .. 762), one level
        ((4, 2), 0, WIDE, 11, 1),
        # 11 = 8 + 4 - 1: two adders of 8 + 4 bits in two levels; a weight of 0 and no bias: no tree
        ((11, 0), 0, WIDE, 2 * 12, 2),
        ((1, 0), 0, WIDE, 0, 0),
        ((0, 0), 0, WIDE, 0, 0),
        # as the first, and a cast of 6 bits that rounds (6 LUT, one level) and saturates (6 LUT, one level)
        ((7, 3), 1, FixedPoint(6, -2, True, "RND", "SAT"), 45 + 12, 5),
        ((7, 3), 1, FixedPoint(6, -2, True, "TRN", "SAT"), 45 + 6, 4),
        ((7, 3), 1, FixedPoint(6, -2, True, "RND_CONV", "WRAP"), 45 + 6, 4),
    ],
)
def test_adders_counted_by_hand(weights, bias, out, lut, levels):
    row = estimate(two_inputs(weights, bias, out), Target(clock_ns=0.9))
    cycles = max(levels, 1)
    assert row == Resources(
        ESTIMATE, METHOD, "xcvu13p-flga2577-2-e", 0.9, lut, None, 0, 0, cycles, 1, pytest.approx(0.9 * cycles)
    )


SHORT = FixedPoint(8, 0)
SEVEN, NOTHING = np.full(2, 7), np.zeros(2, np.int64)


@pytest.mark.parametrize(
    ("operation", "lut", "levels"),
    [
        (Affine("o", "x", SEVEN, SHORT, NOTHING, SHORT, WIDE), 2 * 11, 1),
        (Affine("o", "x", SEVEN, SHORT, np.ones(2, np.int64), SHORT, WIDE), 2 * (11 + 11), 2),  # -895 .. 890
        (Merge("o", "add", "x", "x", WIDE), 2 * 9, 1),
        (Merge("o", "subtract", "x", "x", FixedPoint(8, 0, True, "TRN", "SAT")), 2 * (9 + 8), 2),
        (Merge("o", "multiply", "x", "x", WIDE), 2 * 8 * 8, 3),
        (Cast("o", "x", FixedPoint(4, -1, True, "RND", "SAT")), 2 * (4 + 4), 2),
        (Cast("o", "x", FixedPoint(4, -1)), 0, 0),
        (Lookup("o", "x", np.zeros(256, np.int64), FixedPoint(6, 0)), 2 * 6 * 4, 2),  # 256 entries in 4 LUT a bit
        # one window for each of two pixels
        (
            Convolution("o", "x", (1, 2, 1), np.full((1, 1, 1, 1), 7), SHORT, np.zeros(1, np.int64), SHORT, (1, 1),
                        (0, 0, 0, 0), None, WIDE),
            2 * 11, 1,
        ),
        # squares at half price, and one adder of their sum, of 16 bits
        (Dot("o", "x", "x", None, WIDE), 2 * 8 * 8 // 2 + 16, 4),
    ],
)  # fmt: skip
def test_every_operation_is_counted(operation, lut, levels):
    trigger = Input("x", ("a", "b"), np.full(2, -128), np.full(2, 127), SHORT)
    ends = () if isinstance(operation, Dot) else (Dot("score", "o", "o", None, FixedPoint(8, 0)),)
    assert _cost(operation, Network((trigger, operation, *ends))) == (lut, levels)


def test_latency_is_in_whole_clocks():
    network = two_inputs((7, 3), 1, WIDE)  # 3 levels of 0.9 ns
    assert [estimate(network, Target(clock_ns=clock)).latency_cycles for clock in (5.0, 2.8, 2.6, 1.0)] == [1, 1, 2, 3]
    assert estimate(network, Target(clock_ns=2.6)).latency_ns == 5.2


def test_layers_add_up_along_the_longest_path(rng):
    network = random_network(rng, ROUNDING, OVERFLOW, "reconstruction")
    row = estimate(network, Target(clock_ns=1.0))
    assert row.lut > 0
    assert row.latency_cycles >= len(network.operations) * 0.9 // 2
    assert "not calibrated" not in row.tool
    assert "no sub-expression shared" in row.tool


def test_an_estimate_with_reuse_is_refused():
    with pytest.raises(ValueError, match="resource estimate needs reuse_factor 1, not 2; synthesise instead"):
        estimate(two_inputs((7, 3), 1, WIDE), Target(reuse_factor=2))


@pytest.mark.parametrize(
    ("weight", "digits"),
    [
        *((0, 0), (1, 1), (-1, 1), (2, 1), (3, 2), (-5, 2), (7, 2), (11, 3), (21, 3), (31, 2)),
        *((43, 4), (85, 4), (127, 2), (-128, 1)),
    ],
)
def test_canonical_signed_digits(weight, digits):
    assert _signed_digits(weight) == digits


def test_no_sum_of_signed_powers_of_two_is_shorter():
    powers = [sign << k for sign, k in product((1, -1), range(10))]
    fewest, reached = {0: 0}, {0}
    for n in range(1, 6):
        reached = {value + power for value in reached for power in powers}
        for value in reached:
            fewest.setdefault(value, n)
    assert {w: _signed_digits(w) for w in range(-256, 257)} == {w: fewest[w] for w in range(-256, 257)}


def test_a_report_is_read():
    assert parse_csynth(REPORT) == PARSED


@pytest.fixture
def report(tmp_path):
    """Function that writes the report with texts replaced, and parses it."""

    def parsing(*changes):
        text = REPORT.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "csynth.xml"
        path.write_text(text)
        return parse_csynth(path)

    return parsing


def test_the_older_spelling_of_dsp(report):
    assert report(("<DSP>57</DSP>", "<DSP48E>58</DSP48E>")) == replace(PARSED, dsp=58)


@pytest.mark.parametrize("value", ["undef", "", "N/A", " undef "])
def test_latency_that_the_tool_does_not_know_is_none(report, value):
    row = report((">13<", f">{value}<"), ("<Interval-max>2<", f"<Interval-max>{value}<"))
    assert row == replace(PARSED, latency_cycles=None, latency_ns=None, interval_cycles=None)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("<LUT>17171</LUT>", {"lut": None}),
        ("<FF>4242</FF>", {"ff": None}),
        ("<DSP>57</DSP>", {"dsp": None}),
        ("<BRAM_18K>0</BRAM_18K>", {"bram": None}),
        ("<TargetClockPeriod>2.50</TargetClockPeriod>", {"clock_ns": None, "latency_ns": None}),
        ("<Worst-caseLatency>13</Worst-caseLatency>", {"latency_cycles": None, "latency_ns": None}),
        ("<Part>xcvu13p-flga2577-2-e</Part>", {"part": "unknown"}),
        ("<Version>2024.1</Version>", {"tool": "unknown version (csynth.xml)"}),
    ],
)
def test_what_is_missing_is_none_and_never_zero(report, line, fields):
    assert report((line, "")) == replace(PARSED, **fields)


def test_a_report_cut_short_is_refused(tmp_path):
    path = tmp_path / "csynth.xml"
    path.write_text(REPORT.read_text()[:900])
    with pytest.raises(ValueError, match=r"csynth\.xml: not a whole csynth report: .*; synthesise again"):
        parse_csynth(path)
    with pytest.raises(ValueError, match=r"none\.xml: not a whole csynth report: .*No such file"):
        parse_csynth(tmp_path / "none.xml")


@pytest.mark.parametrize("text", ["<profile/>", "<report><AreaEstimates><Resources/></AreaEstimates></report>", "<a/>"])
def test_another_kind_of_xml_is_refused(tmp_path, text):
    path = tmp_path / "other.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.xml: not a csynth report of Vivado or Vitis HLS; synthesise again"):
        parse_csynth(path)


def test_a_number_that_is_none_is_named(report):
    with pytest.raises(ValueError, match=r"csynth\.xml: AreaEstimates/Resources/LUT must be a number, not 'many'"):
        report((">17171<", ">many<"))


def test_a_recorded_report_of_vivado():
    path = RECORDED / "hls4ml_test_myproject_csynth.xml"
    if not path.is_file():
        pytest.skip(f"{path} is not there: the recorded vendor report is not checked")
    # figures read by eye in the .rpt beside it
    assert astuple(parse_csynth(path))[1:] == (
        "2020.1 (csynth.xml)", "xc7z020-clg400-1", 5.0, 2532, 7969, 73, 0, 10, 8, 50.0,
    )  # fmt: skip


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Function that puts a program of a name on the PATH, which holds nothing else but a shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def installing(name, script=""):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return installing


def test_vitis_is_found_by_either_name(tool):
    assert find_vitis() is None
    tool("vitis_hls")
    assert find_vitis() == ["vitis_hls", "-f", "build_prj.tcl"]
    tool("vitis-run")
    assert find_vitis() == ["vitis-run", "--mode", "hls", "--tcl", "build_prj.tcl"]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


WRITES = f'd=l1ad_prj/solution1/syn/report; mkdir -p "$d" && cp "{REPORT}" "$d/csynth.xml"; echo "args: $@"'


@pytest.mark.parametrize("name", ["vitis-run", "vitis_hls"])
def test_synthesis_runs_in_the_project_and_is_parsed(tool, project, name):
    tool(name, WRITES)
    assert synthesise(project, find_vitis()) == PARSED
    assert (project / "vitis.log").read_text().startswith(f"args: {' '.join(find_vitis()[1:])}\n")
    assert " synth 1\n" in (project / "build_opt.tcl").read_text()
    assert " csim 0\n" in (project / "build_opt.tcl").read_text()


def test_synthesis_that_fails_names_its_log(tool, project):
    tool("vitis_hls", f"{WRITES}; echo 'ERROR: no licence' >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"project: vitis_hls ended with status 3 and 1 reports; see .*vitis\.log"):
        synthesise(project, find_vitis())
    assert "ERROR: no licence" in (project / "vitis.log").read_text()


def test_synthesis_that_writes_nothing_is_no_success(tool, project):
    tool("vitis_hls", "exit 0")
    with pytest.raises(RuntimeError, match="ended with status 0 and 0 reports"):
        synthesise(project, find_vitis())


def test_an_earlier_report_is_not_taken_for_this_one(tool, project):
    tool("vitis_hls", WRITES)
    synthesise(project, find_vitis())
    tool("vitis_hls", "exit 0")
    with pytest.raises(RuntimeError, match="ended with status 0 and 0 reports"):
        synthesise(project, find_vitis())
