"""A network's operations as nodes of a graph: casts become shifts, ties and saturation.

If an event comes only every few clocks, weighted sums are made digit by digit: the input's bits are split over the
clocks, so that adders are as narrow as a digit and its weights, and what each clock's digits give is accumulated.
Weights times a digit are integers as weights times a number are, so that no bit is lost or rounded on the way.

Source: P. Denyer and D. Renshaw, "VLSI Signal Processing: A Bit-Serial Approach" (1985), with digits for bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from l1ad import fixed
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.hardware.rtl.adders import product as multiplied
from l1ad.hardware.rtl.adders import sums, total
from l1ad.hardware.rtl.graph import Graph
from l1ad.hardware.rtl.pipeline import look_up_tables
from l1ad.network import Network, aligned
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, Operation

HALVES = {"TRN": 0, "TRN_ZERO": 0, "RND": 1, "RND_CONV": 1, "RND_MIN_INF": -1, "RND_INF": -1, "RND_ZERO": 1}
"""What rounding adds before the floor: half of a unit of the result (1), that less the least bit (-1), or nothing."""

WORTH = 0.1
"""Share of a layer's logic that must be saved for its clocks to be spent."""


def lower(network: Network, interval: int = 1) -> tuple[Graph, int]:
    """Graph of a network, and the number of its score's node.

    Parameters
    ----------
    network : Network
    interval : int
        Clocks from an event to the next, which weighted sums are spread over.

    Raises
    ------
    UnsupportedError
        If an operation is not known here.
    """
    graph = Graph()
    values: dict[str, list[int]] = {}
    for operation in network.operations:
        graph.where = operation.name
        nodes = _nodes(graph, operation, network, values, interval)
        values[operation.name] = nodes
        flow = network.flows[operation.name]
        for element, (number, low, high) in enumerate(zip(nodes, flow.low.tolist(), flow.high.tolist(), strict=True)):
            if graph.value(number) is None:
                graph.narrow(number, low, high)
                if graph.names[number].startswith(f"{operation.name}_t"):
                    is_input = isinstance(operation, Input)
                    graph.names[number] = network.input.columns[element] if is_input else f"{operation.name}_{element}"
    return graph, values[network.score.name][0]


def _nodes(
    graph: Graph, operation: Operation, network: Network, values: dict[str, list[int]], interval: int
) -> list[int]:
    """Nodes of the elements of an operation, after its cast."""
    out = operation.out
    match operation:
        case Input(low=low, high=high):
            return [graph.column(i, int(a), int(b)) for i, (a, b) in enumerate(zip(low, high, strict=True))]
        case Affine(x=x, scale=scale, bias=bias):
            frac = aligned(operation, network)
            up = frac - network[x].out.frac - operation.scale_type.frac
            nodes = []
            for number, factor, constant in zip(values[x], scale.tolist(), bias.tolist(), strict=True):
                whole = (constant << (frac - operation.bias_type.frac)) + half(frac, out)
                nodes += sums(graph, [number], [[factor << up]], [whole])
            return [cast(graph, node, frac, out, halved=True) for node in nodes]
        case Dense(x=x, weight=weight):
            return _weighted(graph, operation, network, [values[x]], weight, interval)
        case Convolution(x=x, weight=weight):
            zero = graph.constant(0)
            seen = [[values[x][i] if i >= 0 else zero for i in window] for window in operation.windows().tolist()]
            return _weighted(graph, operation, network, seen, weight.reshape(len(seen[0]), -1), interval)
        case Merge(how="multiply", x=x, y=y):
            nodes = [multiplied(graph, a, b) for a, b in zip(values[x], values[y], strict=True)]
        case Merge(how=how, x=x, y=y):
            frac = aligned(operation, network)
            left, right = ([graph.shift(a, network[name].out.frac - frac) for a in values[name]] for name in (x, y))
            nodes = [_merged(graph, how, a, b) for a, b in zip(left, right, strict=True)]
        case Mask(x=x, by=by, index=index):
            zero, frac = graph.constant(0), network[x].out.frac
            chosen = [values[by][i] for i in index.tolist()]
            nodes = [graph.choose(where, a, zero) for where, a in zip(chosen, values[x], strict=True)]
            return [cast(graph, node, frac, out) for node in nodes]
        case Dot(x=x, y=y, product=product):
            frac = aligned(operation, network)
            nodes = [multiplied(graph, a, b) for a, b in zip(values[x], values[y], strict=True)]
            if product is not None:
                nodes, frac = [cast(graph, node, frac, product) for node in nodes], product.frac
            return [cast(graph, total(graph, nodes, half(frac, out)), frac, out, halved=True)]
        case Cast(x=x):
            return [cast(graph, node, network[x].out.frac, out) for node in values[x]]
        case Lookup(x=x, table=table):
            return [graph.table(node, network[x].out.min_raw, tuple(table.tolist())) for node in values[x]]
        case _:
            raise UnsupportedError(f"RTL does not implement {type(operation).__name__} ({operation.name!r})")
    return [cast(graph, node, aligned(operation, network), out) for node in nodes]


def _merged(graph: Graph, how: str, a: int, b: int) -> int:
    if how in ("add", "subtract"):
        return graph.sum(a, b, minus=how == "subtract")
    larger = graph.at_least(a, b)
    return graph.choose(larger, a, b) if how == "maximum" else graph.choose(larger, b, a)


def _weighted(
    graph: Graph,
    operation: Dense | Convolution,
    network: Network,
    windows: Sequence[Sequence[int]],
    weight: Raw,
    interval: int,
) -> list[int]:
    """Each window times the weights, (n, m), and the bias: windows first."""
    out, frac, product = operation.out, aligned(operation, network), operation.product
    up = frac - network[operation.x].out.frac - operation.weight_type.frac
    bias = [b << (frac - operation.bias_type.frac) for b in operation.bias.tolist()]
    factors = [[w << up for w in row] for row in np.asarray(weight, object).tolist()]
    nodes: list[int] = []
    if product is not None:
        bias = fixed.cast(bias, frac, product).tolist()
    for window in windows:
        if product is None:
            nodes += _serial_sums(graph, window, factors, [b + half(frac, out) for b in bias], interval)
            continue
        for j, b in enumerate(bias):
            constant = b + half(product.frac, out)
            terms = [
                sums(graph, [x], [[row[j]]], [half(frac, product)])[0] for x, row in zip(window, factors, strict=True)
            ]
            kept = [cast(graph, term, frac, product, halved=True) for term in terms]
            nodes.append(total(graph, kept, constant))
    if product is not None:
        frac = product.frac
    return [cast(graph, node, frac, out, halved=True) for node in nodes]


def _serial_sums(
    graph: Graph, x: Sequence[int], weight: Sequence[Sequence[int]], bias: Sequence[int], interval: int
) -> list[int]:
    """Nodes of ``x @ weight + bias``, over so many clocks if that saves `WORTH` of their logic."""
    start = len(graph.nodes)
    at_once = sums(graph, x, weight, bias)
    end = len(graph.nodes)
    moving = [(number, row) for number, row in zip(x, weight, strict=True) if graph.value(number) is None]
    width = max((graph.width(number) for number, _ in moving), default=1)
    bits = -(-width // interval)
    count = -(-width // bits)
    if count == 1:
        return at_once
    constants = list(bias)
    for number, row in zip(x, weight, strict=True):
        fixed = graph.value(number)
        always = -(1 << graph.width(number) - 1) * graph.signed(number) if fixed is None else fixed
        constants = [constant + always * w for constant, w in zip(constants, row, strict=True)]
    digits = [graph.digits(number, bits, count) for number, _ in moving]
    made = sums(graph, digits, [row for _, row in moving], [0] * len(constants))
    serial = [graph.accumulate(a, bits, count, constant) for a, constant in zip(made, constants, strict=True)]
    costs = [
        sum(look_up_tables(graph, number) for number in range(*ends))
        for ends in ((start, end), (end, len(graph.nodes)))
    ]
    return serial if costs[1] < (1 - WORTH) * costs[0] else at_once


def half(frac: int, to: FixedPoint) -> int:
    """What is to be added before a cast from `frac` fractional bits, so that it need only drop bits."""
    shift = frac - to.frac
    if shift <= 0 or not HALVES[to.rounding]:
        return 0
    return (1 << (shift - 1)) - (HALVES[to.rounding] < 0)


def cast(graph: Graph, a: int, frac: int, to: FixedPoint, *, halved: bool = False) -> int:
    """Node of `l1ad.fixed.cast` of a node.

    Parameters
    ----------
    graph : Graph
    a : int
        Number of the node.
    frac : int
        Its fractional bits.
    to : FixedPoint
    halved : bool
        Whether `half` is in it already.
    """
    shift = frac - to.frac
    if shift > 0:
        a = _rounded(graph, a if halved else graph.sum(a, graph.constant(half(frac, to))), shift, to.rounding)
    else:
        a = graph.shift(a, shift)
    if to.overflow == "WRAP":
        return graph.wrap(a, to.width, to.signed)
    if to.overflow == "SAT_ZERO":
        low, high = graph.constant(to.min_raw), graph.constant(to.max_raw)
        zero = graph.constant(0)
        return graph.choose(graph.at_least(high, a), graph.choose(graph.at_least(a, low), a, zero), zero)
    return graph.saturate(a, to.min_raw, to.max_raw)


def _rounded(graph: Graph, a: int, shift: int, rounding: str) -> int:
    """`a` without its last bits; what `half` says is added."""
    half = 1 << (shift - 1)
    match rounding:
        case "RND_CONV":
            return graph.even(graph.shift(a, shift), a, shift)
        case "RND_INF":  # of ties, up what is not negative
            return graph.shift(graph.sum(a, graph.at_least(a, graph.constant(half - 1))), shift)
        case "RND_ZERO":
            return graph.shift(graph.sum(a, graph.at_least(a, graph.constant(half)), minus=True), shift)
        case "TRN_ZERO":
            zero = graph.constant(0)
            up = graph.choose(graph.at_least(a, zero), zero, graph.constant((1 << shift) - 1))
            return graph.shift(graph.sum(a, up), shift)
        case _:
            return graph.shift(a, shift)
