"""The C simulation of the hls4ml project against the reference emulator, operation by operation."""

import json
import shlex
import shutil
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from networks import random_events, random_network

from l1ad.compare import agree, corners
from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.hardware.compiler import find_compiler
from l1ad.hardware.hls import check_types, hls_graph, read_types, simulate, simulate_trace, write_project
from l1ad.hardware.target import Target
from l1ad.network import Input, Network, SumOfSquares

# four networks of seven casts: each of the 28 pairs of modes once
MODES = np.random.default_rng(28).permutation(list(product(ROUNDING, OVERFLOW))).reshape(4, 7, 2)
TARGETS = (Target(), Target(strategy="Resource"), Target(), Target(clock_ns=2.5))
N_EVENTS = (10_000, 2_000, 2_000, 2_000)


def lively(network):
    """Whether the score and most elements of every operation take many values."""
    trace = reference.trace(network, random_events(np.random.default_rng(0), network, 200))
    return len(np.unique(trace["score"])) > 20 and all(np.median(np.ptp(raw, axis=0)) > 2 for raw in trace.values())


def make(number, bits=12):
    for seed in range(1000):
        rng = np.random.default_rng([number, seed])
        network = random_network(rng, *MODES[number].T.tolist(), "reconstruction", bits)
        if lively(network):
            return network
    raise AssertionError("no lively network")


NETWORKS = [make(number) for number in range(4)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Function that writes the project of a network once, and returns its folder."""
    written = {}

    def of(number):
        if number not in written:
            network, folder = NETWORKS[number], tmp_path_factory.mktemp("hls") / f"network{number}"
            written[number] = write_project(network, folder, TARGETS[number], corners(network))
        return written[number]

    return of


def require_agreement(network, folder, x):
    expected = reference.trace(network, x)
    agree(network, "reference", expected, "hls", simulate_trace(network, folder, x)).require()
    np.testing.assert_array_equal(simulate(network, folder, x), reference.emulate(network, x))
    for name, raw in simulate_trace(network, folder, x[:7]).items():
        np.testing.assert_array_equal(raw, expected[name][:7])


def test_networks_cover_every_pair_of_modes():
    casts = [o.out for network in NETWORKS for o in network.operations[1:]]
    assert {(kind.rounding, kind.overflow) for kind in casts} == set(product(ROUNDING, OVERFLOW))
    shifts = np.concatenate([network["scaled"].shift for network in NETWORKS])
    assert shifts.min() < 0 < shifts.max()


@pytest.mark.parametrize("number", range(4))
def test_c_simulation_equals_the_reference(number, project, require, rng):
    require("compiler")
    network = NETWORKS[number]
    x = np.vstack([corners(network), random_events(rng, network, N_EVENTS[number])])
    require_agreement(network, project(number), x)


def test_the_encoder_alone_compiled_by_zig(tmp_path, require, monkeypatch, rng):
    require("ziglang")
    monkeypatch.setenv("CXX", shlex.join([sys.executable, "-m", "ziglang", "c++"]))
    network = random_network(np.random.default_rng(7), ROUNDING, OVERFLOW, "latent")
    assert lively(network)
    write_project(network, tmp_path / "project", Target(), corners(network))
    require_agreement(network, tmp_path / "project", np.vstack([corners(network), random_events(rng, network, 500)]))


def test_a_corrupted_weight_is_found_and_named(tmp_path, require, rng):
    require("compiler")
    network = NETWORKS[1]
    folder = write_project(network, tmp_path / "project", TARGETS[1], corners(network))
    file = folder / "firmware" / "weights" / "w5.h"  # of the fifth layer, the decoder; synthesis reads it too
    before, values = file.read_text().rsplit("{", 1)
    first, rest = values.split(",", 1)
    lsb = network["decoder"].weight_type.lsb
    file.write_text(f"{before}{{{float(first) + (lsb if network['decoder'].weight[0, 0] <= 0 else -lsb)},{rest}")
    x = np.vstack([corners(network), random_events(rng, network, 1000)])
    found, expected = simulate_trace(network, folder, x), reference.trace(network, x)
    agreement = agree(network, "reference", expected, "hls", found)
    event = int(np.argmax((found["decoder"] != expected["decoder"]).any(axis=1)))
    with pytest.raises(MismatchError, match=rf"first at event {event}, operation 'decoder', element 0: raw "):
        agreement.require()


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return NETWORKS[0], hls_graph(NETWORKS[0], tmp_path_factory.mktemp("graph"), Target())


def test_types_read_back_are_the_networks(graph):
    network, hls = graph
    types = read_types(hls)
    check_types(network, types)
    for o in network.operations:
        assert types[o.name]["result"] == str(o.out)
    for name in ("encoder", "code", "decoder"):
        assert types[name]["weight"] == str(network[name].weight_type)
        assert types[name]["bias"] == str(network[name].bias_type)
        assert types[name]["accum"] == str(network.flows[name].accumulator)
    assert types["score"]["accum"] == str(network.flows["score"].accumulator)


@pytest.mark.parametrize(
    ("name", "role"),
    [("trigger", "result"), ("scaled", "scale"), ("scaled", "bias"), ("encoder", "weight"), ("code", "bias"),
     ("decoder", "accum"), ("difference", "result"), ("present", "result"), ("present", "column"),
     ("score", "accum"), ("score", "result")],
)  # fmt: skip
def test_a_type_that_hls4ml_changed_is_named(graph, name, role):
    network, hls = graph
    types = read_types(hls)
    expected, types[name][role] = types[name][role], "ap_fixed<16,6,AP_TRN,AP_WRAP>"
    with pytest.raises(MismatchError) as error:
        check_types(network, types)
    assert str(error.value) == f"operation {name!r}: hls4ml's {role} type must be {expected}, not {types[name][role]}"
    del types[name][role]
    with pytest.raises(MismatchError, match=rf"operation '{name}': hls4ml's {role} type must be .*, not None"):
        check_types(network, types)


def test_a_type_changed_in_the_graph_is_found(graph, tmp_path):
    network, _ = graph
    hls = hls_graph(network, tmp_path, Target())
    hls.graph["code"].get_output_variable().type.precision.width += 1
    with pytest.raises(MismatchError, match="operation 'code': hls4ml's result type must be "):
        check_types(network, read_types(hls))


def test_a_layer_that_hls4ml_added_or_dropped_is_found(graph):
    network, hls = graph
    types = read_types(hls)
    types["code_linear"] = types["code"]
    with pytest.raises(MismatchError, match=r"hls4ml project must have the layers \['trigger', .* not .*'code_linear'"):
        check_types(network, types)
    types = {name: found for name, found in read_types(hls).items() if name != "present"}
    with pytest.raises(MismatchError, match="hls4ml project must have the layers"):
        check_types(network, types)


def test_project_says_what_made_it(project):
    network, folder = NETWORKS[1], project(1)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["network_digest"] == network.digest
    assert manifest["score_type"] == str(network.score.out)
    assert manifest["input_columns"] == list(network.input.columns)
    assert manifest["target"]["strategy"] == "Resource"
    assert manifest["types"]["decoder"]["accum"] == str(network.flows["decoder"].accumulator)
    assert manifest["versions"]["hls4ml"] == "1.3.0"
    assert Network.load(folder / "network.json") == network


def test_test_bench_holds_the_references_scores(project):
    network, folder = NETWORKS[1], project(1)
    x, bench = corners(network), folder / "tb_data"
    scores = reference.emulate(network, x)
    events = np.loadtxt(bench / "tb_input_features.dat")
    np.testing.assert_array_equal(events / network.input.out.lsb, x)
    np.testing.assert_array_equal(np.loadtxt(bench / "expected_scores_raw.dat", np.int64), scores)
    np.testing.assert_array_equal(np.loadtxt(bench / "tb_output_predictions.dat") / network.score.out.lsb, scores)


def test_simulation_reads_the_weights_that_synthesis_reads(project):
    """The headers hold the network's weights, and there are no text files to simulate with instead."""
    network, folder = NETWORKS[1], project(1) / "firmware" / "weights"
    assert not list(folder.glob("*.txt"))
    for number, name in ((3, "encoder"), (4, "code"), (5, "decoder")):
        dense = network[name]
        for file, raw, kind in (("w", dense.weight, dense.weight_type), ("b", dense.bias, dense.bias_type)):
            header = (folder / f"{file}{number}.h").read_text().rsplit("{", 1)[1].split("}")[0]
            # in another order under the strategy "Resource", which the agreement of scores checks
            stored = np.array(header.split(","), float) / kind.lsb
            np.testing.assert_array_equal(np.sort(stored), np.sort(raw.ravel()))


def test_the_test_bench_itself_gives_the_expected_scores(project, tmp_path):
    """Compiled and run as Vitis would, on the vectors of the project.  The headers cannot print negative `frac`."""
    network, folder = NETWORKS[0], shutil.copytree(project(0), tmp_path / "project")
    assert network.score.out.frac > 0
    sources = ["l1ad_test.cpp", "firmware/l1ad.cpp"]
    flags = ["-O0", "-w", "-std=c++17", "-Ifirmware/ap_types", "-D__AP_INT_SPECIAL_H__", "-D__AP_FIXED_SPECIAL_H__"]
    subprocess.run([*shlex.split(find_compiler()), *flags, *sources, "-o", "bench"], cwd=folder, check=True)
    subprocess.run(["./bench"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    written = np.loadtxt(folder / "tb_data/csim_results.log") / network.score.out.lsb
    np.testing.assert_array_equal(written, np.loadtxt(folder / "tb_data/expected_scores_raw.dat"))


def test_build_script_takes_cxx(project):
    lines = (project(1) / "build_lib.sh").read_text().splitlines()
    assert 'CC="${CXX:-g++}"' in lines
    assert f"LIB_STAMP={NETWORKS[1].digest[:8]}" in lines


def test_firmware_names_the_top_function_clock_and_part(project):
    tcl = (project(3) / "project.tcl").read_text()
    assert 'set project_name "l1ad"' in tcl
    assert "set clock_period 2.5" in tcl
    assert 'set part "xcvu13p-flga2577-2-e"' in tcl


def test_a_project_of_another_network_is_refused(project):
    one, other = NETWORKS[1], NETWORKS[2]
    text = rf"firmware was built from network {one.digest[:12]}, not from {other.digest[:12]}; run `l1ad build` again"
    with pytest.raises(ValueError, match=text):
        simulate(other, project(1), corners(other))


def test_a_folder_without_project_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"not a firmware project of l1ad \(.*manifest\.json.*\); run `l1ad build`"):
        simulate(NETWORKS[0], tmp_path, corners(NETWORKS[0]))


def test_events_out_of_range_are_refused_before_anything_is_compiled(project):
    x = corners(NETWORKS[2])
    x[1, 0] = NETWORKS[2].input.high[0] + 1
    with pytest.raises(ValueError, match="event 1, column 'column0'"):
        simulate(NETWORKS[2], project(2), x)


def test_what_the_compiler_says_is_passed_on(tmp_path, require):
    require("compiler")
    network = tiny()
    folder = write_project(network, tmp_path / "project", Target(), corners(network))
    with (folder / "firmware" / "l1ad.cpp").open("a") as file:
        file.write("#error deliberately broken\n")
    with pytest.raises(RuntimeError, match=r"project: C\+\+ compilation failed:\n.*error.*deliberately broken"):
        simulate(network, folder, corners(network))


def tiny(bits=8):
    trigger = Input("trigger", ("pt",), np.array([0]), np.array([100]), FixedPoint(8, 0))
    return Network((trigger, SumOfSquares("score", "trigger", FixedPoint(bits, 0, False, "TRN", "SAT"))))


def test_a_second_project_replaces_the_first(tmp_path):
    folder = tmp_path / "project"
    write_project(tiny(8), folder, Target(), [[1]])
    (folder / "left_behind").write_text("")
    write_project(tiny(9), folder, Target(), [[1], [2]])
    assert json.loads((folder / "manifest.json").read_text())["network_digest"] == tiny(9).digest
    assert not (folder / "left_behind").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match=r"file/project: cannot write the firmware project \(.*\); choose"):
        write_project(tiny(), tmp_path / "file" / "project", Target(), [[1]])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_bad_vectors_leave_the_old_project(tmp_path):
    folder = write_project(tiny(), tmp_path / "project", Target(), [[1]])
    with pytest.raises(ValueError, match="event 0, column 'pt' is 101"):
        write_project(tiny(9), folder, Target(), [[101]])
    assert json.loads((folder / "manifest.json").read_text())["network_digest"] == tiny().digest
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"strategy": "latency"}, r"firmware strategy must be one of \('Latency', 'Resource'\), not 'latency'"),
        ({"clock_ns": 0.0}, r"firmware clock_ns must be positive, not 0\.0"),
        ({"clock_ns": float("nan")}, "firmware clock_ns must be positive, not nan"),
        ({"reuse_factor": 0}, "firmware reuse_factor must be at least 1, not 0"),
    ],
)
def test_targets_are_checked(fields, text):
    with pytest.raises(ValueError, match=text):
        Target(**fields)
