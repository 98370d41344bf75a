"""Projects that plain hls4ml makes of Keras models, read and compared with their own compiled C++."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from l1ad.audit.against import against_project, simulation
from l1ad.compare import agree, random_inputs
from l1ad.convert.from_hls4ml.importer import import_project
from l1ad.convert.from_hls4ml.tables import activation_table, address_type, doubtful
from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, cast
from l1ad.hardware import csim

GENERATE = r"""
import json
import sys
import keras
import hls4ml
import numpy as np
from keras import layers

def dense(*activations):
    stack = [layer for n, a in zip((6, 5), activations) for layer in (layers.Dense(n), *a)]
    return (7,), [*stack, layers.Dense(1)]

def models():
    relu = layers.Activation("relu")
    return {
        "activations": dense([layers.Activation("tanh")], [layers.Activation("sigmoid")]),
        "leaky": dense([layers.LeakyReLU(negative_slope=0.3)], [layers.ReLU()]),
        "clipped": dense([layers.Activation("relu6")], [layers.BatchNormalization(), relu]),
        "threshold": dense([layers.ReLU(threshold=0.5)], [relu]),
        "elu": dense([layers.ELU()], [relu]),
        "softmax": dense([layers.Softmax()], [relu]),
        "quick": dense([layers.Softmax(name="quick")], [relu]),
        "lines": ((8, 2), [layers.Conv1D(3, 3, padding="same"), layers.ReLU(), layers.Conv1D(2, 2, strides=2),
                           layers.Flatten(), layers.Dense(1)]),
        "pooled": ((10, 3), [layers.Conv1D(4, 1, activation="relu"), layers.GlobalAveragePooling1D(), layers.Dense(1)]),
        "images": ((5, 4, 2), [layers.Conv2D(3, (2, 3), padding="same", activation="relu"), layers.BatchNormalization(),
                               layers.Conv2D(2, (3, 2), strides=(2, 1)), layers.ReLU(), layers.Conv2D(2, 1),
                               layers.Flatten(), layers.Dense(1, activation="sigmoid")]),
    }

def generate(name, backend, strategy, reuse, precision, folder):
    keras.utils.clear_session()
    keras.utils.set_random_seed(8)
    rng = np.random.default_rng(4)
    shape, stack = models()[name]
    model = keras.Sequential([keras.Input(shape), *stack])
    for layer in model.layers:
        layer.set_weights([rng.normal(0, 0.8, w.shape) if "variance" not in v.path else rng.uniform(0.3, 2, w.shape)
                           for v, w in zip(layer.weights, layer.get_weights())])
    config = hls4ml.utils.config_from_keras_model(
        model, granularity="name", backend=backend, default_precision=precision
    )
    config["Model"] |= {"Strategy": strategy, "ReuseFactor": int(reuse)}
    for key, layer in config["LayerName"].items():
        layer |= {"Strategy": strategy, "ReuseFactor": int(reuse)}
        if key == "quick":
            layer["Implementation"] = "latency"
    hls4ml.converters.convert_from_keras_model(
        model, hls_config=config, output_dir=folder, backend=backend, io_type="io_parallel"
    ).write()

for case in json.load(sys.stdin):
    generate(*case)
"""


@pytest.fixture(scope="session")
def projects(once):
    """Projects of plain hls4ml by settings, made in one process of their own: it imports Keras 3."""
    cases = [*CASES, *REFUSED]

    def generate(folder):
        given = json.dumps([[*case, str(folder / f"{n}" / "project")] for n, case in enumerate(cases)])
        command = [sys.executable, "-P", "-W", "ignore", "-c", GENERATE]
        done = subprocess.run(command, input=given, capture_output=True, text=True)
        assert not done.returncode, done.stderr[-2000:]

    folder = once("keras", generate)
    return {case: folder / f"{n}" / "project" for n, case in enumerate(cases)}


DEFAULT = "ap_fixed<16,6>"
CASES = [
    ("activations", "Vivado", "Latency", "1", DEFAULT),
    ("activations", "Vitis", "Resource", "4", "ap_fixed<12,4,AP_RND,AP_SAT>"),
    ("leaky", "Vitis", "Latency", "4", DEFAULT),
    ("clipped", "Vitis", "Latency", "1", DEFAULT),
    ("lines", "Vivado", "Latency", "1", DEFAULT),
    ("lines", "Vitis", "Resource", "4", "ap_fixed<13,5>"),
    ("pooled", "Vitis", "Latency", "1", DEFAULT),
    ("softmax", "Vitis", "Latency", "1", DEFAULT),
    ("quick", "Vivado", "Latency", "1", "ap_fixed<14,6>"),
    ("images", "Vitis", "Latency", "1", DEFAULT),
    ("images", "Vivado", "Resource", "2", "ap_fixed<11,4>"),
]
ELU = ("elu", "Vitis", "Latency", "1", DEFAULT)
REUSED = ("images", "Vivado", "Resource", "4", DEFAULT)
THRESHOLD = ("threshold", "Vitis", "Latency", "1", DEFAULT)
REFUSED = (ELU, REUSED, THRESHOLD)


@pytest.mark.parametrize("settings", CASES, ids="-".join)
def test_what_hls4ml_makes_is_read_and_equals_its_own_compiled_code(settings, projects, tmp_path, require):
    require("compiler")
    folder = projects[settings]
    network = import_project(folder).network
    x = random_inputs(network, 4_000)
    assert len(np.unique(reference.emulate(network, x))) > 50
    if settings[0] in ("softmax", "quick"):
        wanted = {"softmax": "stable", "quick": "latency"}[settings[0]]
        assert f"softmax_implementation::{wanted};" in (folder / "firmware" / "parameters.h").read_text()
    simulated = simulation(folder, tmp_path / "build")
    if settings[0] in ("leaky", "pooled"):  # and compiled as it is, without the recorder
        against_project(network, simulated, x).agreement.require()
    expected = reference.trace(network, x)
    found = simulated.run(network, expected, trace=True)
    assert len(found) >= 5
    agree(network, "network", expected, "C simulation", found).require()


def test_a_layer_that_is_not_read_is_refused_by_line(projects):
    folder = projects[ELU]
    lines = (folder / "firmware" / "myproject.cpp").read_text().splitlines()
    (number,) = (n for n, line in enumerate(lines, 1) if "nnet::elu<" in line)
    with pytest.raises(UnsupportedError, match=rf"^firmware/myproject\.cpp:{number}: layer 'elu' is not read"):
        import_project(folder)


def test_a_reuse_factor_that_hls4ml_does_not_compute_is_refused(projects):
    """Its C++ has an assertion against it, and reads beyond its arrays where assertions are off."""
    folder = projects[REUSED]
    with pytest.raises(
        UnsupportedError, match=r"^firmware/myproject\.cpp:\d+: reuse_factor 4 must suit .* 2 x 2 weights"
    ):
        import_project(folder)


def test_a_threshold_is_refused_by_line(projects):
    folder = projects[THRESHOLD]
    with pytest.raises(
        UnsupportedError, match=r"^firmware/myproject\.cpp:\d+: threshold of a ReLU must be 0, not 0\.5"
    ):
        import_project(folder)


TABLES = [
    (function, size, kind)
    for function in ("sigmoid", "tanh")
    for size in (1024, 2048, 4096)
    for kind in (
        "ap_fixed<18,8>",
        "ap_fixed<16,6,AP_RND,AP_SAT>",
        "ap_ufixed<9,0,AP_RND_CONV,AP_SAT>",
        "ap_fixed<24,2>",
    )
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """C simulation of all tables at once: one input at every address and between, one output a table."""
    vivado = Path(csim._ap_types(Path())).parent
    folder = tmp_path_factory.mktemp("tables")
    source = ['#include "ap_fixed.h"', '#include "nnet_utils/nnet_activation.h"', "typedef ap_fixed<18,5> x_t;"]
    calls = []
    for n, (function, size, kind) in enumerate(TABLES):
        members = f"static const unsigned n_in = 1; static const unsigned table_size = {size}; typedef {kind} table_t;"
        source.append(f"struct c{n} : nnet::activ_config {{ {members} }};")
        calls.append(f"ap_fixed<30,4> y{n}[1]; nnet::{function}<x_t, ap_fixed<30,4>, c{n}>(x, y{n}); y[{n}] = y{n}[0];")
    top = f"void top(x_t x[1], ap_fixed<30,4> y[{len(TABLES)}]) {{ {' '.join(calls)} }}"
    (folder / "top.cpp").write_text("\n".join([*source, top, ""]))
    shutil.copytree(vivado / "nnet_utils", folder / "nnet_utils")
    given, made = FixedPoint(18, 13), FixedPoint(30, 26)
    ports = csim.Port("x", given, 1), csim.Port("y", made, len(TABLES))
    x = np.arange(given.min_raw, given.max_raw + 1)
    found = csim.run(csim.Sources(folder, folder / "top.cpp", "top", "", *ports), x[:, None], build=folder / "build")
    return x, found["y"]


@pytest.mark.parametrize("number", range(len(TABLES)), ids=lambda number: "-".join(map(str, TABLES[number])))
def test_every_address_of_a_table_is_hls4mls(number, tables, require):
    require("compiler")
    function, size, kind = TABLES[number]
    x, found = tables
    address = address_type(function, size)
    table = activation_table(function, size, FixedPoint.parse(kind), FixedPoint(30, 26))
    at = cast(x, 13, address) - address.min_raw
    assert set(at.tolist()) == set(range(size))
    table_type = FixedPoint.parse(kind)
    if table_type.frac < 20:
        np.testing.assert_array_equal(found[:, number], table[at])
    else:  # finer than float32, and so as the C library has it: one step off, and only where that is foretold
        off = np.abs(found[:, number] - table[at])
        assert off.max() <= 1 << 26 - table_type.frac
        assert doubtful(function, size, table_type)[at][off > 0].all()
