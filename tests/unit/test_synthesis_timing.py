import json

import pytest
from synthesis_designs import dense, synthesised

from l1ad.errors import UnsupportedError
from l1ad.hardware.synthesis.netlist import Cell, Netlist, read
from l1ad.hardware.synthesis.timing import NET_PS, STAGE, Library, Timing, analyse, extrapolated_ns, library

CELLS = Library(
    arcs={
        "FDRE": {("Q", 0): [(("C", 0), 303)]},
        "LUT2": {("O", 0): [(("I0", 0), 238), (("I1", 0), 127)]},
        "CARRY4": {
            ("O", 0): [(("S", 0), 223), (("CI", 0), 222)],
            ("O", 3): [(("S", 0), 582), (("CI", 0), 313)],
            ("CO", 3): [(("S", 0), 508), (("CI", 0), 114)],
        },
        "MUXF7": {("O", 0): [(("I0", 0), 217), (("I1", 0), 223), (("S", 0), 296)]},
    },
    setup={"FDRE": {("D", 0): 0, ("R", 0): 404}, "LUT2": {}, "CARRY4": {}, "MUXF7": {}},
)


def flop(name, d, q, reset=0):
    return Cell(name, "FDRE", {}, {"C": (2,), "CE": (1,), "D": (d,), "R": (reset,)}, {"Q": (q,)})


def lut(name, one, other, out):
    return Cell(name, "LUT2", {"INIT": "0110"}, {"I0": (one,), "I1": (other,)}, {"O": (out,)})


def carry(name, start, s, o, co):
    pins = {"CI": (start,), "CYINIT": (0,), "S": (s, 0, 0, 0), "DI": (0, 0, 0, 0)}
    return Cell(name, "CARRY4", {}, pins, {"O": (o, o + 1, o + 2, o + 3), "CO": (co, co + 1, co + 2, co + 3)})


def netlist(*cells, names=()):
    return Netlist("n.json", "top", {"clk": (2,), "x": (3,)}, {}, cells, dict(names))


def test_a_path_is_the_sum_of_its_cells_and_nets():
    found = analyse(netlist(flop("a", 3, 4), lut("b", 4, 3, 5), flop("c", 5, 6), names={4: "s[0]", 6: "t"}), CELLS)
    assert found.period_ns == pytest.approx((303 + NET_PS + 238) / 1000)  # into D there is no wire
    assert (found.stage, found.luts, found.carries) == (STAGE, 1, 0)
    assert [(step.kind, step.net, step.at_ps) for step in found.path] == [
        ("FDRE", "s[0]", 303),
        ("LUT2", "b", 841),
        ("FDRE", "t", 841),
    ]


def test_ports_start_at_once():
    found = analyse(netlist(lut("b", 0, 3, 5), flop("c", 5, 6)), CELLS)
    assert found.period_ns == pytest.approx((NET_PS + 127) / 1000)
    assert found.path[0].kind == "input"


def test_a_carry_chain_has_no_wires_inside():
    chain = [carry("low", 0, 4, 10, 20), carry("high", 23, 0, 30, 40)]
    found = analyse(netlist(flop("a", 3, 4), *chain, flop("c", 33, 6)), CELLS)
    assert found.period_ns == pytest.approx((303 + NET_PS + 508 + 313) / 1000)
    assert found.carries == 2


def test_a_wide_multiplexer_stands_beside_its_luts():
    mux = Cell("m", "MUXF7", {}, {"I0": (5,), "I1": (0,), "S": (4,)}, {"O": (6,)})
    found = analyse(netlist(flop("a", 3, 4), lut("b", 4, 0, 5), mux, flop("c", 6, 7)), CELLS)
    assert found.period_ns == pytest.approx((303 + NET_PS + 238 + 217) / 1000)
    found = analyse(netlist(flop("a", 3, 4), mux, flop("c", 6, 7)), CELLS)  # its select is routed
    assert found.period_ns == pytest.approx((303 + NET_PS + 296) / 1000)


def test_a_reset_has_its_setup():
    found = analyse(netlist(flop("a", 3, 4), flop("c", 0, 6, reset=4)), CELLS)
    assert found.period_ns == pytest.approx((303 + NET_PS + 404) / 1000)


def test_the_slower_of_two_paths_counts():
    cells = [flop("a", 3, 4), lut("b", 4, 3, 5), lut("c", 5, 4, 7), flop("d", 5, 6), flop("e", 7, 8)]
    assert [step.net for step in analyse(netlist(*cells), CELLS).path] == ["a", "b", "c", "e"]


def test_what_has_no_delays_is_named():
    other = Cell("m", "MUXF9", {}, {"I0": (4,), "I1": (0,), "S": (0,)}, {"O": (6,)})
    with pytest.raises(UnsupportedError, match=r"cell 'm' \(MUXF9\) has no delays"):
        analyse(netlist(flop("a", 3, 4), other, flop("c", 6, 7)), CELLS)
    with pytest.raises(UnsupportedError, match="must have a register"):
        analyse(netlist(lut("b", 3, 3, 5)), CELLS)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"modules": []}', '{"modules": {"LUT1": {}}}'])
def test_something_else_is_no_library(tmp_path, text):
    path = tmp_path / "cells.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"cells\.json: not a cell library in JSON by Yosys"):
        library(path)


def test_a_library_without_its_cells_is_refused(tmp_path):
    path = tmp_path / "cells.json"
    path.write_text(json.dumps({"modules": {"AND": {}}}))
    with pytest.raises(ValueError, match=r"cells\.json: not a cell library .*no CARRY4, FDCE"):
        library(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory, require):
    require("yosys")
    folder = tmp_path_factory.mktemp("synthesis")

    def make(design):
        synthesis = synthesised(folder, design, fast=True)
        return analyse(read(synthesis.netlist, design.top), library(synthesis.cells)), synthesis

    return make


def test_delays_are_yosyss_own(made):
    _, synthesis = made(dense((3, 2), 2)[0])
    cells = library(synthesis.cells)
    # read by eye in xilinx/cells_sim.v of Yosys 0.70, which has them from Project X-Ray
    assert [dict(cells.arcs["LUT6"]["O", 0])[f"I{i}", 0] for i in range(6)] == [642, 631, 472, 407, 238, 127]
    assert dict(cells.arcs["CARRY4"]["CO", 3])["CI", 0] == 114
    assert cells.arcs["FDRE"]["Q", 0][0] == (("C", 0), 303)
    assert cells.setup["FDRE"] == {("D", 0): 0, ("CE", 0): 109, ("R", 0): 404}
    assert max(delay for _, delay in cells.arcs["SRL16E"]["Q", 0]) == 1472


def test_more_adders_in_a_clock_take_longer(made):
    periods = [made(dense((8, 4), adders)[0])[0].period_ns for adders in (1, 2, 4)]
    assert periods == sorted(set(periods))
    assert 1 < periods[0] < periods[-1] < 20


def test_the_path_names_the_place_in_the_verilog(made):
    design = dense((8, 4), 2)[0]
    found, synthesis = made(design)
    first, last = found.path[0].net.split("[")[0], found.path[-1].net.split("[")[0]
    for name in (first, last):
        assert f" {name}" in design.files["scorer.v"]
    assert found.path[-1].at_ps == round(found.period_ns * 1000)
    assert 1 <= found.luts <= synthesis.depth


def test_the_extrapolation_is_a_share_of_what_was_found():
    timing = Timing(STAGE, 5.0, 3, 4, ())
    assert extrapolated_ns(timing, 10) == pytest.approx((23.0, 33.0))
    assert extrapolated_ns(timing, 20) == pytest.approx((46.0, 66.0))
