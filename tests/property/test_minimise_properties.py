from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks

from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint, cast
from l1ad.fuzz.networks import KINDS, random_events, random_network
from l1ad.network import Network
from l1ad.prove.minimise import minimise
from l1ad.prove.minimise_types import narrowed
from l1ad.prove.ranges import Range

seeds = st.integers(0, 2**32 - 1)


def require_same_scores(network, found, x):
    np.testing.assert_array_equal(reference.emulate(found.network, x), reference.emulate(network, x))
    assert found.network.score.out == network.score.out
    assert found.network.input is network.input


def with_few_inputs(network, width):
    """The same operations over narrow ranges of the columns: every event can be tried."""
    low = np.clip(network.input.low, None, network.input.high - width)
    low = np.maximum(low, network.input.low)
    trigger = replace(network.input, low=low, high=np.minimum(low + width, network.input.high))
    return Network((trigger, *network.operations[1:]))


@settings(max_examples=25)
@given(networks(), seeds)
def test_scores_stay(network, seed):
    found = minimise(network)
    require_same_scores(network, found, corners(network))
    require_same_scores(network, found, random_events(np.random.default_rng(seed), network, 500))


@settings(max_examples=15)
@given(networks())
def test_a_second_time_nothing_is_left_to_drop(network):
    once = minimise(network)
    twice = minimise(once.network)
    assert not twice.steps
    assert twice.network == once.network
    assert twice.before == twice.after == once.after


@settings(max_examples=25)
@given(networks(bits=8), st.integers(0, 2))
def test_scores_stay_for_every_input(network, width):
    columns = len(network.input.columns)
    network = with_few_inputs(network, 1 if columns > 8 else width)
    x = np.array(list(product(*(range(a, b + 1) for a, b in zip(network.input.low, network.input.high, strict=True)))))
    require_same_scores(network, minimise(network), x)


@pytest.mark.parametrize("overflow", OVERFLOW)
@pytest.mark.parametrize("rounding", ROUNDING)
def test_scores_stay_in_every_mode(rounding, overflow, rng):
    kind = KINDS[(ROUNDING.index(rounding) + OVERFLOW.index(overflow)) % len(KINDS)]
    network = random_network(rng, rounding, overflow, kind)
    require_same_scores(network, minimise(network), random_events(rng, network, 200))


modes = st.builds(
    FixedPoint,
    st.integers(1, 7),
    st.integers(-4, 4),
    st.booleans(),
    st.sampled_from(ROUNDING),
    st.sampled_from(OVERFLOW),
)


@settings(max_examples=500)
@given(modes, st.tuples(st.integers(-300, 300), st.integers(-300, 300)), st.integers(-3, 5), st.integers(0, 5))
def test_a_narrower_type_casts_every_number_alike(kind, ends, frac, bits):
    numbers = np.arange(min(ends), max(ends) + 1)
    numbers = numbers[numbers % (1 << bits) == 0]
    if len(numbers):
        reach = Range(*(np.array([end(ends)], object) for end in (min, max)), frac)
        found = narrowed(kind, reach, bits)
        assert found.width <= kind.width
        assert found.frac <= kind.frac
        assert narrowed(found, reach, bits) == found
        expected = cast(numbers, frac, kind)
        np.testing.assert_array_equal(cast(numbers, frac, found) << (kind.frac - found.frac), expected)
