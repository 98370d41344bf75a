from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks, random_events

from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.network import Dense, Network, Rescale, Subtract, SumOfSquares, aligned

seeds = st.integers(0, 2**32 - 1)


def events(network, seed, n=40):
    return np.vstack([corners(network), random_events(np.random.default_rng(seed), network, n)])


def terms(o, network, v):
    """Every exact term of operation `o` as Python integers at its accumulator's binary point: (n_events, ..., n)."""
    v = {name: raw.astype(object) for name, raw in v.items()}
    frac = network.flows[o.name].accumulator.frac
    match o:
        case Rescale():
            return ((v[o.x] - o.offset) * 2 ** (frac - network[o.x].out.frac - o.shift.astype(object)))[..., None]
        case Dense():
            products = v[o.x][:, None, :] * o.weight.T[None] * 2 ** (frac - network[o.x].out.frac - o.weight_type.frac)
            bias = np.broadcast_to(o.bias.astype(object) * 2 ** (frac - o.bias_type.frac), products.shape[:2])
            return np.concatenate([bias[..., None], products], axis=-1)
        case Subtract():
            x, y = (v[name] * 2 ** (frac - network[name].out.frac) for name in (o.x, o.y))
            return (x - y)[..., None]
        case SumOfSquares():
            return (v[o.x] ** 2)[:, None, :]
        case _:
            return v[o.x][..., None]


@settings(max_examples=150)
@given(networks(bits=20), seeds)
def test_every_result_lies_in_its_propagated_range(network, seed):
    for name, raw in reference.trace(network, events(network, seed)).items():
        flow, out = network.flows[name], network[name].out
        assert (raw >= flow.low).all(), name
        assert (raw <= flow.high).all(), name
        assert min(flow.low) >= out.min_raw, name
        assert max(flow.high) <= out.max_raw, name


@settings(max_examples=100)
@given(networks(bits=20), seeds)
def test_accumulators_hold_every_partial_sum_in_any_order(network, seed):
    v = reference.trace(network, events(network, seed, 10))
    rng = np.random.default_rng(seed)
    for o in network.operations[1:]:
        kind, exact = network.flows[o.name].accumulator, terms(o, network, v)
        if isinstance(o, Rescale | Dense | Subtract):
            assert kind.frac == aligned(o, network)
        for order in (np.arange(exact.shape[-1]), np.argsort(exact[0, 0]), rng.permutation(exact.shape[-1])):
            partial = np.cumsum(exact[..., order], axis=-1)
            assert partial.min() >= kind.min_raw, o.name
            assert partial.max() <= kind.max_raw, o.name


@given(networks())
def test_files_round_trip(network):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.json"
        network.save(path)
        again = Network.load(path)
    assert again == network
    assert again.digest == network.digest
    assert str(again.operations) == str(network.operations)
    for flow, other in zip(network.flows.values(), again.flows.values(), strict=True):
        assert (flow.low.tolist(), flow.high.tolist()) == (other.low.tolist(), other.high.tolist())


@given(networks(), networks())
def test_digests_are_equal_only_if_the_operations_are(one, other):
    assert (one.digest == other.digest) == (str(one.operations) == str(other.operations))


@given(networks(), st.data())
def test_digest_changes_with_any_bit_of_any_weight(network, data):
    o = data.draw(st.sampled_from([o for o in network.operations if isinstance(o, Dense)]))
    row, column = (data.draw(st.integers(0, n - 1)) for n in o.weight.shape)
    raw = int(o.weight[row, column])
    bit = data.draw(st.integers(0, o.weight_type.width - o.weight_type.signed - 1))
    weight = np.array(o.weight)
    weight[row, column] = raw ^ (1 << bit)
    changed = Dense(o.name, o.x, weight, o.weight_type, o.bias, o.bias_type, o.out)
    assert Network(tuple(changed if p is o else p for p in network.operations)).digest != network.digest
