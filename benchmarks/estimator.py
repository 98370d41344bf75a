"""Calibrates the resource estimator: ``python benchmarks/estimator.py``, then `l1ad/hardware/estimator.toml` is new.

Two fits.  How much sharing saves, how wide adders are and what waits between them is fitted on the graphs of random
layers (``estimator_layers.csv``; no tool).  What a counted bit costs in LUT and FF is fitted on networks that Yosys has
synthesised (``estimator_networks.csv``), but for every third, on which the error is measured.  Rows that are there
are not made again.
"""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from estimator_networks import NETWORKS, Layer, Recipe
from scipy.optimize import nnls

from l1ad.files import write_text
from l1ad.fixed import FixedPoint
from l1ad.hardware.estimator import CALIBRATION, KINDS, Counts, count
from l1ad.hardware.rtl.adders import sums
from l1ad.hardware.rtl.build import rtl
from l1ad.hardware.rtl.graph import Graph, Sum, operands
from l1ad.hardware.sharing import bits_per_adder, count_digits, plain_waiting, sharing
from l1ad.hardware.synthesis.yosys import synthesise

HERE = Path(__file__).parent
LAYERS, NETWORKS_CSV = HERE / "estimator_layers.csv", HERE / "estimator_networks.csv"
N_LAYERS = 300
LEVELS = 5
"""Levels of adders behind which waiting nodes are counted."""
HELD_OUT = 3
"""Every third network, by its number, is not fitted."""

Row = dict[str, str]


def main() -> None:
    """Make what is missing, fit, and print."""
    extend(LAYERS, range(N_LAYERS), measured)
    extend(NETWORKS_CSV, NETWORKS, synthesised)
    known = fit(read(LAYERS), read(NETWORKS_CSV))
    write_text(CALIBRATION, as_toml(known))
    print("\n".join(table(read(NETWORKS_CSV), known)))


def read(path: Path) -> list[Row]:
    """Rows of a CSV file, or none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def extend(path: Path, numbers: Iterable[int], make: Callable[[int], Mapping[str, Any]]) -> None:
    """Append a row for each number that has none."""
    there = {int(row["number"]) for row in read(path)}
    for number in numbers:
        if number in there:
            continue
        row = make(number)
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(", ".join(f"{key} {value}" for key, value in row.items() if key != "digest"), flush=True)


def measured(number: int) -> dict[str, Any]:
    """Row of a layer: what the graph has of it."""
    layer = Layer.of(number)
    graph, kind = Graph(), FixedPoint(layer.input_bits, 0, layer.signed)
    x = [graph.column(i, kind.min_raw, kind.max_raw) for i in range(layer.inputs)]
    weight, bias = layer.weight()
    ends = sums(graph, x, weight.tolist(), bias.tolist())
    numbers = sorted({n for end in ends for n in graph.needed(end)})
    level: dict[int, int] = {}
    used: dict[int, int] = {}
    for n in numbers:
        node = graph.nodes[n]
        level[n] = max((level[a] for a in operands(node)), default=0) + isinstance(node, Sum)
        used.update({a: max(used.get(a, 0), level[n]) for a in operands(node)})
    last = max(level.values())
    used.update(dict.fromkeys(ends, last))
    held = [n for n in numbers if graph.value(n) is None]
    adders = [n for n in numbers if isinstance(graph.nodes[n], Sum)]
    row = {"number": number} | {key: getattr(layer, key) for key in Layer.__dataclass_fields__ if key != "number"}
    row |= {
        "result_bits": round(float(np.mean([graph.width(end) for end in ends])), 3),
        "adders": len(adders),
        "adder_bits": sum(varying(graph, n) for n in adders),
        "levels": last,
    }
    waits = [sum(level[n] <= after < used.get(n, 0) for n in held) if after < last else 0 for after in range(LEVELS)]
    return row | {f"waiting_{after}": n for after, n in enumerate(waits) if after}


def varying(graph: Graph, number: int) -> int:
    """Bits of an adder in which both operands vary: a look-up table each."""
    node, top = graph.nodes[number], graph.width(number)
    if not isinstance(node, Sum) or graph.value(node.a) is not None or graph.value(node.b) is not None:
        return 0
    ends = [up + graph.width(n) if not graph.signed(n) else top for n, up in ((node.a, node.up_a), (node.b, node.up_b))]
    return max(min(*ends, top) - max(node.up_a, node.up_b), 0)


def synthesised(number: int) -> dict[str, Any]:
    """Row of a network: what Yosys makes of it, by the whole `synth_xilinx`."""
    recipe = Recipe.of(number)
    network = recipe.network()
    design = rtl(network, recipe.clock_ns)
    start = time.monotonic()
    made = synthesise(design, fast=False)
    version = re.findall(r"\d+\.\d\S*[^\s)]", made.tool)[0]
    row = {"number": number, "digest": network.digest}
    row |= {key: getattr(recipe, key) for key in Recipe.__dataclass_fields__ if key != "number"}
    row |= {"latency_cycles": design.latency_cycles, "lut": made.lut, "ff": made.ff, "carry4": made.carry}
    return row | {"srl": made.lut_memory, "yosys": version, "seconds": round(time.monotonic() - start)}


def fit(layers: list[Row], networks: list[Row]) -> dict[str, dict[str, Any]]:
    """All that the estimator knows, as in its file."""
    known: dict[str, dict[str, Any]] = {"sharing": fit_sharing(layers)}
    counts = [counted(row, known) for row in networks]
    seen = [int(row["number"]) % HELD_OUT != 0 for row in networks]
    lut, ff = (np.array([float(row[key]) for row in networks]) for key in ("lut", "ff"))
    bits = np.array([[c.bits[kind] for kind in KINDS] for c in counts])
    cost, _ = nnls(bits[seen] / lut[seen, None], np.ones(sum(seen)))  # relative errors, the least squares of them
    held = np.array([[c.registers, c.delayed] for c in counts])
    register, _ = nnls(held[seen] / ff[seen, None], np.ones(sum(seen)))
    known["lut"] = {kind: rounded(value) for kind, value in zip(KINDS, cost, strict=True)}
    known["ff"] = {"register": rounded(register[0]), "delayed": rounded(register[1])}
    unseen = ~np.array(seen)
    off = {"lut": abs(bits @ cost / lut - 1)[unseen], "ff": abs(held @ register / ff - 1)[unseen]}
    cycles = np.array([c.latency_cycles - int(row["latency_cycles"]) for c, row in zip(counts, networks, strict=True)])
    known["error"] = {"yosys": " and ".join(sorted({row["yosys"] for row in networks}))}
    known["error"] |= {"fitted": sum(seen), "held_out": int(unseen.sum())}
    for key, errors in off.items():
        known["error"] |= {f"{key}_median": rounded(np.median(errors)), f"{key}_90": rounded(np.quantile(errors, 0.9))}
    known["error"]["latency_within_one"] = rounded(np.mean(abs(cycles[unseen]) <= 1))
    return known


def counted(row: Row, known: Mapping[str, Any]) -> Counts:
    """Counts of a row's network.

    Raises
    ------
    ValueError
        If the network is not the one that was synthesised.
    """
    recipe = Recipe.of(int(row["number"]))
    network = recipe.network()
    if network.digest != row["digest"]:
        raise ValueError(
            f"{NETWORKS_CSV}: network {recipe.number} must be {row['digest']}, not {network.digest}; its recipe has "
            "changed: delete the file, and synthesise again"
        )
    return count(network, recipe.clock_ns, known)


def fit_sharing(layers: list[Row]) -> dict[str, Any]:
    """Laws of the sums of a layer, from those with at least ten terms to share."""
    features, left, plain, shapes, bits, waits = [], [], [], [], [], []
    for row in layers:
        weight, bias = Layer.of(int(row["number"])).weight()
        columns = count_digits(weight).sum(axis=0)
        terms = columns + (bias != 0)
        n = float(np.maximum(columns - 1, 0).sum())
        share = (int(row["adders"]) - int(((bias != 0) & (columns > 0)).sum())) / max(n, 1)
        if n < 10 or share <= 0:
            continue
        found = sharing(weight)
        features.append(found.adders)
        left.append(share)
        plain.append(n)
        signed = float(row["signed"] == "True")
        shapes.append(bits_per_adder(float(row["input_bits"]), float(row["result_bits"]), signed, min(share, 1.0)))
        bits.append(float(row["adder_bits"]) / (share * n))
        for level in range(1, min(int(row["levels"]), LEVELS)):
            trees = plain_waiting(terms, level)
            ratio = np.log(float(row[f"waiting_{level}"]) / trees)
            waits.append((level, np.sqrt(trees), ratio, [*found.waiting, np.log(min(share, 1.0))]))
    weights = np.sqrt(plain)
    law = least_squares(np.array(features) * weights[:, None], np.log(np.minimum(left, 1.0)) * weights)
    per_bit = np.array(shapes) / np.array(bits)[:, None]
    laws = []
    for level in (1, 2, 3):
        some = [rest for at, *rest in waits if min(at, 3) == level]
        heavy, ratios, read_ = (np.array(column) for column in zip(*some, strict=True))
        laws.append(least_squares(read_ * heavy[:, None], ratios * heavy))
    width = least_squares(per_bit * weights[:, None], weights)
    return {"adders": law, "bits": width, "waiting": laws}


def least_squares(features: npt.NDArray[Any], target: npt.NDArray[Any]) -> list[float]:
    """Coefficients of a linear law."""
    return [rounded(value) for value in np.linalg.lstsq(features, target, rcond=None)[0].tolist()]


def rounded(value: float) -> float:
    """Four decimals: a calibration has no more."""
    return round(float(value), 4)


def as_toml(known: Mapping[str, Mapping[str, Any]]) -> str:
    """Text of the calibration."""
    lines = ["# Made by benchmarks/estimator.py; not to be edited."]
    for section, entries in known.items():
        lines += ["", f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in entries.items())]
    return "\n".join(lines) + "\n"


def table(networks: list[Row], known: Mapping[str, Any]) -> list[str]:
    """Lines of a table of the networks, and the errors."""
    lines = ["| network | LUT (Yosys) | estimated | FF (Yosys) | estimated | clocks (RTL) | estimated | |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in networks:
        c = counted(row, known)
        lut = sum(known["lut"][kind] * c.bits[kind] for kind in KINDS)
        ff = known["ff"]["register"] * c.registers + known["ff"]["delayed"] * c.delayed
        said = f"{row['layers']}, {row['weights']}, {row['score']}"
        use = "held out" if int(row["number"]) % HELD_OUT == 0 else "fitted"
        lines.append(
            f"| {row['number']}: {said} | {int(row['lut']):,} | {lut:,.0f} ({lut / int(row['lut']) - 1:+.0%}) | "
            f"{int(row['ff']):,} | {ff:,.0f} ({ff / int(row['ff']) - 1:+.0%}) | {row['latency_cycles']} | "
            f"{c.latency_cycles} | {use} |"
        )
    return [*lines, *(f"{key}: {value}" for key, value in known["error"].items())]


if __name__ == "__main__":
    main()
