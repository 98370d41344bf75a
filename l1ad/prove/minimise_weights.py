"""Weights that never change a result: they become 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast as typed

import numpy as np
import numpy.typing as npt

from l1ad.fixed import Raw, cast
from l1ad.network import Network
from l1ad.operations import Cast, Dense, Operation, reads
from l1ad.prove.bounds import bounds
from l1ad.prove.casts import terms
from l1ad.prove.minimise_elements import Bounds, Draft, Step, listed
from l1ad.prove.minimise_neurons import Pair

MAX_TRIALS = 8
"""Most weights of a neuron that are tried one by one."""
MAX_NUMBERS = 1 << 21
"""Most products that are looked at before."""


def dead_weights(draft: Draft, known: Bounds, seen: Mapping[str, Raw], rng: np.random.Generator) -> Draft:
    """Weights of dense layers that change no result, looked at behind the casts that alone read the layer.

    Sums are tried on some inputs first; what changes none of them is proved, the suspects of a neuron at once if
    possible.

    Parameters
    ----------
    draft : Draft
    known : mapping of str to Bound
    seen : mapping of str to int64 array, shape (n_events, size)
        Results of some events, by operation.
    rng : numpy.random.Generator
    """
    for name in [o.name for o in draft.network.operations if isinstance(o, Dense)]:
        suspects = _suspects(draft.network, name, known, seen, rng)
        for neuron in np.flatnonzero(suspects.any(axis=0)):
            rows = np.flatnonzero(suspects[:, neuron])
            singly = [rows[k : k + 1] for k in range(len(rows) if 1 < len(rows) <= MAX_TRIALS else 0)]
            for trial in [rows, *singly]:
                smaller = _without(draft, known, name, trial, int(neuron))
                if smaller is not draft:
                    draft, known = smaller, bounds(smaller.network)
                    if trial is rows:
                        break
    return draft


def _casts_after(network: Network, name: str) -> list[Operation]:
    """An operation and the casts that follow it, each the only reader."""
    chain = [network[name]]
    while True:
        readers = [o for o in network.operations if chain[-1].name in reads(o)]
        if len(readers) != 1 or not isinstance(readers[0], Cast):
            return chain
        chain += readers


def _suspects(
    network: Network, name: str, known: Bounds, seen: Mapping[str, Raw], rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Weights that change nothing in some inputs, shape (n_in, n_out)."""
    operation = typed(Dense, network[name])
    after = known[operation.x].after
    low, high = after.low.astype(np.int64), after.high.astype(np.int64)
    shape = (max(1, min(len(seen[operation.x]), MAX_NUMBERS // operation.weight.size)), len(low))
    uniform, ends = rng.integers(low, high, shape, endpoint=True), np.where(rng.random(shape) < 0.5, low, high)
    values = [seen[operation.x][: shape[0]], uniform, ends]
    every, frac = terms(operation, network, {operation.x: np.concatenate(values)})
    if operation.product is not None:
        every, frac = cast(every, frac, operation.product), operation.product.frac
    weight = operation.weight
    parts, bias = every[:, : weight.size].reshape(-1, *weight.shape), every[:, weight.size :]
    chain = _casts_after(network, name)

    def result(exact: Raw) -> Raw:
        shown, bits = exact, frac
        for link in chain:
            shown, bits = cast(shown, bits, link.out), link.out.frac
        return shown

    total = parts.sum(axis=1) + bias
    expected = result(total)
    dead = [(result(total - parts[:, i]) == expected).all(axis=0) for i in range(len(weight))]
    suspects: npt.NDArray[np.bool_] = np.array(dead) & (weight != 0)
    return suspects


def _without(draft: Draft, known: Bounds, name: str, rows: Raw, neuron: int) -> Draft:
    """`draft` without some weights of a neuron, if that is proved to change nothing."""
    network, operation = draft.network, typed(Dense, draft.network[name])
    weight = operation.weight.copy()
    weight[rows, neuron] = 0
    *hidden, shown = [o.name for o in _casts_after(network, name)]
    operations = [replace(operation, weight=weight) if o.name == name else o for o in network.operations]
    smaller = Network(tuple(operations))
    numbers = {o.name: np.arange(network.flows[o.name].size) for o in network.operations}
    pair = Pair(network, known, smaller, bounds(smaller), numbers, frozenset(hidden))
    argument = pair.same(shown, neuron)
    if argument is None:
        return draft
    which, number = listed("element", draft.kept[operation.x][rows]), int(draft.kept[name][neuron])
    step = Step(name, f"what neuron {number} makes of {which}", argument)
    return draft.then(operations, [step], altered=hidden)
