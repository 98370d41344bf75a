"""A network to a `Design`."""

from __future__ import annotations

import numpy as np

from l1ad.compare import random_inputs
from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.rtl.graph import bits
from l1ad.hardware.rtl.lower import lower
from l1ad.hardware.rtl.pipeline import cut
from l1ad.hardware.rtl.verilog import identifiers, write
from l1ad.network import Network

CHECKED = 2_000
"""Events on which the graph must be the reference before it is written."""


def rtl(network: Network, clock_ns: float, top: str = "l1ad_score", *, interval: int = 1) -> Design:
    """A pipelined module of a network.

    Parameters
    ----------
    network : Network
    clock_ns : float
        Period that it is cut for.
    top : str
        Name of the module.
    interval : int
        Clocks from an event to the next.  With more than one, logic of weighted sums is used in each of them for some
        of the bits: it is smaller, and later.

    Raises
    ------
    ValueError
        If the clock is too fast for some node, or the interval less than a clock.
    UnsupportedError
        If an operation has no RTL.
    MismatchError
        If the graph is not the network: a fault of l1ad.
    """
    if interval < 1:
        raise ValueError(f"interval must be at least a clock, not {interval}; 1 takes an event at each")
    graph, last = lower(network, interval)
    x = random_inputs(network, CHECKED)
    made, expected = graph.evaluate(x, last), reference.emulate(network, x)
    if (made != expected).any():
        event = int(np.argmax(made != expected))
        raise MismatchError(f"RTL of {network.digest[:12]}: event {event} scores {made[event]}, not {expected[event]}")
    pipeline = cut(graph, last, clock_ns)
    columns = identifiers(list(network.input.columns))
    ends = zip(network.input.low.tolist(), network.input.high.tolist(), strict=True)
    inputs = [Port(name, bits(low, high), low < 0) for name, (low, high) in zip(columns, ends, strict=True)]
    kind = network.score.out
    score = Port("score", kind.width, kind.signed)
    title = f"Network {network.digest}: {pipeline.latency_cycles} clocks of {clock_ns:g} ns, one event in {interval}"
    text = write(graph, pipeline, last, inputs, score, top, title)
    return Design(
        top, network.digest, tuple(inputs), score, clock_ns, pipeline.latency_cycles, interval, {f"{top}.v": text}
    )
