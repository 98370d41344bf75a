from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import networks

from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.fixed import OVERFLOW, ROUNDING, cast
from l1ad.fuzz.networks import KINDS, random_events, random_network
from l1ad.network import Network, aligned
from l1ad.operations import KINDS as operations_by_name
from l1ad.operations import Affine, Convolution, Dense, Dot, Lookup, Merge

seeds = st.integers(0, 2**32 - 1)


def events(network, seed, n=40):
    return np.vstack([corners(network), random_events(np.random.default_rng(seed), network, n)])


def terms(o, network, v):
    """Every term of the sum of `o`, after its own cast, as Python integers at the accumulator's binary point.

    Shape (n_events, ..., n); what is no sum has one term.
    """
    v = {name: raw.astype(object) for name, raw in v.items()}
    frac = aligned(o, network) if isinstance(o, Affine | Dense | Convolution | Merge | Dot) else None

    def up(raw, *fracs):
        return raw.astype(object) * 2 ** (frac - sum(fracs))

    match o:
        case Affine():
            products = up(v[o.x] * o.scale, network[o.x].out.frac, o.scale_type.frac)
            exact = (products + up(o.bias, o.bias_type.frac))[..., None]
        case Dense() | Convolution():
            seen = v[o.x][:, None]
            if isinstance(o, Convolution):
                seen = np.concatenate([v[o.x], np.zeros((len(v[o.x]), 1), object)], axis=1)[:, o.windows()]
            weight = o.weight.reshape(seen.shape[-1], -1).T
            products = up(seen[:, :, None] * weight, network[o.x].out.frac, o.weight_type.frac)
            bias = np.broadcast_to(up(o.bias, o.bias_type.frac), products.shape[:-1])
            exact = np.concatenate([bias[..., None], products], axis=-1)
        case Merge(how="multiply"):
            exact = (v[o.x] * v[o.y])[..., None]
        case Merge():
            x, y = (up(v[name], network[name].out.frac) for name in (o.x, o.y))
            merge = {"add": np.add, "subtract": np.subtract, "maximum": np.maximum, "minimum": np.minimum}[o.how]
            exact = merge(x, y)[..., None]
        case Dot():
            exact = (v[o.x] * v[o.y])[:, None]
        case Lookup():
            exact = v[o.name][..., None]
        case _:
            exact = v[o.x][..., None]
    product = getattr(o, "product", None)
    return exact if product is None else cast(exact.astype(np.int64), frac, product).astype(object)


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
        if isinstance(o, Affine | Dense | Convolution | Merge | Dot):
            assert kind.frac == (o.product.frac if getattr(o, "product", None) else aligned(o, network))
        first = exact.reshape(-1, exact.shape[-1])[0]
        for order in (np.arange(exact.shape[-1]), np.argsort(first), rng.permutation(exact.shape[-1])):
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
    names = {"weight": "weight_type", "scale": "scale_type", "bias": "bias_type", "table": "out"}
    drawn = [(o, name) for o in network.operations for name in names if hasattr(o, name)]
    o, name = data.draw(st.sampled_from(drawn))
    numbers, kind = np.array(getattr(o, name)), getattr(o, names[name])
    element = data.draw(st.integers(0, numbers.size - 1))
    bit = data.draw(st.integers(0, kind.width - 1 - kind.signed if kind.width > 1 else 0))
    numbers.flat[element] ^= 1 << bit
    assume(kind.min_raw <= numbers.flat[element] <= kind.max_raw)
    changed = replace(o, **{name: numbers})
    assert Network(tuple(changed if p is o else p for p in network.operations)).digest != network.digest


def test_random_networks_hold_every_operation(rng):
    many = [random_network(rng, ROUNDING, OVERFLOW, kind) for kind in KINDS for _ in range(20)]
    operations = [o for network in many for o in network.operations]
    assert {type(o) for o in operations} == set(operations_by_name.values())
    for kind in (Dense, Convolution, Dot):
        assert {o.product is None for o in operations if isinstance(o, kind)} == {True, False}
    signed = {network[o.x].out.signed for network in many for o in network.operations if isinstance(o, Lookup)}
    assert signed == {True, False}
