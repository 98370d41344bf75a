"""Where a graph is cut into clocks."""

from __future__ import annotations

from dataclasses import dataclass

from l1ad.hardware.rtl.graph import (
    Accumulate,
    AtLeast,
    Choose,
    Column,
    Digits,
    Even,
    Graph,
    Saturate,
    Sum,
    Table,
    operands,
)

REGISTER_NS = 0.45
"""Of a period, what a register and the skew of the clock take."""
LUT_NS = 0.45
"""A look-up table and the wire to it."""
BIT_NS = 0.015
"""A bit of a carry chain."""


@dataclass(frozen=True)
class Pipeline:
    """Which clock each node is computed in.

    Parameters
    ----------
    stage : dict of int to int
        Registers between the inputs and the inputs of the logic of each node that is needed; 0 for the columns.  Of
        what takes several clocks, the first of them; `Digits` and `Accumulate` are registers: where those begin to
        hold what they are.
    latency_cycles : int
        Registers from the inputs to the outputs, both included.
    """

    stage: dict[int, int]
    latency_cycles: int


def overlap(graph: Graph, node: Sum, number: int) -> int:
    """Bits of the adder of a sum; 0 if one operand lies wholly below the other, and nothing is to be added."""
    if node.minus:
        return graph.width(number) - (node.up_b if node.up_a == 0 else 0)
    if not graph.signed(node.a) and graph.width(node.a) <= node.up_b:
        return 0
    return graph.width(number) - node.up_b


def look_up_tables(graph: Graph, number: int) -> int:
    """Of a node of a weighted sum, roughly: Yosys makes a tenth less of trained encoders than their sum."""
    match graph.nodes[number]:
        case Sum() as node:
            return overlap(graph, node, number)
        case Digits(_, _, bits, count):
            return bits * count
        case Accumulate():
            return graph.width(number)
        case _:
            return 0


def registers(node: Digits | Accumulate) -> int:
    """Clocks from what such a node reads to what it holds."""
    return 1 if isinstance(node, Digits) else node.count


def delay_ns(graph: Graph, number: int) -> float:
    """Time that a node takes in UltraScale+ fabric, a round figure: two levels of adders fit in 2.8 ns.

    Source: post-route reports of designs with so many levels to a clock (github calad0i/JEDI-linear) reach 348 to
    386 MHz.
    """
    node = graph.nodes[number]
    match node:
        case Sum():
            bits = overlap(graph, node, number)
            return 2 * LUT_NS + bits * BIT_NS if bits else 0.0
        case AtLeast(a, b):
            return 2 * LUT_NS + max(graph.width(a), graph.width(b)) * BIT_NS
        case Saturate(a, _, _):
            return LUT_NS * (1 + (graph.width(a) - graph.width(number) > 4))
        case Even(_, _, bits):  # its last gate is one with what follows
            return LUT_NS * (1 + (bits > 6))
        case Choose(where, _, _):
            return LUT_NS * (1 + (graph.width(where) > 4))
        case Table(a, _, _):
            return LUT_NS * (1 + max(graph.width(a) - 6, 0) / 2)
        case Digits():
            return LUT_NS
        case Accumulate():
            return 2 * LUT_NS + graph.width(number) * BIT_NS
        case _:
            return 0.0


def cut(graph: Graph, last: int, clock_ns: float) -> Pipeline:
    """Each node in the first clock in which it is ready in time.

    Raises
    ------
    ValueError
        If one node alone takes longer than a period.
    """
    room = clock_ns - REGISTER_NS
    stage: dict[int, int] = {}
    ready: dict[int, float] = {}
    for number in graph.needed(last):
        node, took = graph.nodes[number], delay_ns(graph, number)
        if took > room:
            raise ValueError(
                f"clock_ns must be at least {took + REGISTER_NS:.2f} for {graph.names[number]}, not {clock_ns:g}; "
                "take a slower clock"
            )
        read = [operand for operand in operands(node) if graph.value(operand) is None]
        if isinstance(node, Column) or not read:
            stage[number], ready[number] = 0, room if isinstance(node, Column) else 0.0
            continue
        first = max(stage[operand] for operand in read)
        start = max(ready[operand] for operand in read if stage[operand] == first)
        late = start + took > room or first == 0
        stage[number], ready[number] = (first + 1, took) if late else (first, start + took)
        if isinstance(node, Digits | Accumulate):
            stage[number], ready[number] = stage[number] + registers(node), 0.0
    compares = 2 * LUT_NS + graph.width(last) * BIT_NS
    if ready[last] + compares > room or stage[last] == 0:
        return Pipeline(stage, stage[last] + 2)
    return Pipeline(stage, stage[last] + 1)
