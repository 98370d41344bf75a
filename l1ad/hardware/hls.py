"""Vitis HLS projects, written by hls4ml from a `Network` alone.

Every type is dictated: results, weights, biases and accumulators.  What hls4ml made of them is read back and
compared.  Input scaling and score are inside the top function, so that C simulation starts and ends where the
trigger does.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hls4ml
import numpy as np
import numpy.typing as npt
from hls4ml.model.graph import ModelGraph

from l1ad import __version__
from l1ad.emulate import reference
from l1ad.errors import MismatchError, UnsupportedError
from l1ad.files import replacing_folder
from l1ad.fixed import FixedPoint
from l1ad.hardware import hls_layers
from l1ad.hardware.target import Target
from l1ad.network import Network

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
    try:
        with replacing_folder(folder) as aside:
            # hls4ml reads the folder from its configuration, so that the graph is made for `aside`
            graph = hls_graph(network, aside, target)
            types = read_types(graph)
            check_types(network, types)
            with _without_keras():
                graph.write()
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
    except OSError as error:
        raise OSError(f"{folder}: cannot write the firmware project ({error}); choose a writable folder") from error
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
        described, types = hls_layers.describe(operation, network)
        layers.extend(described)
        precisions[operation.name] = types | {"result": str(operation.out)}
    config = hls4ml.backends.get_backend("Vitis").create_initial_config(
        part=target.part, clock_period=target.clock_ns, io_type="io_parallel", write_weights_txt=False
    )
    config |= {"OutputDir": str(folder), "ProjectName": PROJECT, "Backend": "Vitis"}
    config["HLSConfig"] = {
        "Model": {
            "Precision": "ap_fixed<2,1>",  # never used: `read_types` finds it out if it were
            "ReuseFactor": target.reuse_factor,
            "Strategy": target.strategy,
        },
        "LayerName": {name: {"Precision": types} for name, types in precisions.items()},
    }
    return ModelGraph.from_layer_list(config, layers, inputs=[network.input.name], outputs=[network.score.name])


def read_types(graph: ModelGraph) -> dict[str, dict[str, str]]:
    """Types that hls4ml will write, by layer and role (``result``, ``weight``, ``bias``, ``accum`` ...)."""
    types: dict[str, dict[str, str]] = {}
    for layer in graph.get_layers():
        if layer.class_name == "Reshape":  # moves nothing
            continue
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
        _, stated = hls_layers.describe(operation, network)
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
