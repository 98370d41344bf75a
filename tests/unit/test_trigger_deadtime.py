"""Dead time and trigger rules, against the closed form and against the rules as they are written."""

import numpy as np
import pytest

from l1ad.trigger.deadtime import BLOCKS, CMS_RULES, Rule, batches, dead_time, draw, live_time, surviving
from l1ad.trigger.rates import BUNCH_PLACES, REVOLUTION_HZ, Rate, Refused

FULL = np.ones(BUNCH_PLACES, np.bool_)


def naive(decisions, rules):
    """Accept, unless a window that ends here holds as many accepts as a rule allows."""
    accepted = np.zeros_like(decisions)
    for t, decision in enumerate(decisions):
        accepted[t] = decision and all(
            accepted[max(0, t - rule.crossings + 1) : t].sum() < rule.accepts for rule in rules
        )
    return accepted


def naive_live(decisions, filling, rules):
    """Share of crossings at which a decision would be accepted, one by one."""
    accepted, live = naive(decisions, rules), 0
    crossings = np.flatnonzero(np.tile(filling, len(decisions) // len(filling)))
    for t in crossings:
        live += all(accepted[max(0, t - rule.crossings + 1) : t].sum() < rule.accepts for rule in rules)
    return live / len(crossings)


@pytest.mark.parametrize("rules", [CMS_RULES, (dead_time(1),), (Rule(2, 7), Rule(5, 30)), (Rule(3, 4),)], ids=str)
@pytest.mark.parametrize("probability", [0.0, 0.003, 0.05, 0.5, 1.0])
def test_equal_to_the_rules_as_written(rules, probability):
    decisions = np.random.default_rng(int(1e3 * probability)).random(3000) < probability
    assert np.array_equal(surviving(decisions, rules), naive(decisions, rules))


def test_no_window_holds_more_than_allowed():
    accepted = surviving(np.random.default_rng(1).random(200_000) < 0.05)
    for rule in CMS_RULES:
        held = np.convolve(accepted, np.ones(rule.crossings, int))
        assert held.max() == rule.accepts


def test_all_accepted_leaves_four_in_240():
    assert surviving(np.ones(2400, np.bool_)).sum() == 40
    assert np.flatnonzero(surviving(np.ones(240, np.bool_))).tolist() == [0, 3, 25, 100]


@pytest.mark.parametrize("crossings", [1, 10, 100])
def test_simple_dead_time_has_a_closed_form(crossings):
    rate_hz = 4e5
    p = rate_hz / (BUNCH_PLACES * REVOLUTION_HZ)
    found = live_time(draw(rate_hz, FULL, 2000, 5), FULL, [dead_time(crossings)], simulated=True)
    expected = 1 / (1 + crossings * p)
    assert abs(found.live_fraction.value - expected) < 4 * found.live_fraction.error
    assert found.live_fraction.error < 0.02 * (1 - expected) + 1e-5
    assert abs(found.after.value_hz - rate_hz * expected) < 4 * found.after.error_hz


def test_live_fraction_counts_crossings_of_filled_bunches():
    filling = batches(600, 20, 5)
    decisions = draw(2e5, filling, BLOCKS, 3)
    found = live_time(decisions, filling, simulated=True)
    assert found.live_fraction.value == pytest.approx(naive_live(decisions, filling, CMS_RULES), abs=1e-12)
    assert found.accepted == naive(decisions, CMS_RULES).sum()
    assert found.candidates == decisions.sum()


def test_vetoed_by_each_rule():
    decisions = np.zeros(BLOCKS * BUNCH_PLACES, np.bool_)
    decisions[[10, 11, 30, 32, 500, 503, 2000]] = True  # 11: 1 in 3; 32: 1 in 3 and 2 in 25; 503 is the third after 500
    found = live_time(decisions, FULL, simulated=False)
    assert (found.candidates, found.accepted, found.vetoed) == (7, 5, (2, 1, 0, 0))
    assert isinstance(found.before, Refused)
    assert found.after.n_raw == 5


def test_rates_say_their_stage():
    filling = batches()
    assert filling.sum() == 2544
    found = live_time(draw(1e5, filling, 200, 1), filling, simulated=True)
    assert found.before.stage == "simulated, before dead time"
    assert found.after.stage == "simulated, after dead time and trigger rules"
    assert found.after.value_hz == pytest.approx(found.accepted * REVOLUTION_HZ / 200)
    assert isinstance(found.after, Rate)
    assert found.accepted < found.candidates
    assert live_time(~FULL.repeat(BLOCKS), FULL, simulated=False).live_fraction.value == 1
    slower = draw(1e5, filling, 200, 1, 11_000.0, forced=True)
    found = live_time(slower, filling, simulated=True, revolution_hz=11_000.0, forced=True)
    assert found.before.value_hz == pytest.approx(slower.sum() * 11_000.0 / 200)


def test_drawn_rate():
    filling = batches(1000)
    decisions = draw(3e6, filling, 400, 9).reshape(400, BUNCH_PLACES)
    assert not decisions[:, ~filling].any()
    expected = 3e6 / REVOLUTION_HZ * 400
    assert abs(decisions.sum() - expected) < 4 * np.sqrt(expected)
    by_place = decisions[:, filling].sum(axis=0)
    p = 3e6 / (1000 * REVOLUTION_HZ)
    assert by_place.var(ddof=1) == pytest.approx(400 * p * (1 - p), rel=0.2)
    assert np.array_equal(draw(1e5, filling, 30, 4), draw(1e5, filling, 30, 4))
    assert not draw(0.0, filling, 30, 4).any()
    assert draw(1000 * REVOLUTION_HZ, filling, 30, 4).sum() == 30_000


ORBITS = np.zeros(BLOCKS * BUNCH_PLACES, np.bool_)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: Rule(0, 3),
            ValueError,
            "rule must allow at least one accept, in more crossings than that, not 0 in 3",
        ),
        (lambda: Rule(3, 3), ValueError, "not 3 in 3"),
        (lambda: dead_time(0), ValueError, "not 1 in 1"),
        (lambda: batches(3200), ValueError, "colliding_bunches must be from 1 to 3060 in batches of 48 with gaps of 8"),
        (lambda: batches(0), ValueError, "not 0"),
        (lambda: surviving([0, 1]), TypeError, "decisions must be bool, not int64"),
        (lambda: surviving(np.zeros(0, bool)), ValueError, r"decisions must have shape \(n,\), n > 0, not \(0,\)"),
        (lambda: surviving([True], []), ValueError, "rules must be at least one, not none"),
        (lambda: draw(1e8, FULL, 20, 1), ValueError, "rate_hz must be from 0 to 4.0079e.07, that of the crossings"),
        (lambda: draw(np.nan, FULL, 20, 1), ValueError, "rate_hz must be from 0"),
        (lambda: draw(1e5, FULL, 20, 1, 11425), ValueError, "11425 is a published swap"),
        (lambda: draw(1e5, FULL, 3, 1), ValueError, "orbits must be at least 20, not 3"),
        (lambda: draw(1e5, ~FULL, 20, 1), ValueError, "filling must hold at least one crossing"),
        (lambda: draw(1e5, FULL[:-1], 20, 1), ValueError, r"filling must have shape \(3564,\)"),
        (lambda: draw(1e5, FULL.astype(int), 20, 1), TypeError, "filling must be bool, not int64"),
        (lambda: live_time(ORBITS[1:], FULL, simulated=True), ValueError, "whole orbits of 3564 crossings, not 3563"),
        (
            lambda: live_time(~ORBITS, batches(), simulated=True),
            ValueError,
            "False where no bunches cross, not True 20400",
        ),
        (lambda: live_time(ORBITS, FULL, simulated=1), TypeError, "simulated must be True or False, not 1"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
