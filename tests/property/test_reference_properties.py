import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks, trace_in_fractions

from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.fixed import OVERFLOW, ROUNDING
from l1ad.fuzz.networks import KINDS, random_events, random_network

seeds = st.integers(0, 2**32 - 1)


def require_equal_to_fractions(network, x):
    found = reference.trace(network, x)
    for event, row in enumerate(x):
        for name, expected in trace_in_fractions(network, row).items():
            np.testing.assert_array_equal(found[name][event], expected, err_msg=f"{name}, event {event}")


@settings(max_examples=60)
@given(networks(), seeds)
def test_reference_equals_a_loop_over_fractions(network, seed):
    require_equal_to_fractions(network, corners(network)[:7])
    require_equal_to_fractions(network, random_events(np.random.default_rng(seed), network, 5))


@pytest.mark.parametrize("overflow", OVERFLOW)
@pytest.mark.parametrize("rounding", ROUNDING)
def test_reference_equals_a_loop_over_fractions_in_every_mode(rounding, overflow, rng):
    for kind in KINDS:
        network = random_network(rng, rounding, overflow, kind, bits=16)
        modes = {(o.out.rounding, o.out.overflow) for o in network.operations[1:] if not o.name.endswith("sum")}
        assert modes == {(rounding, overflow)}
        require_equal_to_fractions(network, random_events(rng, network, 10))


@given(networks(), seeds)
def test_events_do_not_influence_each_other(network, seed):
    x = random_events(np.random.default_rng(seed), network, 8)
    alone = np.concatenate([reference.emulate(network, row[None]) for row in x])
    np.testing.assert_array_equal(reference.emulate(network, x), alone)
