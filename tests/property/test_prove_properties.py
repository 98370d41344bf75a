import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks

from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import KINDS, random_events, random_network
from l1ad.network import Network
from l1ad.operations import MERGES, Affine, Cast, Dense, Dot, Input, Mask, Merge
from l1ad.prove.bounds import bounds
from l1ad.prove.casts import rounded, sites
from l1ad.prove.certificate import check, prove

seeds = st.integers(0, 2**32 - 1)


def require_inside(network, x, low=None, high=None):
    known, values = bounds(network, low, high), reference.trace(network, x)
    for name, raw in values.items():
        after, flow = known[name].after, network.flows[name]
        assert (raw >= after.low).all(), name
        assert (raw <= after.high).all(), name
        assert (after.low >= flow.low).all(), f"{name} is no tighter than the flow"
        assert (after.high <= flow.high).all(), f"{name} is no tighter than the flow"
    for site in sites(network):
        bound = known[site.operation.name]
        reach = bound.terms if site.cast == "product" else bound.before
        exact, frac = site.before(network, values)
        assert frac == reach.frac
        assert (exact >= reach.low).all(), site
        assert (exact <= reach.high).all(), site


@settings(max_examples=200)
@given(networks(bits=20), seeds)
def test_every_value_lies_inside_its_bounds(network, seed):
    require_inside(network, np.vstack([corners(network), random_events(np.random.default_rng(seed), network, 100)]))


@pytest.mark.parametrize("overflow", OVERFLOW)
@pytest.mark.parametrize("rounding", ROUNDING)
def test_every_value_lies_inside_its_bounds_in_every_mode(rounding, overflow, rng):
    for kind in KINDS:
        network = random_network(rng, rounding, overflow, kind, bits=16)
        require_inside(network, np.vstack([corners(network), random_events(rng, network, 300)]))


@settings(max_examples=60)
@given(networks(), seeds)
def test_bounds_over_narrower_ranges_hold_there(network, seed):
    x = random_events(np.random.default_rng(seed), network, 20)
    require_inside(network, x, x.min(axis=0), x.max(axis=0))


@st.composite
def tiny_networks(draw):
    """Networks of at most 3 columns and 9 values each: all their inputs can be tried."""
    rng = np.random.default_rng(draw(seeds))
    modes = [draw(st.lists(st.sampled_from(names), min_size=7, max_size=7)) for names in (ROUNDING, OVERFLOW)]

    def kind(low, high, i):
        out = FixedPoint(int(rng.integers(low, high)), int(rng.integers(0, 3)), bool(rng.random() < 0.6))
        return FixedPoint(out.width, out.frac, out.signed, modes[0][i], modes[1][i])

    def dense(name, x, n, m, i):
        weight, bias = rng.integers(-8, 8, (n, m)), rng.integers(-16, 16, m)
        product = kind(3, 7, 6) if rng.random() < 0.3 else None
        return Dense(name, x, weight, FixedPoint(4, 2), bias, FixedPoint(5, 3), product, kind(3, 8, i))

    n = int(rng.integers(1, 4))
    low = rng.integers(-8, 4, n)
    trigger = Input("trigger", tuple("abc"[:n]), low, low + rng.integers(0, 9, n), FixedPoint(5, 1))
    scale, bias = rng.integers(-4, 4, n), rng.integers(-8, 8, n)
    return Network((
        trigger,
        Affine("scaled", "trigger", scale, FixedPoint(3, 1), bias, FixedPoint(4, 2), kind(2, 6, 0)),
        dense("hidden", "scaled", n, 3, 1),
        dense("code", "hidden", 3, n, 2),
        Merge("difference", str(rng.choice(MERGES)), "scaled", "code", kind(3, 8, 3)),
        Mask("present", "difference", "trigger", rng.integers(0, n, n), kind(3, 8, 4)),
        Dot("dot", "present", "difference" if rng.random() < 0.5 else "present", None, kind(4, 10, 5)),
        Cast("score", "dot", kind(4, 10, 6)),
    ))  # fmt: skip


def everything(network):
    grid = [np.arange(low, high + 1) for low, high in zip(network.input.low, network.input.high, strict=True)]
    return np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, len(grid))


@settings(max_examples=200)
@given(tiny_networks())
def test_verdicts_agree_with_all_inputs(network):
    x = everything(network)
    require_inside(network, x)
    values, known = reference.trace(network, x), bounds(network)
    (claims,) = prove(network, tries=2).claims
    for site, statement in zip(sites(network), claims.statements, strict=True):
        bound, to = known[site.operation.name], site.type
        exact, frac = site.before(network, values)
        if bound.attained:
            reach = bound.terms if site.cast == "product" else bound.before
            np.testing.assert_array_equal(reach.low, exact.min(axis=0), err_msg=str(site))
            np.testing.assert_array_equal(reach.high, exact.max(axis=0), err_msg=str(site))
        rounding = rounded(exact, frac, to)
        over = rounding > to.max_raw
        if to.signed or to.overflow == "WRAP":
            over |= rounding < to.min_raw
        truth = int(over.any(axis=0).sum())
        assert statement.overflowing <= truth <= statement.overflowing + statement.undecided
        assert statement.safe <= len(over.T) - truth
        assert {"cannot overflow": truth == 0, "undecided": True}.get(statement.verdict, truth > 0)
        assert not bound.attained or not statement.undecided
        assert statement.low <= rounding.min() <= rounding.max() <= statement.high
        shown, _ = site.before(network, reference.trace(network, np.array(statement.witnesses)))
        assert statement.found == int(rounded(shown[0], frac, to)[statement.element])
    scores = values["score"]
    assert claims.score.low <= scores.min() <= claims.score.found <= scores.max() <= claims.score.high


@settings(max_examples=20)
@given(networks())
def test_certificates_check(network):
    assert not check(prove(network, tries=1), network)
