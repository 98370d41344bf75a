"""Rates of a menu: closed forms, an oracle that tries every outcome of the prescalers, and real counters."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1ad.trigger.histograms import working_point_of
from l1ad.trigger.menus.menu_rates import BACKUPS, PURE, PURE_UNPRESCALED, MenuSeed, backups, menu_rates, overlaps
from l1ad.trigger.menus.patterns import Patterns
from l1ad.trigger.rates import Rate, Refused, rate

CROSSING_HZ = 2.0**20
UNIT = 2.0**-61
SIMULATED = {"simulated": True}
EACH = ("total", "pure", "pure_unprescaled", "proportional", "cumulative", "without")


def filled(fired, weight=None, groups=None, names=None):
    fired = np.asarray(fired)
    names = names or tuple(f"s{i}" for i in range(fired.shape[1]))
    return Patterns(names, None if weight is None else UNIT).fill(fired, weight, groups)


def seeds(*prescales, families=None):
    families = families or [None] * len(prescales)
    return [
        MenuSeed(f"s{i}", prescale, family)
        for i, (prescale, family) in enumerate(zip(prescales, families, strict=True))
    ]


def rates_of(found, name):
    return [getattr(row, name).value_hz for row in found.seeds]


def uniform(n, *ranges):
    """Decisions of n events with scores 0 .. n - 1; seed i takes those from ranges[i][0] on, below ranges[i][1]."""
    scores = np.arange(n)
    return np.stack([(low <= scores) & (scores < high) for low, high in ranges], axis=1)


# --- the oracle -------------------------------------------------------------------------------------------------------


def outcomes(word, menu):
    """Every set of seeds that may accept a pattern, with its probability."""
    on = [i for i, seed in enumerate(menu) if word[i] and seed.prescale]
    for bits in itertools.product([False, True], repeat=len(on)):
        chance = Fraction(1)
        for i, bit in zip(on, bits, strict=True):
            p = 1 / Fraction(menu[i].prescale)
            chance *= p if bit else 1 - p
        yield {i for i, bit in zip(on, bits, strict=True) if bit}, chance


def expected(word, menu):
    """Probabilities of a pattern to count in each rate, as fractions, by trying every outcome."""
    n = len(menu)
    family = [seed.family if seed.family is not None else i for i, seed in enumerate(menu)]
    sure = {i for i in range(n) if word[i] and menu[i].prescale == 1}
    zero = Fraction(0)
    found = {
        name: [zero] * n for name in ("total", "pure", "pure_unprescaled", "proportional", "cumulative", "without")
    }
    found |= {"both": [[zero] * n for _ in range(n)], "only": [[zero] * n for _ in range(n)]}
    found |= {"or": zero, "conventional": zero, "added": zero}
    for accepting, chance in outcomes(word, menu):
        by_family = {family[i] for i in accepting}
        conventional = any(menu[i].family is None for i in accepting)
        found["or"] += chance * bool(accepting)
        found["conventional"] += chance * conventional
        found["added"] += chance * (bool(accepting) and not conventional)
        for i in range(n):
            found["cumulative"][i] += chance * any(j <= i for j in accepting)
            found["without"][i] += chance * bool(accepting - {i})
        for i in accepting:
            found["total"][i] += chance
            found["pure"][i] += chance * (by_family == {family[i]})
            found["pure_unprescaled"][i] += chance * all(family[j] == family[i] for j in sure)
            found["proportional"][i] += chance / len(accepting)
            for j in accepting:
                found["both"][i][j] += chance
                found["only"][i][j] += chance * (by_family == {family[i], family[j]})
    return found


PRESCALES = st.sampled_from([0, 1, 1, 1.5, 2, 3.75, 10, 1e6])
FAMILIES = st.sampled_from([None, None, "vae", "ae"])


@st.composite
def menus(draw):
    n_seeds = draw(st.integers(1, 6))
    menu = [MenuSeed(f"s{i}", draw(PRESCALES), draw(FAMILIES)) for i in range(n_seeds)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = 400
    fired = rng.random((n, n_seeds)) < draw(st.sampled_from([0.1, 0.5, 0.95]))
    weight = rng.exponential(1, n)
    return menu, fired, weight / weight.sum()


def agrees(found, chances, sample):
    """A rate is that of the weights times the chances, and so is its error; `sample`: number, Σw, Σw², Σw³ by word."""
    sums = sum((chance * w for chance, (_, w, _, _) in zip(chances, sample, strict=True)), Fraction(0))
    squares = sum((chance**2 * q for chance, (_, _, q, _) in zip(chances, sample, strict=True)), Fraction(0))
    cubes = sum((chance**3 * q for chance, (*_, q) in zip(chances, sample, strict=True)), Fraction(0))
    effective = float(sums**2 / squares) if squares else 0.0
    assert found.n_raw == sum(n for chance, (n, *_) in zip(chances, sample, strict=True) if chance)
    assert found.n_effective == pytest.approx(effective, rel=1e-9)
    if effective >= 25.000001:
        assert found.value_hz == pytest.approx(float(sums) * CROSSING_HZ, rel=1e-11)
        assert found.error_hz == pytest.approx(math.sqrt(squares) * CROSSING_HZ, rel=1e-9)
        assert found.skewness == pytest.approx(math.sqrt(cubes**2 / squares**3), rel=1e-9)
        assert found.n_events == sum(n for n, *_ in sample)
    elif effective < 24.999999:
        assert isinstance(found, Refused)


@settings(max_examples=40, deadline=None)
@given(menus())
def test_every_rate_is_that_of_all_outcomes_of_the_prescalers(case):
    menu, fired, weight = case
    patterns = filled(fired, weight)
    if not any(seed.prescale for seed in menu):
        with pytest.raises(ValueError, match="menu must have a seed that is on, not 0 of"):
            menu_rates(patterns, menu, CROSSING_HZ, **SIMULATED)
        return
    sample = {}
    for word, w in zip(map(tuple, fired.tolist()), np.rint(weight / UNIT), strict=True):
        n, *sums = sample.get(word, (0, 0, 0, 0))
        sample[word] = n + 1, *(s + (Fraction(w) * Fraction(UNIT)) ** (1 + i) for i, s in enumerate(sums))
    oracle, sample = [expected(word, menu) for word in sample], list(sample.values())
    found = menu_rates(patterns, menu, CROSSING_HZ, **SIMULATED)
    on = [i for i, seed in enumerate(menu) if seed.prescale]
    assert [row.seed for row in found.seeds] == [menu[i] for i in on]
    assert found.off == tuple(seed.name for seed in menu if not seed.prescale)
    agrees(found.total, [row["or"] for row in oracle], sample)
    kinds = {menu[i].family is None for i in on}
    assert (found.conventional is None, found.added is None) == (True not in kinds, False not in kinds)
    for name in ("conventional", "added"):
        if getattr(found, name) is not None:
            agrees(getattr(found, name), [row[name] for row in oracle], sample)
    for row, i in zip(found.seeds, on, strict=True):
        for name in EACH:
            agrees(getattr(row, name), [each[name][i] for each in oracle], sample)
    pairs = overlaps(patterns, menu, CROSSING_HZ, **SIMULATED)
    for (a, i), (b, j) in itertools.product(enumerate(on), repeat=2):
        agrees(pairs.both[a][b], [each["both"][i][j] for each in oracle], sample)
        agrees(pairs.only[a][b], [each["only"][i][j] for each in oracle], sample)


@settings(deadline=None)
@given(menus())
def test_the_oracle_s_own_sums_are_exact(case):
    """Proportional rates sum to the OR, pure ones of different families to no more; cumulative ones end in the OR."""
    menu, fired, _ = case
    for word in set(map(tuple, fired.tolist())):
        found = expected(word, menu)
        assert sum(found["proportional"]) == found["or"] == found["cumulative"][-1]
        assert found["conventional"] + found["added"] == found["or"]
        one_of_each = {seed.family or i: i for i, seed in enumerate(menu)}.values()
        assert sum(found["pure"][i] for i in one_of_each) <= found["or"]


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_uniform_scores_and_known_overlaps():
    # 0..400: a; 300..600: b; 500..700: c, of 1000; one event is 2**20 / 1000 Hz
    n, hz = 1000, CROSSING_HZ / 1000
    patterns = filled(uniform(n, (0, 400), (300, 600), (500, 700)))
    found = menu_rates(patterns, seeds(1, 1, 1), CROSSING_HZ, **SIMULATED)
    close = lambda counts: pytest.approx([hz * count for count in counts], rel=1e-14)  # noqa: E731
    assert rates_of(found, "total") == close([400, 300, 200])
    assert rates_of(found, "pure") == rates_of(found, "pure_unprescaled") == close([300, 100, 100])
    assert rates_of(found, "proportional") == close([350, 200, 150])
    assert rates_of(found, "cumulative") == close([400, 600, 700])
    assert rates_of(found, "without") == close([400, 600, 600])
    assert found.total == found.seeds[-1].cumulative == found.conventional
    assert (found.added, found.off) == (None, ())
    assert [row.total.n_raw for row in found.seeds] == [400, 300, 200]
    assert found.seeds[0].total.error_hz == pytest.approx(hz * 20)
    assert found.seeds[0].total.stage == "simulated, before dead time"
    pairs = overlaps(patterns, seeds(1, 1, 1), CROSSING_HZ, **SIMULATED)
    assert pairs.names == ("s0", "s1", "s2")
    assert [[x.n_raw for x in row] for row in pairs.both] == [[400, 100, 0], [100, 300, 100], [0, 100, 200]]
    assert [[x.n_raw for x in row] for row in pairs.only] == [[300, 100, 0], [100, 100, 100], [0, 100, 100]]
    assert isinstance(pairs.both[0][2], Refused)


def test_a_rate_is_that_of_the_score():
    rng = np.random.default_rng(1)
    scores, weight = rng.integers(0, 1000, 3000), rng.exponential(1, 3000)
    weight /= weight.sum()
    patterns = filled((scores >= 700)[:, None], weight)
    expected = rate(scores, weight, 700, CROSSING_HZ, simulated=False)
    found = menu_rates(patterns, seeds(1), CROSSING_HZ, simulated=False).total
    assert (found.value_hz, found.error_hz) == pytest.approx((expected.value_hz, expected.error_hz), rel=1e-12)
    assert (found.n_raw, found.n_events, found.stage) == (expected.n_raw, 3000, "zero-bias data, before dead time")


def test_exclusive_patterns_sum_to_the_or_exactly():
    rng = np.random.default_rng(2)
    fired, weight = rng.random((5000, 8)) < 0.2, rng.exponential(1, 5000) / 5000
    patterns = filled(fired, weight)
    units = np.rint(weight / UNIT).astype(np.int64)
    fires = [w for word, (_, w, *_) in patterns.table.items() if any(word)]
    assert sum(fires) == int(units[fired.any(axis=1)].sum())
    assert patterns.total == sum(w for _, w, *_ in patterns.table.values()) == int(units.sum())
    assert sum(q for _, _, q, _ in patterns.table.values()) == sum(w**2 for w in units.tolist())
    assert sum(q for *_, q in patterns.table.values()) == sum(w**3 for w in units.tolist())
    alone = [int(units[fired[:, i] & (fired.sum(axis=1) == 1)].sum()) for i in range(8)]
    assert [patterns.table[np.packbits(np.eye(8, dtype=bool)[i]).tobytes()][1] for i in range(8)] == alone
    menu = seeds(*[1] * 8)
    found = menu_rates(patterns, menu, CROSSING_HZ, **SIMULATED)
    assert sum(rates_of(found, "proportional")) == pytest.approx(found.total.value_hz, rel=1e-13)
    assert rates_of(found, "pure") == pytest.approx([CROSSING_HZ * UNIT * w for w in alone], rel=1e-14)
    assert sum(alone) <= sum(fires)


def test_prescales_of_two_seeds_in_closed_form():
    # 1000 events of both, 1000 of each alone, of 10 000
    fired = uniform(10_000, (0, 2000), (1000, 3000))
    found = menu_rates(filled(fired), seeds(2.5, 10), CROSSING_HZ, **SIMULATED)
    hz, p, q = CROSSING_HZ / 10_000, 0.4, 0.1
    close = lambda *counts: pytest.approx([hz * 1000 * count for count in counts])  # noqa: E731
    assert rates_of(found, "total") == close(2 * p, 2 * q)
    assert rates_of(found, "pure") == close(p + p * (1 - q), q + q * (1 - p))
    assert rates_of(found, "pure_unprescaled") == close(2 * p, 2 * q)  # nothing is unprescaled: nothing vetoes
    assert rates_of(found, "proportional") == close(p + p * (1 - q / 2), q + q * (1 - p / 2))
    assert rates_of(found, "cumulative") == close(2 * p, 2 * p + q * (1 - p) + q)
    assert rates_of(found, "without") == close(2 * q, 2 * p)
    assert found.seeds[0].total.error_hz == pytest.approx(hz * p * math.sqrt(2000))
    # one in 2.5 kept of a seed beside an unprescaled one
    found = menu_rates(filled(fired), seeds(2.5, 1), CROSSING_HZ, **SIMULATED)
    assert rates_of(found, "pure") == close(p, 1 + 1 - p)
    assert rates_of(found, "pure_unprescaled") == close(p, 2)
    assert "after its prescale" in PURE
    assert "unprescaled" in PURE_UNPRESCALED


@pytest.mark.parametrize("weighted", [False, True])
def test_real_prescale_counters_agree(weighted):
    """Counters that pass when they are full, fractions by their remainder, on a sample 40 times as large."""
    rng = np.random.default_rng(3)
    menu = [*seeds(1, 4, 2.5), MenuSeed("s3", 7.0, "vae"), MenuSeed("s4", 1.5, "vae")]
    n = 1_000_000
    fired = rng.random((n, 5)) < [0.02, 0.2, 0.1, 0.3, 0.05]
    fired[:, 4] &= fired[:, 3]
    fired[:, 1] |= fired[:, 2] & (rng.random(n) < 0.5)  # correlated
    weight = rng.integers(1, 4, n) / 2.0 / n if weighted else np.full(n, 1 / n)
    accepted = np.zeros_like(fired)
    for i, seed in enumerate(menu):
        count = np.cumsum(fired[:, i])
        accepted[:, i] = fired[:, i] & (np.floor(count / seed.prescale) > np.floor((count - 1) / seed.prescale))
    found = menu_rates(filled(fired, weight if weighted else None), menu, CROSSING_HZ, **SIMULATED)

    def compare(rate_found, chosen):
        value, error = CROSSING_HZ * weight[chosen].sum(), CROSSING_HZ * np.sqrt(np.square(weight[chosen]).sum())
        assert abs(rate_found.value_hz - value) < 3.5 * error
        return error / rate_found.value_hz

    number, vae = accepted.sum(axis=1), accepted[:, 3] | accepted[:, 4]
    assert compare(found.total, number > 0) < 0.003
    compare(found.added, vae & ~accepted[:, :3].any(axis=1))
    compare(found.conventional, accepted[:, :3].any(axis=1))
    for i, row in enumerate(found.seeds):
        others = accepted[:, [j for j in range(5) if j != i and not (i >= 3 and j >= 3)]]
        compare(row.total, accepted[:, i])
        compare(row.pure, accepted[:, i] & ~others.any(axis=1))
        compare(row.pure_unprescaled, accepted[:, i] & (~fired[:, 0] | (i == 0)))
        compare(row.cumulative, accepted[:, : i + 1].any(axis=1))
        compare(row.without, np.delete(accepted, i, axis=1).any(axis=1))
        part = CROSSING_HZ * (weight * accepted[:, i])[number > 0] @ (1 / number[number > 0])
        assert abs(row.proportional.value_hz - part) < 3.5 * row.total.error_hz * math.sqrt(menu[i].prescale)


def test_nested_working_points_are_left_out_of_each_other_s_pure_rates():
    n, hz = 1000, CROSSING_HZ / 1000
    scores = uniform(n, (600, n), (700, n), (900, n), (0, 650), (850, 950))  # loose, medium, tight; two seeds
    menu = seeds(1, 1, 1, 1, 1, families=["vae", "vae", "vae", None, None])
    found = menu_rates(filled(scores), menu, CROSSING_HZ, **SIMULATED)
    pure = pytest.approx([250 * hz, 200 * hz, 50 * hz, 600 * hz])
    assert rates_of(found, "total")[:3] == pytest.approx([400 * hz, 300 * hz, 100 * hz])
    assert [row.pure.value_hz for row in found.seeds[:4]] == pure
    assert [row.pure_unprescaled.value_hz for row in found.seeds[:4]] == pure
    assert isinstance(found.seeds[4].pure, Refused)  # the loose one takes all of it
    assert found.added.value_hz == pytest.approx(250 * hz)
    assert found.conventional.value_hz == pytest.approx(750 * hz)
    assert found.total.value_hz == pytest.approx(1000 * hz)
    # switched off, a nested one changes nothing, the loosest what the next does not take
    without = [row.without.value_hz for row in found.seeds[:3]]
    assert without == pytest.approx([950 * hz, 1000 * hz, 1000 * hz])
    pairs = overlaps(filled(scores), menu, CROSSING_HZ, **SIMULATED)
    assert pairs.only[0][3].value_hz == pytest.approx(50 * hz)
    assert [pairs.only[i][4].value_hz for i in range(3)] == pytest.approx([100 * hz, 100 * hz, 50 * hz])
    assert pairs.only[0][2].value_hz == pytest.approx(50 * hz)  # 900 .. 1000, without those of the last seed
    # without families, a looser working point would take the pure rate of the tighter ones
    alone = menu_rates(filled(scores), seeds(1, 1, 1, 1, 1), CROSSING_HZ, **SIMULATED)
    assert [row.pure.n_raw for row in alone.seeds[1:3]] == [0, 0]


def test_seeds_that_the_menu_does_not_name_or_switches_off_are_no_part_of_it():
    fired = uniform(1000, (0, 400), (300, 600), (500, 700))
    two = menu_rates(filled(fired[:, :2]), seeds(1, 4), CROSSING_HZ, **SIMULATED)
    assert menu_rates(filled(fired), seeds(1, 4), CROSSING_HZ, **SIMULATED) == two
    assert menu_rates(filled(fired), seeds(1, 4, 0), CROSSING_HZ, **SIMULATED) == replace(two, off=("s2",))
    turned = menu_rates(filled(fired), [MenuSeed("s1", 4), MenuSeed("s0")], CROSSING_HZ, **SIMULATED)
    assert rates_of(turned, "total") == rates_of(two, "total")[::-1]
    assert turned.total.value_hz == pytest.approx(two.total.value_hz)


def test_more_seeds_than_a_word_of_integers_has_bits():
    n_seeds, n = 150, 6000
    fired = np.zeros((n, n_seeds), bool)
    fired[np.arange(n), np.arange(n) % n_seeds] = True
    fired[np.arange(n), (np.arange(n) + 64) % n_seeds] = True  # seeds 64 apart are different
    patterns = filled(fired)
    assert len(patterns.table) == n_seeds
    found = menu_rates(patterns, seeds(*[1] * n_seeds), CROSSING_HZ, **SIMULATED)
    assert rates_of(found, "total") == pytest.approx([80 * CROSSING_HZ / n] * n_seeds)
    assert rates_of(found, "proportional") == pytest.approx([40 * CROSSING_HZ / n] * n_seeds)
    assert found.total.value_hz == CROSSING_HZ


def test_many_patterns_are_worked_on_in_parts(monkeypatch):
    rng = np.random.default_rng(4)
    fired, weight = rng.random((3000, 12)) < 0.5, rng.exponential(1, 3000) / 3000
    patterns = filled(fired, weight, rng.integers(-1, 500, 3000))
    menu = seeds(*[1, 2, 4.5] * 4)
    whole = menu_rates(patterns, menu, CROSSING_HZ, **SIMULATED)
    monkeypatch.setattr("l1ad.trigger.menus.menu_rates.ROWS", 100)
    parts = menu_rates(patterns, menu, CROSSING_HZ, **SIMULATED)
    for one, other in zip(whole.seeds, parts.seeds, strict=True):
        for name in ("total", "pure", "proportional", "cumulative", "without"):
            mine, theirs = getattr(one, name), getattr(other, name)
            if isinstance(mine, Rate):
                assert (mine.value_hz, mine.error_hz) == pytest.approx((theirs.value_hz, theirs.error_hz), rel=1e-12)
            assert mine.n_raw == theirs.n_raw


# --- sums that merge --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.booleans(), st.booleans())
def test_splits_merge_bit_for_bit(seed, n_seeds, weighted, grouped):
    rng = np.random.default_rng(seed)
    n = 300
    fired = rng.random((n, n_seeds)) < rng.random()
    weight = 10 ** rng.uniform(-14, 0, n) / n if weighted else None
    groups = rng.integers(-2, 40, n) if grouped else None
    whole = filled(fired, weight, groups)
    order, merged = rng.permutation(n), Patterns(whole.names, whole.unit)
    for part in np.array_split(order, rng.integers(1, 12)):
        chosen = [None if array is None else array[part] for array in (weight, groups)]
        merged.add(Patterns(whole.names, whole.unit).fill(fired[part], *chosen))
    assert merged == whole
    menu = [
        MenuSeed(name, prescale) for name, prescale in zip(whole.names, rng.choice([1, 2.5, 7], n_seeds), strict=True)
    ]
    if not weighted or abs(weight.sum() - 1) < 0.1:
        assert menu_rates(merged, menu, CROSSING_HZ, **SIMULATED) == menu_rates(whole, menu, CROSSING_HZ, **SIMULATED)


def test_sums_are_exact_to_the_last_unit():
    weight = np.array([2.0**60, 2.0**60 + 2**10, 3.0, 2.0**31 + 1, 2.0**31 - 1]) * UNIT
    fired = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]], bool)
    units = [2**60, 2**60 + 2**10, 3, 2**31 + 1, 2**31 - 1]
    table = filled(fired, weight).table
    assert table == {
        b"\x80": (3, *(sum(w**power for w in units[:3]) for power in (1, 2, 3))),
        b"\x40": (2, *(sum(w**power for w in units[3:]) for power in (1, 2, 3))),
    }


def test_groups_count_once_as_in_rates():
    rng = np.random.default_rng(5)
    n = 12_000
    groups = rng.integers(-100, 1500, n)
    scores = rng.integers(0, 60, 1600)[groups] + rng.integers(0, 5, n)
    weight = rng.exponential(1, n)
    weight /= weight.sum()
    fired = np.stack([scores >= 30, (scores >= 10) & (scores < 40), scores % 3 == 0], axis=1)
    found = menu_rates(filled(fired, weight, groups), seeds(1, 1, 1), CROSSING_HZ, **SIMULATED)
    alone = menu_rates(filled(fired, weight), seeds(1, 1, 1), CROSSING_HZ, **SIMULATED)
    for i, row in enumerate(found.seeds):
        for mine, chosen in (
            (row.total, fired[:, i]),
            (row.pure, fired[:, i] & (fired.sum(axis=1) == 1)),
            (row.cumulative, fired[:, : i + 1].any(axis=1)),
        ):
            expected = rate(chosen.astype(int), weight, 1, CROSSING_HZ, simulated=True, groups=groups)
            for name in ("value_hz", "error_hz", "n_effective", "n_raw", "skewness"):
                assert getattr(mine, name) == pytest.approx(getattr(expected, name), rel=1e-10)
    assert found.total.value_hz == alone.total.value_hz
    assert found.total.error_hz > 1.5 * alone.total.error_hz
    # with prescales, a group's weight is the sum of its expected ones
    found = menu_rates(filled(fired, weight, groups), seeds(4, 1, 2.5), CROSSING_HZ, **SIMULATED).seeds[0].total
    grouped = np.bincount(groups[groups >= 0], (weight * fired[:, 0])[groups >= 0])
    squares = (grouped**2).sum() + ((weight * fired[:, 0])[groups < 0] ** 2).sum()
    assert found.error_hz == pytest.approx(CROSSING_HZ / 4 * math.sqrt(squares))


# --- edges ------------------------------------------------------------------------------------------------------------


def test_empty_none_and_all():
    with pytest.raises(ValueError, match="patterns must hold at least one event, not 0; fill them"):
        menu_rates(Patterns(("s0",)), seeds(1), CROSSING_HZ, **SIMULATED)
    with pytest.raises(ValueError, match="patterns must hold at least one event, not 0; fill them"):
        menu_rates(filled(np.zeros((0, 1), bool)), seeds(1), CROSSING_HZ, **SIMULATED)
    none = menu_rates(filled(np.zeros((100, 2), bool)), seeds(1, 2), CROSSING_HZ, **SIMULATED)
    assert isinstance(none.total, Refused)
    for row in none.seeds:
        for name in EACH:
            assert str(getattr(row, name)) == "refused: n_eff 0 < 25"
    pairs = overlaps(filled(np.zeros((100, 2), bool)), seeds(1, 2), CROSSING_HZ, **SIMULATED)
    assert {str(x) for row in pairs.both + pairs.only for x in row} == {"refused: n_eff 0 < 25"}
    every = menu_rates(filled(np.ones((100, 2), bool)), seeds(1, 2), CROSSING_HZ, **SIMULATED)
    assert every.total.value_hz == CROSSING_HZ
    assert every.total.interval_hz[1] == CROSSING_HZ
    assert rates_of(every, "proportional") == pytest.approx([0.75 * CROSSING_HZ, 0.25 * CROSSING_HZ])


def test_25_equal_weights_are_25():
    for n in range(100, 160):
        fired = (np.arange(n) < 25)[:, None]
        assert menu_rates(filled(fired, np.full(n, 1 / n)), seeds(3), CROSSING_HZ, **SIMULATED).total.n_effective == 25
        assert isinstance(menu_rates(filled(fired[1:]), seeds(1), CROSSING_HZ, **SIMULATED).total, Refused)


def test_weights_are_checked():
    fired = np.ones((2, 1), bool)
    with pytest.raises(ValueError, match="weight must be 2 finite numbers of at least 0"):
        filled(fired, [1.5, -0.5])
    with pytest.raises(ValueError, match="weight must be 2 finite numbers"):
        filled(fired, [math.nan, 0.5])
    with pytest.raises(ValueError, match=r"weights must sum to less than 2\*\*62 units of"):
        filled(fired, [1.5, 0.5])
    with pytest.raises(ValueError, match=r"weights must sum to less than 2\*\*62 units of"):
        filled(fired, [1.0, 0.5]).add(filled(fired, [0.5, 0.0]))
    with pytest.raises(ValueError, match="weight must be given where there is a unit, and only there"):
        Patterns(("s0",)).fill(fired, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"weights must sum to 1 within 0.1, not 0.5"):
        menu_rates(filled(fired, [0.25, 0.25]), seeds(1), CROSSING_HZ, **SIMULATED)


def test_decisions_and_groups_are_checked():
    with pytest.raises(TypeError, match=r"fired must be bool of shape \(n, 1\), not int64 \(2, 1\)"):
        Patterns(("a",)).fill(np.ones((2, 1), np.int64))
    with pytest.raises(TypeError, match=r"fired must be bool of shape \(n, 2\), not bool \(2, 1\)"):
        Patterns(("a", "b")).fill(np.ones((2, 1), bool))
    for groups in (np.zeros(2), [1, 2, 3]):
        with pytest.raises(TypeError, match="groups must be 2 integers, not"):
            Patterns(("a",)).fill(np.ones((2, 1), bool), groups=groups)


def test_patterns_are_of_one_menu():
    for names in ((), ("a", "a")):
        with pytest.raises(ValueError, match="seeds must have different names, and there must be one, not"):
            Patterns(names)
    with pytest.raises(ValueError, match="unit of the weights must be positive, not 0"):
        Patterns(("a",), 0.0)
    with pytest.raises(ValueError, match="patterns must have the same names"):
        Patterns(("a",)).add(Patterns(("b",)))
    with pytest.raises(ValueError, match=r"patterns must have the same unit, not None and 0.5"):
        Patterns(("a",)).add(Patterns(("a",), 0.5))


@pytest.mark.parametrize("prescale", [0.5, -1, 0.999, math.nan, math.inf])
def test_a_prescale_is_off_or_at_least_one(prescale):
    with pytest.raises(ValueError, match=r"prescale must be 0 \(off\) or at least 1, not .*; seed 'a'; one in so many"):
        MenuSeed("a", prescale)


def test_a_prescale_is_a_number():
    for prescale in (True, "2", None):
        with pytest.raises(TypeError, match=r"prescale must be a number, not .*; seed 'a'"):
            MenuSeed("a", prescale)


def test_a_menu_names_known_seeds_once():
    patterns = filled(np.ones((100, 2), bool), names=("SingleMu22", "HTT360er"))
    for name, text in (("SingleMu20", "did you mean 'SingleMu22'"), ("xyz", "fill the patterns with its decisions")):
        with pytest.raises(ValueError, match=f"seed must be one of the 2 of the patterns, not '{name}'; {text}"):
            menu_rates(patterns, [MenuSeed(name)], CROSSING_HZ, **SIMULATED)
    with pytest.raises(ValueError, match="seeds must be named once each, not HTT360er, HTT360er"):
        overlaps(patterns, [MenuSeed("HTT360er"), MenuSeed("HTT360er", 2)], CROSSING_HZ, **SIMULATED)
    for menu in ([], [MenuSeed("HTT360er", 0)]):
        with pytest.raises(ValueError, match=f"menu must have a seed that is on, not 0 of {len(menu)}"):
            menu_rates(patterns, menu, CROSSING_HZ, **SIMULATED)
    with pytest.raises(ValueError, match="crossing_rate_hz must be positive"):
        menu_rates(patterns, [MenuSeed("HTT360er")], 0, **SIMULATED)


def test_backups_are_tighter_working_points():
    from l1ad.emulate.histogram import Histogram

    n = 20_000
    histogram = Histogram("digest", 0, n - 1, 2).fill(np.arange(n), np.arange(n) % 2)
    find = lambda hz: working_point_of(histogram, hz, float(n), simulated=True)  # noqa: E731
    found = backups(find, 200.0)
    assert [point.target_hz for point in found] == [200.0 * part for part in BACKUPS] == [100, 40, 20]
    assert [point.threshold.raw for point in found[:2]] == [n - 100, n - 40]
    assert found[0].pure.n_raw == 50
    assert found[2].refused
