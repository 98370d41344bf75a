"""Networks against the C++ that they were read from, and against copies of it with a mistake: what the text says."""

import re
import shutil
from functools import partial

import numpy as np
import pytest

from l1ad import verbs
from l1ad.audit.against import against_project, simulation
from l1ad.cli import main
from l1ad.compare import agree, corners, random_inputs
from l1ad.convert.from_hls4ml.importer import import_project
from l1ad.emulate import reference
from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint
from l1ad.fuzz.networks import random_network
from l1ad.hardware import csim
from l1ad.hardware.hls import write_project
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Dense, Dot, Input

RANGES = {"met_pt": (0, 63), "jet0_pt": (0, 63), "jet0_eta": (-20, 20), "jet1_pt": (0, 63), "jet1_eta": (-20, 20)}
COLUMNS = tuple(InputColumn(name, *ends, 0.5, "GeV") for name, ends in RANGES.items())
"""In values with one fractional bit, even where they are angles: as `small_network` has it."""
N_EVENTS = 3000
EMULATOR = """\
#include "emulator.h"
#include "firmware/l1ad.h"
#include <any>

class Around : public hls4mlEmulator::Model {
    input_t x[5];
    result_t y[1];

  public:
    virtual void prepare_input(std::any input) {
        input_t *given = std::any_cast<input_t *>(input);
        for (int i = 0; i < 5; i++) {
            x[i] = given[i];
        }
    }
    virtual void predict() { l1ad(x, y); }
    virtual void read_result(std::any result) {
        result_t *wanted = std::any_cast<result_t *>(result);
        for (int i = 0; i < 1; i++) wanted[i] = y[i];
    }
};
extern "C" hls4mlEmulator::Model *create_model() { return new Around; }
extern "C" void destroy_model(hls4mlEmulator::Model *model) { delete model; }
"""


def small_network():
    """Scaled, one layer, ReLU, sum of squares; some casts saturate."""
    low, high = np.array(list(RANGES.values()), np.int64).T
    trigger = Input("trigger", tuple(RANGES), low, high, FixedPoint(8, 1))
    scale, bias = np.array([3, 3, 5, 3, 5]), np.array([-45, -35, 9, -37, 5])
    out = FixedPoint(9, 2, True, "RND", "SAT")
    scaled = Affine("scaled", "trigger", scale, FixedPoint(4, 4, False), bias, FixedPoint(8, 4), out)
    weight = np.array([[5, -3, 1, 2], [-7, 2, 3, -1], [1, 9, -3, 4], [4, -5, 3, 8], [3, 2, -7, -6]])
    weights = weight, FixedPoint(5, 2), np.array([13, -27, 31, 4]), FixedPoint(7, 4)
    hidden = Dense("hidden", "scaled", *weights, None, FixedPoint(9, 3, True, "TRN", "SAT"))
    relu = Cast("relu", "hidden", FixedPoint(6, 1, False, "RND_CONV", "SAT"))
    return Network(
        (trigger, scaled, hidden, relu, Dot("score", "relu", "relu", None, FixedPoint(12, 1, False, "TRN", "SAT")))
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of a project with an emulator around it, which l1ad wrote; to be copied."""
    network = small_network()
    folder = write_project(network, tmp_path_factory.mktemp("written") / "project", Target(), corners(network)[:1])
    (folder / "emulator.cpp").write_text(EMULATOR)
    # as published networks have it, and ours do not: room for sums of other weights
    for narrow, wide in (("ap_fixed<10,6> hidden", "ap_fixed<20,16> hidden"), ("<12,10> score", "<20,18> score")):
        alter(folder / "firmware" / "defines.h", f"{narrow}_accum_t", f"{wide}_accum_t")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, require):
    """A folder to work in; C++ is compiled in a hurry."""
    require("compiler")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(csim, "run", partial(csim.run, flags=("-O0", "-std=c++17", "-w", "-DNDEBUG")))
    monkeypatch.setattr(verbs, "N_EVENTS", N_EVENTS)
    return tmp_path


@pytest.fixture
def network(here, written):
    """``network.json``, read from the project; and ``project``, a copy of that to be altered."""
    shutil.copytree(written, here / "project")
    network = import_project(here / "project", COLUMNS).network
    network.save("network.json")
    return network


@pytest.fixture
def compared(capsys):
    """Function that compares them on the command line, and returns the lines without progress."""

    def comparing():
        status = main(["compare", "network.json", "--against", "project"])
        out, error = capsys.readouterr()
        lines = [line for line in out.splitlines() if not line.startswith("  ")]
        n_wrong = int(re.search(r"(\d+) mismatches", lines[0])[1])
        assert status == (n_wrong > 0)
        failed = f"l1ad: error: project: must give the scores of network.json, not others in {n_wrong} events\n"
        assert error == (failed if n_wrong else "")
        return lines

    return comparing


def alter(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, (path, text)
    path.write_text(text.replace(old, new))


def literals(path):
    return re.search(r"\{(.*)\}", path.read_text())[1].split(", ")


def expected_first(network, other):
    """The first line, by the references of the network and of another that stands for the project."""
    x = random_inputs(network, N_EVENTS)
    one, two = reference.trace(network, x), reference.trace(other, x)
    event = int(np.flatnonzero(one["score"] != two["score"])[0])
    name = next(name for name in one if (one[name][event] != two[name][event]).any())
    element = int(np.flatnonzero(one[name][event] != two[name][event])[0])
    n_wrong = int((one["score"] != two["score"]).sum())
    assert 50 < n_wrong < len(x)
    line = (
        f"reference = C simulation: {n_wrong} mismatches in {len(x)} events; first at event {event}, operation "
        f"{name!r}, element {element}: raw {one[name][event, element]} against {two[name][event, element]} in "
        f"{network[name].out}"
    )
    return line, n_wrong


def line_of(path, text):
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_network_equals_the_project_that_it_was_read_from(network, compared, here):
    n_events = N_EVENTS + len(corners(network))
    assert compared() == [f"reference = C simulation: 0 mismatches in {n_events} events (1 operations each)"]
    simulated = simulation(here / "project", here / "cache" / "l1ad")
    expected = reference.trace(network, random_inputs(network, N_EVENTS))
    found = simulated.run(network, expected, trace=True)
    assert agree(network, "", expected, "", found).require().operations == len(network.operations) - 1
    assert set(found) == {operation.name for operation in network.operations} - {network.input.name}


def test_a_random_network_equals_its_project(here, rng):
    network = random_network(rng, "RND", "SAT", "reconstruction")
    folder = write_project(network, here / "project", Target(strategy="Resource"), corners(network)[:1])
    found = import_project(folder).network
    comparison = against_project(found, simulation(folder, here / "build"), random_inputs(found, 100))
    assert comparison.agreement.require().n_mismatches == 0
    assert comparison.elements == ()


def test_a_weight_that_was_changed_is_found(network, compared, here):
    path = here / "project" / "firmware" / "weights" / "w3.h"
    numbers = literals(path)
    assert float(numbers[9]) == 9 / 4
    alter(path, ", ".join(numbers), ", ".join([*numbers[:9], "2.00", *numbers[10:]]))
    other = import_project(here / "project", COLUMNS).network
    first, _ = expected_first(network, other)
    assert "operation 'hidden', element 1" in first
    top = here / "project" / "firmware" / "l1ad.cpp"
    kind = "ap_fixed<9,6,AP_TRN,AP_SAT>"
    assert compared() == [
        first,
        f"operation 'hidden': {kind} in the network, {kind} in 'layer3_out' "
        f"(firmware/l1ad.cpp:{line_of(top, 'nnet::dense<')})",
        "operation 'hidden': weight differs in 1 of 20 numbers, first at (2, 1): 2.25 and 2",
        "likely cause: none of the known mistakes accounts for it",
    ]


def test_weights_that_were_transposed_are_told(network, compared, here):
    path = here / "project" / "firmware" / "weights" / "w3.h"
    numbers = literals(path)
    alter(path, ", ".join(numbers), ", ".join(np.array(numbers).reshape(4, 5).T.ravel()))
    first, n_wrong = expected_first(network, import_project(here / "project", COLUMNS).network)
    lines = compared()
    assert lines[0] == first
    assert any(line.startswith("operation 'hidden': weight differs in ") for line in lines)
    assert lines[-1] == (
        f"likely cause: operation 'hidden': weights transposed (accounts for {min(n_wrong, 2000)} of the "
        f"{min(n_wrong, 2000)} events that differ)"
    )


def test_a_type_that_wraps_is_told_with_both_types(network, compared, here):
    defines = here / "project" / "firmware" / "defines.h"
    alter(
        defines, "typedef ap_ufixed<6,5,AP_RND_CONV,AP_SAT,0> layer4_t", "typedef ap_ufixed<6,5,AP_RND_CONV> layer4_t"
    )
    first, n_wrong = expected_first(network, import_project(here / "project", COLUMNS).network)
    mine, theirs = "ap_ufixed<6,5,AP_RND_CONV,AP_SAT>", "ap_ufixed<6,5,AP_RND_CONV,AP_WRAP>"
    lines = compared()
    assert lines[0] == first
    assert first.endswith(mine)
    assert re.fullmatch(rf"operation 'relu': {mine} in the network, {theirs} in 'layer4_out' \(.*:\d+\)", lines[1])
    assert f"operation 'relu': out is {mine} in the network and {theirs} in the project" in lines
    assert lines[-1] == (
        f"likely cause: operation 'relu': WRAP where SAT was meant (accounts for {min(n_wrong, 2000)} of the "
        f"{min(n_wrong, 2000)} events that differ)"
    )


def test_an_emulator_that_divides_integers_is_told_with_its_columns(network, compared, here):
    """It means to take transverse momenta in GeV, in steps of 0.5, and loses the halves."""
    integers = "x[i] = i == 0 || i % 2 == 1 ? input_t(given[i].to_int()) : given[i]"
    alter(here / "project" / "emulator.cpp", "x[i] = given[i]", integers)
    x = random_inputs(network, N_EVENTS)
    halved = np.where([name.endswith("pt") for name in RANGES], x // 2 * 2, x)
    wrong = np.flatnonzero(reference.emulate(network, x) != reference.emulate(network, halved))
    at = np.flatnonzero(x[wrong[0]] != halved[wrong[0]])[0]
    assert compared() == [
        f"reference = C simulation: {len(wrong)} mismatches in {len(x)} events; first at event {wrong[0]}, operation "
        f"'trigger', element {at}: raw {x[wrong[0], at]} against {x[wrong[0], at] - 1} in "
        "ap_fixed<8,7,AP_TRN,AP_WRAP>",
        "columns that differ: met_pt, jet0_pt, jet1_pt",
        f"not read, only run: emulator.cpp:{line_of(here / 'project' / 'emulator.cpp', 'to_int')}: emulator has a "
        f"statement that is not read, {integers!r}; read the folder of the network alone",
        "likely cause: integer division by 2 in the input loses the lowest bit of met_pt, jet0_pt, jet1_pt "
        f"(accounts for {min(len(wrong), 2000)} of the {min(len(wrong), 2000)} events that differ)",
    ]
