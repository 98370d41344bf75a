"""Vitis HLS projects, written by hls4ml from a `Network` alone, and their C simulation.

Every type is dictated: results, weights, biases and accumulators.  What hls4ml made of them is read back and
compared.  Input scaling and score are inside the top function, so that C simulation starts and ends where the
trigger does.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import hls4ml
import numpy as np
import numpy.typing as npt
from hls4ml.model.graph import ModelGraph

from l1ad import __version__
from l1ad.emulate import reference
from l1ad.errors import MismatchError, UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.hardware import hls_layers
from l1ad.hardware.compiler import find_compiler
from l1ad.hardware.target import Target
from l1ad.network import Dense, Input, Mask, Network, Operation, Rescale, Subtract, SumOfSquares

PROJECT = "l1ad"
"""Name of the top function."""
MANIFEST = "manifest.json"


def write_project(network: Network, folder: str | Path, target: Target, vectors: npt.ArrayLike) -> Path:
    """Write a complete Vitis HLS project, whole or not at all.

    Parameters
    ----------
    network : Network
    folder : path
        Replaced if it exists.
    target : Target
    vectors : integer array_like, shape (n_events, n_columns)
        Raw trigger integers for the test bench; their scores are computed by the reference emulator.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    MismatchError
        If hls4ml chose another type than the network's anywhere.
    OSError
        If `folder` cannot be written.
    """
    folder = Path(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        aside.mkdir(parents=True)
        # hls4ml reads the folder from its configuration, so that the graph is made for `aside`
        graph = hls_graph(network, aside, target)
        types = read_types(graph)
        check_types(network, types)
        with _without_keras():
            graph.write()
        _adapt_build_script(aside / "build_lib.sh", network)
        _adapt_test_bench(aside / f"{PROJECT}_test.cpp")
        x = reference.admissible(network, vectors)
        scores = reference.emulate(network, x)
        bench = aside / "tb_data"
        np.savetxt(bench / "tb_input_features.dat", x * network.input.out.lsb, fmt="%.17g")
        np.savetxt(bench / "tb_output_predictions.dat", scores * network.score.out.lsb, fmt="%.17g")
        np.savetxt(bench / "expected_scores_raw.dat", scores, fmt="%d")
        network.save(aside / "network.json")
        manifest = {
            "network_digest": network.digest,
            "top_function": PROJECT,
            "score_type": str(network.score.out),
            "input_columns": list(network.input.columns),
            "test_bench_events": len(x),
            "target": asdict(target),
            "types": types,
            "versions": {"l1ad": __version__, "hls4ml": hls4ml.__version__},
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        aside.replace(folder)
    except OSError as error:
        raise OSError(f"{folder}: cannot write the firmware project ({error}); choose a writable folder") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


@contextmanager
def _without_keras() -> Iterator[None]:
    """Keep hls4ml's writer from importing Keras 3 only to describe models that are not there.

    It takes seconds, needs TensorFlow, and would fix the version of Keras for the whole process.
    """
    kept = sys.modules.get("keras")
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["keras"]
        if kept is not None:
            sys.modules["keras"] = kept


def _adapt_build_script(script: Path, network: Network) -> None:
    """Let ``build_lib.sh`` take ``$CXX``, and name the library by the network instead of at random."""
    text, changed = re.subn(r"^CC=g\+\+$", 'CC="${CXX:-g++}"', script.read_text(), flags=re.M)
    text, named = re.subn(r"^LIB_STAMP=.*$", f"LIB_STAMP={network.digest[:8]}", text, flags=re.M)
    # the headers' std::complex of AP types, which nothing here uses, does not compile with libc++ (clang, zig)
    text, spared = re.subn(
        r'^INCFLAGS="(.*)"$', r'INCFLAGS="\1 -D__AP_INT_SPECIAL_H__ -D__AP_FIXED_SPECIAL_H__"', text, flags=re.M
    )
    if (changed, named, spared) != (1, 1, 1):
        raise UnsupportedError(
            f"hls4ml {hls4ml.__version__}: build_lib.sh has changed; l1ad cannot choose its compiler"
        )
    script.write_text(text)


def _adapt_test_bench(source: Path) -> None:
    """Let the test bench write scores with all their digits; six, its default, do not tell neighbours apart."""
    text, changed = re.subn(
        r"^( *)(std::ofstream fout\(RESULTS_LOG\);)$", r"\1\2\n\1fout.precision(17);", source.read_text(), flags=re.M
    )
    if changed != 1:
        raise UnsupportedError(f"hls4ml {hls4ml.__version__}: its test bench has changed; l1ad cannot make it exact")
    source.write_text(text)


def hls_graph(network: Network, folder: str | Path, target: Target) -> ModelGraph:
    """Graph of hls4ml for `network`, with every type stated, to be written to `folder`."""
    hls_layers.register()
    layers, precisions = [], {}
    for operation in network.operations:
        layer, types = _layer(operation, network)
        layers.append({"name": operation.name, "outputs": [operation.name]} | layer)
        precisions[operation.name] = types | {"result": str(operation.out)}
    config = hls4ml.backends.get_backend("Vitis").create_initial_config(
        part=target.part, clock_period=target.clock_ns, io_type="io_parallel", write_weights_txt=False
    )
    config |= {"OutputDir": str(folder), "ProjectName": PROJECT, "Backend": "Vitis", "TraceOutput": True}
    config["HLSConfig"] = {
        "Model": {
            "Precision": "ap_fixed<2,1>",  # never used: `read_types` finds it out if it were
            "ReuseFactor": target.reuse_factor,
            "Strategy": target.strategy,
        },
        "LayerName": {name: {"Precision": types, "Trace": True} for name, types in precisions.items()},
    }
    return ModelGraph.from_layer_list(config, layers, inputs=[network.input.name], outputs=[network.score.name])


def _layer(operation: Operation, network: Network) -> tuple[dict[str, Any], dict[str, str]]:
    """Describe one operation as hls4ml takes it, with its types other than the result's."""
    match operation:
        case Input(columns=columns):
            return {"class_name": "InputLayer", "input_shape": [len(columns)]}, {}
        case Rescale(x=x, offset=offset, shift=shift):
            source = network[x].out
            up = shift.max() - shift
            return _affine(operation, 1 << up, int(shift.max()), -offset << up, source.frac + int(shift.max()))
        case Dense(x=x, weight=weight, weight_type=weight_type, bias=bias, bias_type=bias_type):
            layer = {
                "class_name": "Dense",
                "inputs": [x],
                "n_in": weight.shape[0],
                "n_out": weight.shape[1],
                "weight_data": weight * weight_type.lsb,
                "bias_data": bias * bias_type.lsb,
                "weight_quantizer": None,
                "bias_quantizer": None,
            }
            accumulator = network.flows[operation.name].accumulator
            return layer, {"weight": str(weight_type), "bias": str(bias_type), "accum": str(accumulator)}
        case Subtract(x=x, y=y):
            return {"class_name": "Merge", "op": "subtract", "inputs": [x, y]}, {}
        case Mask(x=x, by=by, index=index):
            kind = FixedPoint.holding(0, int(index.max()), 0)
            return {"class_name": "L1adMask", "inputs": [x, by], "column_data": index}, {
                "column": f"ap_uint<{kind.width}>"
            }
        case SumOfSquares(x=x):
            accumulator = network.flows[operation.name].accumulator
            return {"class_name": "Dot", "op": "dot1d", "axes": 1, "inputs": [x, x]}, {"accum": str(accumulator)}
        case _:
            raise UnsupportedError(f"hls4ml backend does not implement {type(operation).__name__}")


def _affine(
    operation: Rescale, scale: Raw, scale_frac: int, bias: Raw, bias_frac: int
) -> tuple[dict[str, Any], dict[str, str]]:
    layer = {
        "class_name": "BatchNormalization",
        "inputs": [operation.x],
        "n_in": len(scale),
        "n_filt": -1,
        "use_gamma": True,
        "use_beta": True,
        "scale_data": scale * 2.0**-scale_frac,
        "bias_data": bias * 2.0**-bias_frac,
    }
    return layer, {
        "scale": str(FixedPoint.holding(0, int(scale.max()), scale_frac)),
        "bias": str(FixedPoint.holding(int(bias.min()), int(bias.max()), bias_frac)),
    }


def read_types(graph: ModelGraph) -> dict[str, dict[str, str]]:
    """Types that hls4ml will write, by layer and role (``result``, ``weight``, ``bias``, ``accum`` ...)."""
    types: dict[str, dict[str, str]] = {}
    for layer in graph.get_layers():
        found = {"result": layer.get_output_variable().type.precision}
        found |= {role: variable.type.precision for role, variable in layer.weights.items()}
        if layer.get_attr("accum_t") is not None:
            found["accum"] = layer.get_attr("accum_t").precision
        types[layer.name] = {role: str(_fixed_point(precision)) for role, precision in found.items()}
    return types


def check_types(network: Network, types: dict[str, dict[str, str]]) -> None:
    """Compare the types that hls4ml chose with the network's; raise MismatchError naming the operation."""
    names = [operation.name for operation in network.operations]
    if list(types) != names:
        raise MismatchError(f"hls4ml project must have the layers {names}, not {list(types)}")
    for operation in network.operations:
        _, stated = _layer(operation, network)
        stated["result"] = str(operation.out)
        for role, text in stated.items():
            expected = str(FixedPoint.parse(text))
            if types[operation.name].get(role) != expected:
                raise MismatchError(
                    f"operation {operation.name!r}: hls4ml's {role} type must be {expected}, "
                    f"not {types[operation.name].get(role)}"
                )


def _fixed_point(precision: Any) -> FixedPoint:
    rounding = str(getattr(precision, "rounding_mode", None) or "TRN")
    overflow = str(getattr(precision, "saturation_mode", None) or "WRAP")
    return FixedPoint(precision.width, precision.width - precision.integer, bool(precision.signed), rounding, overflow)


def simulate(network: Network, folder: str | Path, x: npt.ArrayLike) -> Raw:
    """Raw scores by C simulation of the project in `folder`; see `reference.emulate` for `x` and the errors.

    The sources are compiled once, by the project's own build script with our compiler.

    Raises
    ------
    ToolNotFoundError
        If there is no C++ compiler.
    ValueError
        If `folder` holds no project of this network.
    """
    return _simulate(network, Path(folder), reference.admissible(network, x), trace=False)[network.score.name][:, 0]


def simulate_trace(network: Network, folder: str | Path, x: npt.ArrayLike) -> dict[str, Raw]:
    """Raw result of every operation by C simulation, each of shape (n_events, size); see `simulate`."""
    return _simulate(network, Path(folder), reference.admissible(network, x), trace=True)


class _Traced(ctypes.Structure):
    """``trace_data`` of hls4ml's bridge: layer name, pointer to its output."""

    _fields_: ClassVar = [("name", ctypes.c_char_p), ("data", ctypes.POINTER(ctypes.c_double))]


def _simulate(network: Network, folder: Path, x: Raw, *, trace: bool) -> dict[str, Raw]:
    library = ctypes.CDLL(str(compile_project(network, folder)))
    sizes = {o.name: network.flows[o.name].size for o in network.operations[1:]}
    values = {name: np.empty((len(x), size)) for name, size in sizes.items() if trace or name == network.score.name}
    score = values[network.score.name]
    events = np.ascontiguousarray(x * network.input.out.lsb)
    top = getattr(library, f"{PROJECT}_double")
    top.restype = None
    traced = (_Traced * len(sizes))()
    if trace:
        library.allocate_trace_storage(ctypes.c_size_t(ctypes.sizeof(ctypes.c_double)))
    try:
        for event in range(len(events)):
            top(events[event].ctypes.data_as(ctypes.c_void_p), score[event].ctypes.data_as(ctypes.c_void_p))
            if trace:
                library.collect_trace_output(traced)
                for entry in traced:
                    name = entry.name.decode()
                    values[name][event] = np.ctypeslib.as_array(entry.data, (sizes[name],))
    finally:
        if trace:
            library.free_trace_storage()
    raw = {}
    for name, value in values.items():
        scaled = value / network[name].out.lsb
        raw[name] = scaled.astype(np.int64)
        if not np.array_equal(raw[name], scaled):
            raise MismatchError(f"operation {name!r}: C simulation gives values off the grid of {network[name].out}")
    return raw


def compile_project(network: Network, folder: str | Path) -> Path:
    """Compile the project's C simulation once; return the shared library.

    Raises
    ------
    ToolNotFoundError, ValueError
        As `simulate`.
    RuntimeError
        If the compiler fails; the text holds what it said.
    """
    folder = Path(folder)
    try:
        built_from = str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["network_digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not a firmware project of l1ad ({error}); run `l1ad build`") from error
    if built_from != network.digest:
        raise ValueError(
            f"{folder}: firmware was built from network {built_from[:12]}, not from "
            f"{network.digest[:12]}; run `l1ad build` again"
        )
    library = folder / "firmware" / f"{PROJECT}-{network.digest[:8]}.so"
    sources = [*folder.glob("*.cpp"), *folder.glob("firmware/**/*.cpp"), *folder.glob("firmware/**/*.h")]
    if library.exists() and all(library.stat().st_mtime >= source.stat().st_mtime for source in sources):
        return library.resolve()
    result = subprocess.run(
        ["bash", "build_lib.sh"],
        cwd=folder,
        env=os.environ | {"CXX": find_compiler()},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode or not library.exists():
        said = [line for line in result.stdout.splitlines() if "error" in line.lower()] or result.stdout.splitlines()
        raise RuntimeError(f"{folder}: C++ compilation failed:\n" + "\n".join(said[:20]))
    return library.resolve()
