"""The native emulator is believed only once it equals the reference, and its histograms are those of the definition."""

import re
from itertools import permutations

import numpy as np
import pytest
from native_networks import wide_input

from l1ad import emulate as package
from l1ad.compare import corners, random_inputs
from l1ad.emulate import Histogram, checked, emulate, emulator, native_emulator, reference
from l1ad.emulate.histogram import MAX_BINS, MAX_SUM, TABLES
from l1ad.emulate.native import Native, available, library
from l1ad.errors import MismatchError, ToolNotFoundError, UnsupportedError
from l1ad.fixed import FixedPoint
from l1ad.fuzz.networks import random_network
from l1ad.network import Network
from l1ad.operations import Affine, Dense, Mask


@pytest.fixture
def network(rng):
    return random_network(rng, "RND", "SAT", "latent")


@pytest.fixture
def stamps(tmp_path, monkeypatch, require):
    """No network was ever checked; the kernels that are compiled stay where they are."""
    require("compiler")
    monkeypatch.setattr(checked, "_stamp", lambda native: tmp_path / "stamps" / f"{native.network.digest}-{native.isa}")
    checked._native.cache_clear()
    yield tmp_path / "stamps"
    checked._native.cache_clear()


@pytest.fixture
def seen(monkeypatch):
    """Numbers of events that the native emulator was given, in turn."""
    numbers, scores = [], Native.scores

    def counted(native, x, *more):
        numbers.append(len(x))
        return scores(native, x, *more)

    monkeypatch.setattr(Native, "scores", counted)
    return numbers


def n_checked(network):
    return len(corners(network)) + checked.CHECKED


# the check


def test_a_network_is_checked_once(network, stamps, seen):
    x = random_inputs(network, 5000)
    expected = reference.emulate(network, x).tolist()
    assert emulate(network, x).tolist() == expected
    assert seen == [n_checked(network), checked.CHECKED, len(x)]
    assert [path.read_text() for path in stamps.iterdir()] == [network.digest]
    assert emulate(network, x).tolist() == expected
    assert seen[3:] == [len(x)]
    checked._native.cache_clear()  # as another process would
    assert emulate(network, x[:3]).tolist() == expected[:3]
    assert seen[4:] == [3]


def test_each_network_is_checked(network, stamps, seen):
    other = random_network(np.random.default_rng(1), "TRN", "WRAP", "mixed")
    for each in (network, other, network):
        assert native_emulator(each).network == each
    assert seen == [n_checked(network), n_checked(other)]
    assert len(list(stamps.iterdir())) == 2


def test_another_kernel_is_checked_again(network, require, monkeypatch):
    require("compiler")
    native = Native(network)
    stamp = checked._stamp(native)
    assert stamp == checked._stamp(Native(network))
    for what, value in (("code_digest", "other"), ("_processor", "other")):
        with monkeypatch.context() as other:
            other.setattr(checked, what, lambda value=value: value)
            assert checked._stamp(native) != stamp
    for isa in available()[1:]:
        assert checked._stamp(Native(network, isa)) != stamp
    assert checked._stamp(Native(random_network(np.random.default_rng(1), "TRN", "WRAP", "mixed"))) != stamp


def off_by_one(monkeypatch, wrong):
    """A kernel that is wrong for one event."""
    scores = Native.scores

    def broken(native, x, threads=1):
        found = scores(native, x, threads)
        return found + wrong(np.asarray(x))

    monkeypatch.setattr(Native, "scores", broken)


def test_a_kernel_that_is_wrong_for_one_event_of_the_check_is_refused(network, stamps, monkeypatch):
    off_by_one(monkeypatch, lambda x: np.arange(len(x)) == 1234)
    score = reference.emulate(network, random_inputs(network, checked.CHECKED)[1234:1235])[0]
    text = (
        f"reference = native emulator ({available()[0]}): 1 mismatches in {n_checked(network)} events; first at event "
        f"1234, operation 'score', element 0: raw {score} against {score + 1} in {network.score.out}; "
        "the native emulator is wrong on this processor: report this"
    )
    for go_on in (lambda: native_emulator(network), lambda: emulate(network, corners(network))):
        with pytest.raises(MismatchError, match=re.escape(text)):
            go_on()
    assert not stamps.exists()


def test_a_kernel_that_is_wrong_for_given_events_only_is_refused(network, stamps, monkeypatch):
    x = random_inputs(network, 3000)
    off_by_one(monkeypatch, lambda given: (np.arange(len(given)) == 7) * (len(given) == checked.CHECKED))
    with pytest.raises(MismatchError, match=rf"1 mismatches in {checked.CHECKED} events; first at event 7, "):
        emulate(network, x)
    assert not stamps.exists()
    assert native_emulator(network).network == network  # without them, it has nothing to say


def test_the_reference_emulates_where_there_is_no_compiler(network, stamps, seen, monkeypatch):
    def nothing():
        raise ToolNotFoundError("C++ compiler: none found")

    for module in (library, checked):
        monkeypatch.setattr(module, "available", nothing, raising=False)
    monkeypatch.setattr("l1ad.emulate.native.emulator.available", nothing)
    x = random_inputs(network, 100)
    assert native_emulator(network) is None
    assert emulate(network, x).tolist() == reference.emulate(network, x).tolist()
    assert emulate(network, x, threads=3).tolist() == reference.emulate(network, x).tolist()
    assert emulator(network) == "reference (NumPy)"
    assert seen == []
    assert not stamps.exists()
    with pytest.raises(ToolNotFoundError, match="none found"):
        Native(network)


@pytest.mark.usefixtures("stamps")
def test_the_reference_emulates_what_needs_more_than_64_bits():
    """A factor of 65 bits, of a number that is always 0."""
    trigger = wide_input(1, 0, 0, FixedPoint(4, 30))
    scale = np.array([2**61]), FixedPoint(63, -30)
    bias = np.array([1]), FixedPoint(2, 5)
    present = Mask("present", "trigger", "trigger", np.array([0]), trigger.out)
    network = Network((trigger, present, Affine("score", "present", *scale, *bias, FixedPoint(9, 0))))
    with pytest.raises(UnsupportedError, match=r"native emulation has 64 bits, not the 6\d that a step needs"):
        Native(network)
    assert native_emulator(network) is None
    assert emulator(network) == "reference (NumPy)"
    assert emulate(network, [[0], [0]]).tolist() == reference.emulate(network, [[0], [0]]).tolist()


@pytest.mark.usefixtures("stamps")
def test_a_compiler_that_fails_is_no_reason_to_go_on(network, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("l1ad.compiler.FLAGS", ("-no-such-flag",))
    library.available.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"library sets: C\+\+ compilation failed: .*no-such-flag"):
            emulate(network, corners(network))
        assert not [path for path in tmp_path.rglob("*") if path.suffix in (".so", ".part")]
    finally:
        library.available.cache_clear()


def test_the_emulator_is_named(network, stamps):
    assert emulator(network) == f"native ({available()[0]})"
    assert not stamps.exists()  # a name needs no check


@pytest.mark.usefixtures("stamps")
def test_emulate_refuses_what_the_reference_refuses(network):
    x = corners(network)
    for bad, error, text in (
        (x.astype(float), TypeError, "network input must be hardware integers, not dtype float64"),
        (x[:, 1:], ValueError, r"network input must have shape \(n_events, "),
        (
            np.where(np.arange(len(x))[:, None] == 2, 2**14, x),
            ValueError,
            "event 2, column 'column0' is 16384, outside",
        ),
    ):
        for go_on in (emulate, reference.emulate):
            with pytest.raises(error, match=text):
                go_on(network, bad)
    assert emulate(network, x[:0]).tolist() == []
    assert emulate(network, x.tolist()).tolist() == reference.emulate(network, x).tolist()


def test_the_package_says_what_it_offers():
    assert set(package.__all__) == {"Histogram", "emulate", "emulator", "native_emulator"}


# histograms


def defined(network, x, n_categories, category, units):
    """Counts, Σw, Σw² and Σw³ by category and bin, event by event in Python's integers."""
    flow = network.flows[network.score.name]
    low, bins = int(flow.low[0]), int(flow.high[0]) - int(flow.low[0]) + 1
    found = [[[0] * bins for _ in range(n_categories)] for _ in range(4)]
    for score, c, w in zip(reference.emulate(network, x).tolist(), category, units, strict=True):
        for table, term in zip(found, (1, w, w**2, w**3), strict=True):
            table[c][score - low] += term
    return found


def whole(table):
    """Squares or cubes as Python's integers, by category and bin."""
    return [[sum(limb << 64 * i for i, limb in enumerate(limbs)) for limbs in category] for category in table.tolist()]


@pytest.fixture
def native(network, require):
    require("compiler")
    return Native(network)


@pytest.fixture
def filled(network, rng):
    """Events, categories, and weights in units, some of which are huge."""
    x = random_inputs(network, 40_000)
    category = rng.integers(0, 3, len(x))
    units = np.where(rng.random(len(x)) < 0.001, 2**40, rng.integers(0, 1000, len(x)))
    return x, category, units


def test_filling_is_the_definition(network, filled, native):
    x, category, units = filled
    counts, sums, second, third = defined(network, x, 3, category.tolist(), units.tolist())
    scores = reference.emulate(network, x)
    for threads in (0, 1, 2, 5):  # 0: by the definition itself
        histogram = Histogram.of(network, 3, 0.25)
        if threads:
            assert native.fill(histogram, x, category, units * 0.25, threads) is histogram
        else:
            assert histogram.fill(scores, category, units * 0.25) is histogram
        assert histogram.counts.tolist() == counts
        assert histogram.sums.tolist() == sums
        assert whole(histogram.squares) == second
        assert whole(histogram.cubes) == third
        assert max(map(max, second)) > 2**64
        assert max(map(max, third)) > 2**64
        assert (histogram.events, histogram.total) == (len(x), int(units.sum()))


@pytest.mark.parametrize("isa", library.SETS)
def test_categories_and_weights_may_be_left_out(network, filled, isa, require):
    require("compiler")
    if isa not in available():
        pytest.skip(f"this processor lacks the instruction set {isa}: its histograms are not tested here")
    native, (x, category, units) = Native(network, isa), filled
    counts, sums, second, third = defined(network, x, 3, category.tolist(), units.tolist())
    alone = native.fill(Histogram.of(network), x)
    assert alone.counts.tolist() == [np.sum(counts, axis=0).tolist()]
    assert alone.sums.shape == (0, 0)
    assert (alone.events, alone.total) == (len(x), len(x))
    assert native.fill(Histogram.of(network, 3), x, category, threads=2).counts.tolist() == counts
    weighed = native.fill(Histogram.of(network, 1, 1.0), x.astype(np.int16), None, units)
    assert weighed.sums.tolist() == [np.sum(sums, axis=0).tolist()]
    assert whole(weighed.squares) == [np.sum(np.array(second, object), axis=0).tolist()]
    assert whole(weighed.cubes) == [np.sum(np.array(third, object), axis=0).tolist()]


def test_filling_in_pieces_and_adding_gives_the_same(network, filled, native):
    x, category, units = filled
    whole = native.fill(Histogram.of(network, 3, 0.25), x, category, units * 0.25)
    cuts = (slice(0, 1), slice(1, 20_000), slice(20_000, None))
    for order in permutations(cuts):
        once, merged = Histogram.of(network, 3, 0.25), Histogram.of(network, 3, 0.25)
        for cut in order:
            native.fill(once, x[cut], category[cut], units[cut] * 0.25)
            part = native.fill(whole.empty(), x[cut], category[cut], units[cut] * 0.25)
            assert merged.add(part) is merged
        for found in (once, merged):
            assert same(found, whole)


def same(one, other):
    return one.total == other.total and all(np.array_equal(getattr(one, t), getattr(other, t)) for t in TABLES)


@pytest.mark.parametrize(("table", "limbs"), [("squares", 2), ("cubes", 3)])
def test_adding_is_associative_and_commutative_and_carries(network, table, limbs):
    """Σw² and Σw³ beyond 64 bits, each limb but the highest at every edge."""
    edges = [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
    flow = network.flows[network.score.name]
    bins = int(flow.high[0] - flow.low[0]) + 1

    def made(*numbers):
        histogram = Histogram.of(network, 1, 1.0)
        for i, number in enumerate(numbers):
            getattr(histogram, table)[0, i] = [number >> 64 * limb & (2**64 - 1) for limb in range(limbs)]
        return histogram

    def total(*histograms):
        sum = Histogram.of(network, 1, 1.0)
        for histogram in histograms:
            sum.add(histogram)
        return whole(getattr(sum, table))[0]

    for a in edges:
        for b in edges:
            top = 64 * (limbs - 1)
            middle = sum((2**64 - 1) << 64 * limb for limb in range(1, limbs - 1))  # carries go through it
            numbers = [a + middle + (7 << top), b + middle, a]
            others = [b, a + (2**60 << top), a + middle]
            third = [2**64 - 1, 1, b + (5 << top)]
            expected = [sum(n) for n in zip(numbers, others, third, strict=True)] + [0] * (bins - 3)
            one, two, three = made(*numbers), made(*others), made(*third)
            for order in permutations((one, two, three)):
                assert total(*order) == expected
            assert whole(getattr(made(*numbers).add(made(*others).add(three)), table))[0] == expected


def test_one_event_of_the_largest_weight(network, native):
    x = corners(network)[:1]
    for fill in (lambda h, w: native.fill(h, x, None, w), lambda h, w: h.fill(reference.emulate(network, x), None, w)):
        histogram = fill(Histogram.of(network, 1, 0.5), [2.0**60])
        found = (histogram.sums.tolist(), whole(histogram.squares), whole(histogram.cubes))
        assert tuple(max(sums[0]) for sums in found) == (2**61, 2**122, 2**183)
        with pytest.raises(
            ValueError, match=r"weights must sum to less than 2\*\*62 units of 0.5; choose a larger unit"
        ):
            fill(histogram, [2.0**60])
        assert fill(histogram, [2.0**59]).total == 2**61 + 2**60
        for weight in (2.0**61, 1e300):
            with pytest.raises(ValueError, match="weights must sum to less than"):
                fill(Histogram.of(network, 1, 0.5), [weight])
    other = Histogram.of(network, 1, 0.5)
    other.total = MAX_SUM - histogram.total
    with pytest.raises(ValueError, match="weights must sum to less than"):
        histogram.add(other)


def test_weights_are_rounded_to_whole_units(network, native):
    x = np.repeat(corners(network)[:1], 6, axis=0)
    weight = [0.24, 0.25, 0.26, 0.75, 1.0, 0.0]
    for histogram in (
        native.fill(Histogram.of(network, 1, 0.5), x, None, weight),
        Histogram.of(network, 1, 0.5).fill(reference.emulate(network, x), None, weight),
    ):
        assert int(histogram.sums.sum()) == histogram.total == 0 + 0 + 1 + 2 + 2 + 0  # ties to even


def test_scores_of_many_codes_share_bins(require):
    """Bins of 2**shift codes, as many as there may be."""
    require("compiler")
    trigger = wide_input(1, -(2**25), 2**25, FixedPoint(27, 0))
    network = Network(
        (
            trigger,
            Dense(
                "score",
                "trigger",
                np.array([[1]]),
                FixedPoint(2, 0),
                np.array([0]),
                FixedPoint(1, 0),
                None,
                FixedPoint(28, 0),
            ),
        )
    )
    x = np.array([[-(2**25)], [-(2**25) + 7], [-(2**25) + 8], [0], [2**25 - 1], [2**25]])
    histogram = Native(network).fill(Histogram.of(network), x)
    assert (histogram.shift, histogram.counts.shape) == (3, (1, 2**23 + 1))
    assert histogram.counts.size <= MAX_BINS
    assert np.flatnonzero(histogram.counts[0]).tolist() == [0, 1, 2**22, 2**23 - 1, 2**23]
    assert histogram.counts[0][0] == 2
    assert same(histogram, Histogram.of(network).fill(reference.emulate(network, x)))


def test_what_cannot_be_filled_is_refused(network, native):
    x = corners(network)[:4]
    scores = reference.emulate(network, x)
    both = (lambda h, *given: native.fill(h, x, *given), lambda h, *given: h.fill(scores, *given))
    for fill in both:
        for category, error, text in (
            ([0, 1, 2, 3], ValueError, r"category must be between 0 and 2, not 0 \.\. 3"),
            ([0, 1, 2, -1], ValueError, r"category must be between 0 and 2, not -1 \.\. 2"),
            ([0, 1, 2], TypeError, r"category must be 4 integers, not int64 \(3,\)"),
            ([0, 1, 2, 0.5], TypeError, r"category must be 4 integers, not float64 \(4,\)"),
            (np.array([0, 1, 2, 2**63], np.uint64), ValueError, "category must be between 0 and 2"),
        ):
            with pytest.raises(error, match=text):
                fill(Histogram.of(network, 3), category)
        for weight, text in (
            ([1, 1, 1], "weight must be 4 finite numbers of at least 0"),
            ([1, 1, 1, np.nan], "weight must be 4 finite numbers of at least 0"),
            ([1, 1, 1, np.inf], "weight must be 4 finite numbers of at least 0"),
            ([1, 1, 1, -1], "weight must be 4 finite numbers of at least 0"),
            (None, "weight must be given where there is a unit, and only there"),
        ):
            with pytest.raises(ValueError, match=text):
                fill(Histogram.of(network, 3, 1.0), None, weight)
        with pytest.raises(ValueError, match="weight must be given where there is a unit, and only there"):
            fill(Histogram.of(network, 3), None, [1, 1, 1, 1])
    for refused in (0, -3):
        with pytest.raises(ValueError, match=f"categories must be at least 1, not {refused}"):
            Histogram.of(network, refused)
    for unit in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"unit of the weights must be positive, not {unit}"):
            Histogram.of(network, 1, unit)
    for bad in (scores.astype(float), scores[:, None]):
        with pytest.raises(TypeError, match="scores must be integers of one axis"):
            Histogram.of(network).fill(bad)
    histogram = Histogram.of(network)
    for bad in (histogram.low - 1, histogram.high + 1):
        with pytest.raises(ValueError, match=f"scores must lie between {histogram.low} and {histogram.high}"):
            histogram.fill(np.array([bad]))
    assert histogram.events == 0


def test_histograms_of_another_network_are_refused(network, native):
    other = random_network(np.random.default_rng(1), "TRN", "WRAP", "mixed")
    with pytest.raises(ValueError, match=f"histogram must be of network {network.digest}, not of {other.digest}"):
        native.fill(Histogram.of(other), corners(network))
    for mine, theirs, what in (
        (Histogram.of(network), Histogram.of(other), "digest"),
        (Histogram.of(network), Histogram.of(network, 2), "categories"),
        (Histogram.of(network), Histogram.of(network, 1, 1.0), "unit"),
        (Histogram.of(network, 1, 2.0), Histogram.of(network, 1, 1.0), "unit"),
    ):
        with pytest.raises(ValueError, match=f"histograms must have the same {what}, not "):
            mine.add(theirs)
        assert mine.events == 0


def test_no_events_are_counted_as_none(network, native):
    x = corners(network)[:0]
    for histogram in (native.fill(Histogram.of(network), x), Histogram.of(network).fill(np.zeros(0, np.int64))):
        assert (histogram.events, histogram.total) == (0, 0)
    assert native.fill(Histogram.of(network, 2, 1.0), x, np.zeros(0, int), np.zeros(0)).total == 0
