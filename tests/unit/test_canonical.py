"""One form for networks that differ in spelling only: the same scores, each rewrite, and no rewrite too many."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import networks

from l1ad.canonical import canonical
from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import random_events
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge


def events(network, n_events=300):
    return np.vstack([corners(network), random_events(np.random.default_rng(5), network, n_events)])


def require_same_scores(network, other, n_events=300):
    x = events(network, n_events)
    np.testing.assert_array_equal(reference.emulate(other, x), reference.emulate(network, x))
    score, kept = other.score.out, network.score.out
    assert (score.width, score.frac, score.signed) == (kept.width, kept.frac, kept.signed)


@st.composite
def respelt(draw, network):
    """A network with exact casts, wide constants and idle modes put in, and other names."""
    names = st.sampled_from(network.operations)
    rounding, overflow = st.sampled_from(ROUNDING), st.sampled_from(OVERFLOW)
    behind = {draw(names).name for _ in range(3)} - {network.score.name}
    known, operations = {}, []
    for number, operation in enumerate(network.operations):
        changed = {key: known[getattr(operation, key)] for key in ("x", "y", "by") if hasattr(operation, key)}
        changed["name"] = known[operation.name] = f"layer{number}"
        for key in ("weight", "bias", "scale"):
            kind = getattr(operation, f"{key}_type", None)
            if kind:
                zeros = draw(st.integers(0, 3))
                changed[key] = getattr(operation, key) << zeros
                changed[f"{key}_type"] = FixedPoint(kind.width + zeros + 1, kind.frac + zeros)
        operations.append(replace(operation, **changed))
        if operation.name in behind:
            kind, up = operation.out, draw(st.integers(0, 3))
            wide = FixedPoint(kind.width + up + 1, kind.frac + up, True, draw(rounding), draw(overflow))
            lookups = [o for o in network.operations if isinstance(o, Lookup) and o.x == operation.name]
            if not lookups:  # a table is of its operand's type
                operations.append(Cast(f"cast{number}", f"layer{number}", wide))
                known[operation.name] = f"cast{number}"
    return Network(tuple(operations))


@given(networks())
def test_scores_stay(network):
    form = canonical(network)
    require_same_scores(network, form)
    assert canonical(form) == form
    assert form.input.name == "trigger"
    assert form.input.columns == network.input.columns
    assert len(form.operations) <= len(network.operations)


@given(networks().flatmap(lambda network: st.tuples(st.just(network), respelt(network))))
def test_spellings_of_a_network_have_one_form(pair):
    network, other = pair
    require_same_scores(network, other, 50)
    assert canonical(other) == canonical(network)


@given(networks(), networks())
def test_other_networks_have_other_forms(one, other):
    if one.input.columns != other.input.columns or (one.input.low != other.input.low).any():
        assert canonical(one) != canonical(other)


PT = Input("pt", ("a", "b"), np.array([-100, -100]), np.array([100, 100]), FixedPoint(8, 0))
TYPES = st.builds(
    FixedPoint,
    st.integers(1, 12),
    st.integers(-3, 6),
    st.booleans(),
    st.sampled_from(ROUNDING),
    st.sampled_from(OVERFLOW),
)


def chain(*kinds):
    """A sum of the two inputs times 0.75 plus an eighth, and casts of it."""
    weight, bias = np.array([[3], [-3]]), np.array([1])
    first = Dense("x0", "pt", weight, FixedPoint(3, 2), bias, FixedPoint(2, 3), None, kinds[0])
    casts = [Cast(f"x{i}", f"x{i - 1}", kind) for i, kind in enumerate(kinds[1:], 1)]
    return Network((PT, first, *casts))


def every_event():
    a, b = np.meshgrid(np.arange(-100, 101), np.arange(-100, 101))
    return np.stack([a.ravel(), b.ravel()], axis=1)


@given(st.lists(TYPES, min_size=2, max_size=4))
def test_any_casts_of_any_sum(kinds):
    """All 40,401 events."""
    network = chain(*kinds)
    form = canonical(network)
    np.testing.assert_array_equal(reference.emulate(form, every_event()), reference.emulate(network, every_event()))
    assert canonical(form) == form


@pytest.mark.parametrize(
    "kinds",
    [
        ("ap_fixed<20,12>", "ap_fixed<6,4,AP_RND,AP_SAT>"),  # loses nothing
        ("ap_ufixed<9,6,AP_TRN,AP_SAT>", "ap_ufixed<5,3,AP_RND_CONV,AP_SAT>"),  # ReLU, then a narrower one
        ("ap_fixed<8,5,AP_TRN,AP_SAT_SYM>", "ap_fixed<5,4,AP_RND,AP_SAT>"),
        ("ap_fixed<8,5>", "ap_fixed<6,3>"),  # an accumulator that wraps
        ("ap_fixed<8,5>", "ap_ufixed<6,4>"),
        ("ap_fixed<8,5>", "ap_fixed<4,3,AP_RND_CONV>"),
        ("ap_fixed<6,5,AP_RND_INF>", "ap_fixed<4,3>"),
        ("ap_fixed<6,5,AP_RND,AP_SAT>", "ap_fixed<8,6,AP_RND>", "ap_fixed<5,4,AP_TRN,AP_SAT>"),
    ],
)
def test_casts_that_are_one(kinds):
    network = chain(*(FixedPoint.parse(kind) for kind in kinds))
    form = canonical(network)
    assert len(form.operations) == 2
    np.testing.assert_array_equal(reference.emulate(form, every_event()), reference.emulate(network, every_event()))


@pytest.mark.parametrize(
    "kinds",
    [
        ("ap_fixed<7,5>", "ap_fixed<6,5,AP_RND>"),  # rounded twice, the second time sees a half
        ("ap_fixed<8,5>", "ap_fixed<5,3,AP_TRN_ZERO>"),  # wrapping changes the sign that rounding looks at
        ("ap_fixed<8,5>", "ap_fixed<6,3,AP_TRN,AP_SAT>"),
        ("ap_fixed<8,5,AP_TRN,AP_SAT>", "ap_fixed<6,4,AP_RND>"),
        ("ap_fixed<8,5,AP_TRN,AP_SAT_ZERO>", "ap_fixed<6,3,AP_TRN,AP_SAT>"),
    ],
)
def test_casts_that_are_two(kinds):
    network = chain(*(FixedPoint.parse(kind) for kind in kinds))
    assert len(canonical(network).operations) == 3


def small(*operations):
    return Network((PT, *operations))


SQUARE = FixedPoint(20, 0)


def affine(scale, scale_frac, out, bias=0):
    ones = np.ones(2, np.int64)
    return Affine("scaled", "pt", scale * ones, FixedPoint(9, scale_frac), bias * ones, FixedPoint(4, 0), out)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            small(affine(1, 0, FixedPoint(8, 0)), Dot("score", "scaled", "scaled", None, SQUARE)),
            small(Dot("s", "pt", "pt", FixedPoint(30, 2), SQUARE)),
        ),
        (
            small(affine(4, 3, FixedPoint(9, 1)), Dot("score", "scaled", "scaled", None, SQUARE)),
            Network((replace(PT, name="q", out=FixedPoint(9, 1)), Dot("s", "q", "q", None, SQUARE))),
        ),
        (
            small(affine(2, 1, FixedPoint(6, -1, True, "RND")), Dot("score", "scaled", "scaled", None, SQUARE)),
            small(Cast("half", "pt", FixedPoint(6, -1, True, "RND")), Dot("s", "half", "half", None, SQUARE)),
        ),
        (
            small(
                Cast("wide", "pt", FixedPoint(12, 2)),
                Mask("seen", "wide", "wide", np.array([1, 0]), FixedPoint(12, 2)),
                Dot("score", "seen", "wide", None, SQUARE),
            ),
            small(
                Mask("seen", "pt", "pt", np.array([1, 0]), FixedPoint(8, 0, True, "RND", "SAT")),
                Cast("unused", "pt", FixedPoint(9, 0)),
                Dot("score", "seen", "unused", None, SQUARE),
            ),
        ),
        (
            small(
                Merge("sum", "add", "pt", "pt", FixedPoint(9, 0)),
                Merge("far", "subtract", "pt", "pt", FixedPoint(12, 2)),
                Dot("score", "far", "sum", None, SQUARE),
            ),
            small(
                Merge("far", "subtract", "pt", "pt", FixedPoint(9, 0)),
                Merge("sum", "add", "pt", "pt", FixedPoint(9, 0, True, "RND", "SAT")),
                Dot("score", "far", "sum", None, SQUARE),
            ),
        ),
    ],
)
def test_one_form(one, other):
    assert one != other
    assert canonical(one) == canonical(other)
    require_same_scores(one, canonical(one))


def test_a_table_of_another_type_of_address():
    half, whole = FixedPoint(5, -3, True, "TRN_ZERO", "SAT_SYM"), FixedPoint(9, 0)
    table = np.arange(-15, 16) ** 2 // 4
    entries = FixedPoint(7, 3)
    one = small(
        Cast("address", "pt", half),
        Lookup("table", "address", table, entries),
        Dot("score", "table", "table", None, SQUARE),
    )
    other = small(
        Cast("far", "pt", half),
        Cast("address", "far", whole),
        Lookup("table", "address", _fine(table), entries),
        Cast("read", "table", FixedPoint(9, 4, True, "RND", "SAT")),
        Dot("score", "read", "read", None, SQUARE),
    )
    assert canonical(one) == canonical(other)
    require_same_scores(one, other)
    require_same_scores(one, canonical(one))


def _fine(table):
    """For addresses of 9 bits, -256 to 255, of which only multiples of 8 are read."""
    raw = np.arange(-256, 256)
    return np.where((raw % 8 == 0) & (abs(raw) <= 120), table[np.clip(raw // 8, -15, 15) + 15], 1)


def test_windows_and_products():
    """Products as wide as they need to be are none; a bias is what their type makes of it."""
    image = replace(PT, columns=tuple("abcd"), low=np.full(4, -9), high=np.full(4, 9), out=FixedPoint(5, 0))
    weight, out = np.array([1, -2]).reshape(1, 2, 1, 1), FixedPoint(12, 1)

    def network(product, bias, bias_type):
        kinds = weight, FixedPoint(3, 1), np.array([bias]), bias_type
        filters = Convolution("filters", "pt", (1, 4, 1), *kinds, (1, 1), (0, 0, 1, 0), product, out)
        return Network((image, filters, Dot("score", "filters", "filters", None, FixedPoint(24, 2))))

    exact = network(None, 3, FixedPoint(4, 1))
    assert canonical(network(FixedPoint(6, 1, True, "RND", "SAT"), 7, FixedPoint(5, 2))) != canonical(exact)
    assert canonical(network(FixedPoint(6, 1), 7, FixedPoint(5, 2))) == canonical(exact)
    assert canonical(network(FixedPoint(5, 1), 7, FixedPoint(5, 2))) != canonical(exact)
    out = FixedPoint(5, 1)  # now products wrap where the sum does
    assert canonical(network(FixedPoint(5, 1), 7, FixedPoint(5, 2))) == canonical(network(None, 3, FixedPoint(4, 1)))
