"""The C simulation of the hls4ml project against the reference emulator, operation by operation."""

import json
import shlex
import shutil
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from l1ad.audit.against import against_project, simulation
from l1ad.compare import agree, corners
from l1ad.compiler import find_compiler
from l1ad.emulate import reference
from l1ad.errors import MismatchError, UnsupportedError
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import random_events, random_network
from l1ad.hardware import hls_layers
from l1ad.hardware.hls import check_types, hls_graph, read_types, write_project
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import KINDS, Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Merge

# four networks of seven casts: each of the 28 pairs of modes once; the other networks take them in another order
MODES = np.random.default_rng(28).permutation(list(product(ROUNDING, OVERFLOW)))
RESOURCE = Target(strategy="Resource")
TARGETS = (Target(), RESOURCE, Target(), Target(clock_ns=2.5), RESOURCE, Target(), RESOURCE, Target())
N_EVENTS = (10_000, *[2_000] * 7)


def lively(network):
    """Whether the score and most elements of every operation take many values."""
    trace = reference.trace(network, random_events(np.random.default_rng(0), network, 200))
    return len(np.unique(trace["score"])) > 20 and all(np.median(np.ptp(raw, axis=0)) > 2 for raw in trace.values())


def make(number, kind="reconstruction", wanted=lambda _: True):
    for seed in range(10_000):
        rng = np.random.default_rng([number, seed])
        modes = MODES[7 * number :] if number < 4 else rng.permutation(MODES)
        network = random_network(rng, *modes.T.tolist(), kind)
        if wanted(network) and lively(network):
            return network
    raise AssertionError("no lively network")


def padded(network):
    o = network["filters_sum"]
    return o.product is not None and max(o.strides) > 1 and min(o.padding[::2]) == 0 < max(o.padding)


def symmetric(network):
    """Addresses of a signed table that has an entry less than bits can say; products and their sums are cast."""
    address = network["address"].out
    cast = all(network[name].product is not None for name in ("left_sum", "score"))
    return address.signed and address.overflow == "SAT_SYM" and cast


def unsigned(network):
    return not network["address"].out.signed and network["left_sum"].product is None


def traps():
    """What hls4ml fuses, drops or replaces elsewhere."""
    rng, wide, whole = (
        np.random.default_rng(3),
        FixedPoint(12, 3, True, "RND", "SAT"),
        FixedPoint(6, 0, True, "TRN", "SAT"),
    )

    def weights(*shape):
        kind = FixedPoint(2, 0)  # two bits: ternary, were it an integer type
        bias = FixedPoint(4, 7)  # products of two fractional bits drop more bits than it has
        return rng.integers(-2, 2, shape), kind, rng.integers(-8, 8, shape[-1:]), bias

    def affine(name, x, n):
        return Affine(name, x, rng.integers(-9, 9, n), FixedPoint(5, 2), rng.integers(-9, 9, n), FixedPoint(5, 1), wide)

    def image(name, x, shape, kernel, strides, padding, out):
        return Convolution(name, x, shape, *weights(*kernel), strides, padding, FixedPoint(16, 2, True, "RND"), out)

    address = FixedPoint(1, 0, False, "TRN", "SAT")
    ends = np.full(6, -16), np.full(6, 15)
    return Network((
        Input("trigger", tuple("abcdef"), *ends, FixedPoint(5, 1)),
        image("pointwise", "trigger", (1, 3, 2), (1, 1, 2, 2), (1, 1), (0, 0, 0, 0), wide),
        affine("one", "pointwise", 6),  # after a layer with weights
        affine("two", "one", 6),  # after another
        Dense("dense", "two", *weights(6, 6), None, wide),
        affine("three", "dense", 6),
        Merge("square", "multiply", "three", "three", whole),
        Cast("bit", "square", address),
        Lookup("table", "bit", np.array([3, -5]), whole),
        Merge("nothing", "subtract", "table", "table", FixedPoint(3, 0, False)),
        Merge("most", "maximum", "square", "nothing", FixedPoint(6, 0, False, "TRN", "SAT")),
        # strides beyond the kernel, and windows that leave a rest of the image
        image("rows", "most", (3, 2, 1), (1, 2, 1, 3), (2, 3), (1, 0, 0, 2), FixedPoint(9, 2)),
        Merge("sum", "add", "rows", "table", FixedPoint(10, 1)),
        # the score is a convolution
        image("score", "sum", (2, 3, 1), (2, 3, 1, 1), (1, 1), (0, 0, 0, 0), FixedPoint(12, 2, True, "TRN", "WRAP")),
    ))  # fmt: skip


NETWORKS = [
    make(0, wanted=lambda network: network.score.out.frac > 0),
    *(make(number) for number in range(1, 4)),
    make(4, "image", padded),
    make(5, "mixed", symmetric),
    make(6, "mixed", unsigned),
    traps(),
]


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


def traced(network, folder, x):
    """Every operation by C simulation."""
    return simulation(folder, folder.parent / "build").run(network, reference.trace(network, x), trace=True)


def require_agreement(network, folder, x):
    expected, found = reference.trace(network, x), traced(network, folder, x)
    assert set(found) == set(expected)
    agree(network, "reference", expected, "hls", found).require()
    if len(x) > 10_000:  # and compiled as it is, without the recorder
        against_project(network, simulation(folder, folder.parent / "build"), x).agreement.require()


def test_networks_cover_every_pair_of_modes():
    casts = [o.out for network in NETWORKS[:4] for o in network.operations[1:]]
    assert {(kind.rounding, kind.overflow) for kind in casts} == set(product(ROUNDING, OVERFLOW))
    scales = np.concatenate([network["scaled"].scale * network["scaled"].scale_type.lsb for network in NETWORKS[:4]])
    assert scales.min() < 1 < scales.max()


def test_networks_cover_every_operation_under_either_strategy():
    for strategy in ("Latency", "Resource"):
        chosen = [n for n, target in zip(NETWORKS, TARGETS, strict=True) if target.strategy == strategy]
        assert {type(o) for network in chosen for o in network.operations} == set(KINDS.values())


@pytest.mark.parametrize("number", range(len(NETWORKS)))
def test_c_simulation_equals_the_reference(number, project, require, rng):
    require("compiler")
    network = NETWORKS[number]
    x = np.vstack([corners(network), random_events(rng, network, N_EVENTS[number])])
    require_agreement(network, project(number), x)


def test_the_encoder_alone_compiled_by_zig(tmp_path, require, monkeypatch, rng):
    require("ziglang")
    monkeypatch.setenv("CXX", shlex.join([sys.executable, "-m", "ziglang", "c++"]))
    network = make(7, "latent")
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
    found, expected = traced(network, folder, x), reference.trace(network, x)
    agreement = agree(network, "reference", expected, "hls", found)
    event = int(np.argmax((found["decoder"] != expected["decoder"]).any(axis=1)))
    with pytest.raises(MismatchError, match=rf"first at event {event}, operation 'decoder', element 0: raw "):
        agreement.require()


@pytest.mark.parametrize("number", range(4, len(NETWORKS)))
def test_types_of_every_operation_are_read_back(number, tmp_path):
    """Each type that was dictated, and no other: a wrong one is found for each operation and role."""
    network = NETWORKS[number]
    types = read_types(hls_graph(network, tmp_path, TARGETS[number]))
    check_types(network, types)
    roles = {
        Affine: {"result", "scale", "bias"},
        Dense: {"result", "weight", "bias", "accum"},
        Convolution: {"result", "weight", "bias", "accum"},
        Dot: {"result", "accum"},
        Lookup: {"result", "table"},
    }
    for o in network.operations:
        assert set(types[o.name]) == roles.get(type(o), {"result"})
        for role in types[o.name]:
            wrong = types | {o.name: types[o.name] | {role: "ap_fixed<2,1,AP_TRN,AP_WRAP>"}}
            with pytest.raises(MismatchError, match=f"operation '{o.name}': hls4ml's {role} type must be "):
                check_types(network, wrong)


def describe(*operations):
    network = Network((Input("x", ("a", "b"), np.array([-8, -8]), np.array([7, 7]), FixedPoint(4, 0)), *operations))
    return [hls_layers.describe(o, network) for o in network.operations]


FOUR = FixedPoint(4, 0)


@pytest.mark.parametrize(
    ("operations", "text"),
    [
        (
            (Dot("y", "x", "x", FixedPoint(7, 0, False, "TRN", "SAT"), FixedPoint(9, 0)),),
            "operation 'y': hls4ml sums in the type of the products, ap_ufixed<7,7,AP_TRN,AP_SAT>, which cannot hold "
            "the sum; widen it to 8 bits",
        ),
        (
            (Dot("y", "x", "x", FOUR, FixedPoint(5, 0)),),  # the sum would wrap at 4 bits
            "operation 'y': hls4ml sums in the type of the products, ap_fixed<4,4,AP_TRN,AP_WRAP>, which cannot hold "
            "the sum; widen it to 5 bits",
        ),
        (
            (Dot("y", "x", "x", FOUR, FixedPoint(3, -1)),),
            "operation 'y': hls4ml sums in the type of the products, ap_fixed<4,4,AP_TRN,AP_WRAP>, which cannot hold "
            "the sum; widen it to 5 bits",
        ),
        (
            (Cast("y", "x", FOUR), Dot("z", "y", "y", None, FOUR)),
            "operation 'y': hls4ml drops a cast to the type ap_fixed<4,4,AP_TRN,AP_WRAP> of 'x' itself; "
            "read 'x' instead",
        ),
        (
            (Cast("input", "x", FixedPoint(3, 0)), Dot("z", "input", "input", None, FOUR)),
            "operation 'input': hls4ml keeps this name for itself; rename the operation",
        ),
        (
            (Dense("y", "x", np.array([[1], [2**54 + 1]]), FixedPoint(56, 0), np.array([0]), FOUR, None, FOUR),),
            "operation 'y': hls4ml takes constants as doubles, of 53 bits, which do not hold those of "
            "ap_fixed<56,56,AP_TRN,AP_WRAP>; narrow them",
        ),
    ],
)
def test_what_hls4ml_cannot_do_is_refused(operations, text):
    with pytest.raises(UnsupportedError) as error:
        describe(*operations)
    assert str(error.value) == text


def test_accumulators_that_hls4ml_computes_alike():
    """A wrap at more bits of the same binary point, and a type that holds every partial sum."""
    for kind, out in ((FOUR, FixedPoint(4, 0)), (FOUR, FixedPoint(3, 0, False)), (FixedPoint(9, 0), FixedPoint(5, 2))):
        [_, (_, types)] = describe(Dot("y", "x", "x", kind, out))
        assert types == {"accum": str(kind)}


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


def test_firmware_names_the_top_function_clock_and_part(project):
    tcl = (project(3) / "project.tcl").read_text()
    assert 'set project_name "l1ad"' in tcl
    assert "set clock_period 2.5" in tcl
    assert 'set part "xcvu13p-flga2577-2-e"' in tcl


def test_what_the_compiler_says_is_passed_on(tmp_path, require):
    require("compiler")
    network = tiny()
    folder = write_project(network, tmp_path / "project", Target(), corners(network))
    with (folder / "firmware" / "l1ad.cpp").open("a") as file:
        file.write('static_assert(false, "deliberately broken");\n')
    with pytest.raises(RuntimeError, match=r"project: C\+\+ compilation failed:\n.*error.*deliberately broken"):
        traced(network, folder, corners(network))


def tiny(bits=8):
    trigger = Input("trigger", ("pt",), np.array([0]), np.array([100]), FixedPoint(8, 0))
    return Network((trigger, Dot("score", "trigger", "trigger", None, FixedPoint(bits, 0, False, "TRN", "SAT"))))


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
