import json

import pytest

from l1ad.errors import UnsupportedError
from l1ad.hardware.synthesis.netlist import Cell, Netlist, read


def lut(name, *pins):
    """A LUT2 from two nets to one."""
    one, other, out = pins
    return Cell(name, "LUT2", {"INIT": "0110"}, {"I0": (one,), "I1": (other,)}, {"O": (out,)})


def module(**changes):
    wire = {"hide_name": 0, "bits": [7, 8]}
    cell = {
        "type": "LUT2",
        "parameters": {"INIT": "0110"},
        "port_directions": {"I0": "input", "I1": "input", "O": "output"},
        "connections": {"I0": [2], "I1": ["x"], "O": [7]},
    }
    ports = {"a": {"direction": "input", "bits": [2, "1"]}, "y": {"direction": "output", "bits": [7, "0"]}}
    whole = {"ports": ports, "cells": {"g": cell}, "netnames": {"sum": wire, "a": {"hide_name": 0, "bits": [2]}}}
    return {"modules": {"top": whole | changes}}


def test_reads_cells_ports_and_names(tmp_path):
    path = tmp_path / "n.json"
    path.write_text(json.dumps(module()))
    found = read(path, "top")
    assert found.inputs == {"a": (2, 1)}
    assert found.outputs == {"y": (7, 0)}
    assert found.cells == (Cell("g", "LUT2", {"INIT": "0110"}, {"I0": (2,), "I1": (0,)}, {"O": (7,)}),)
    assert [found.net(net) for net in (2, 7, 8, 9)] == ["a", "sum[0]", "sum[1]", "net 9"]
    assert found.counts() == {"LUT2": 1}


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_named(tmp_path, part):
    path, text = tmp_path / "n.json", json.dumps(module())
    path.write_text(text[: int(part * len(text))])
    with pytest.raises(ValueError, match=r"n\.json: not a whole netlist of 'top' by Yosys"):
        read(path, "top")


@pytest.mark.parametrize(
    "document",
    [[], {}, {"modules": {"other": {}}}, module(ports=[]), module(cells={"g": {}}), module(netnames={"w": 3})],
)
def test_something_else_is_refused(tmp_path, document):
    path = tmp_path / "n.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="not a whole netlist"):
        read(path, "top")


def test_a_floating_net_is_refused(tmp_path):
    path = tmp_path / "n.json"
    path.write_text(json.dumps(module(ports={"a": {"direction": "input", "bits": ["z"]}})))
    with pytest.raises(ValueError, match="not a whole netlist"):
        read(path, "top")


def netlist(*cells):
    return Netlist("n.json", "top", {"a": (2, 3)}, {"y": (9,)}, cells, {})


def test_logic_stands_behind_what_drives_it():
    cells = (lut("c", 8, 7, 9), lut("b", 7, 2, 8), lut("a", 2, 3, 7))
    assert [cell.name for cell in netlist(*cells).logic] == ["a", "b", "c"]
    assert netlist(*cells).levels() == 3


def test_a_register_starts_anew():
    register = Cell("r", "FDRE", {}, {"C": (4,), "CE": (1,), "D": (7,), "R": (0,)}, {"Q": (8,)})
    found = netlist(lut("b", 8, 2, 9), register, lut("a", 2, 3, 7))
    assert found.levels() == 1
    with_loop = netlist(lut("b", 8, 2, 7), register)  # through a register: a state machine
    assert [cell.name for cell in with_loop.logic] == ["b"]
    with pytest.raises(UnsupportedError, match=r"cell '[br]' \((LUT2|FDRE)\) must not depend on its own output"):
        with_loop.sort(with_loop.cells)


def test_a_loop_of_logic_is_named():
    with pytest.raises(UnsupportedError, match=r"n\.json: cell 'a' \(LUT2\) must not depend on its own output"):
        _ = netlist(lut("a", 2, 8, 7), lut("b", 7, 3, 8)).logic


@pytest.mark.parametrize("kind", ["DSP48E2", "RAMB18E2", "RAMB36E1", "LUT6_2", "BUFG", "$_AND_"])
def test_a_cell_that_is_not_modelled_is_named(kind):
    with pytest.raises(UnsupportedError, match=rf"cell 'm' \({kind.replace('$', '.')}\) is not modelled"):
        _ = netlist(Cell("m", kind, {}, {"A": (2,)}, {"P": (9,)})).logic
