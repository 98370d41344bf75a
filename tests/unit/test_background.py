"""By what a rate sample is divided, and the parts that ring."""

import numpy as np
import pytest

from l1ad.events.menu import load_menu
from l1ad.events.schema import load_schema
from l1ad.events.table import Events, make_meta
from l1ad.study.background import MOST_PARTS, Background, Parts
from l1ad.study.samples import RateSample
from l1ad.trigger.rates import Collider, Refused, rate

FILLED = np.array([0, 1, 2, 10, 11, 12, 100])


def background(n=8000, bunches=7, **numbers):
    weights = np.full(n, 1 / n)
    sample = RateSample(weights, np.full(n, -1), np.zeros(n, np.bool_), simulated=False, provenance="toy")
    events = Events(load_schema(), {}, make_meta(n, weight=weights, **numbers))
    menu = load_menu("conventional")
    return Background(events, sample, menu, np.zeros((n, len(menu.seeds)), np.bool_), Collider(bunches))


def number(n=8000):
    return np.arange(n)


def test_simulated_events_have_no_numbers():
    assert background().numbers == {}
    assert background().pileup_edges is None
    assert background().rates_by_pileup(number(), 10) is None


def test_numbers_that_all_events_share_divide_nothing():
    found = background(run=np.full(8000, 380_306), ls=np.full(8000, 7)).numbers
    assert found == {}
    unknown = np.where(number() == 5, -1, number() // 1000)
    assert background(run=unknown, ls=unknown, bx=unknown).numbers == {}


def test_blocks_of_one_run_keep_their_numbers_and_of_several_are_counted():
    block = 1 + number() // 2000
    found = background(run=np.full(8000, 380_306), ls=block).numbers
    assert list(found) == ["luminosity block"]
    np.testing.assert_array_equal(found["luminosity block"], block)
    run = 380_306 + number() // 4000
    found = background(run=run, ls=1 + number() % 2).numbers  # each run begins at 1 again
    assert list(found) == ["run", "luminosity block"]
    np.testing.assert_array_equal(found["luminosity block"], 2 * (number() // 4000) + number() % 2)


def test_places_are_known_where_the_filling_scheme_shows():
    bx = FILLED[number() % len(FILLED)]
    found = background(bx=bx).numbers
    assert list(found) == ["place in the train"]
    np.testing.assert_array_equal(found["place in the train"], np.array([0, 1, 2, 0, 1, 2, 0])[number() % len(FILLED)])
    found = background(bx=bx, bunches=2544).numbers  # of which the events show seven
    assert list(found) == ["bunch crossing"]
    np.testing.assert_array_equal(found["bunch crossing"], bx)


def test_a_hot_block_and_a_dead_one_ring():
    n, rng = 40_000, np.random.default_rng(3)
    block = 1 + number(n) // (n // 20)
    scores = (rng.random(n) < np.select([block == 8, block == 15], [0.2, 0.0], 0.1)).astype(np.int64)
    sample = background(n, run=np.full(n, 1), ls=block)
    whole = rate(scores, sample.sample.weights, 1, sample.crossing_rate_hz, simulated=False)
    found = sample.rates_by_time(scores, 1, whole)
    parts = Parts.of("luminosity block", found["luminosity block"], whole.value_hz)
    assert parts.x == tuple(range(1, 21))
    assert [alarm.x for alarm in parts.alarms] == [8, 15]
    assert [isinstance(alarm.rate, Refused) for alarm in parts.alarms] == [False, True]
    assert Parts.of("luminosity block", found["luminosity block"]).alarms == ()


@pytest.mark.parametrize(("share", "parts"), [(0.5, MOST_PARTS), (0.05, 8), (0.004, 2)])
def test_parts_are_as_many_as_have_a_rate(share, parts):
    n = 8000
    scores = (np.random.default_rng(4).permutation(n) < share * n).astype(np.int64)
    sample = background(n, run=np.full(n, 1), ls=1 + number(n) // 40)
    whole = rate(scores, sample.sample.weights, 1, sample.crossing_rate_hz, simulated=False)
    assert len(sample.rates_by_time(scores, 1, whole)["luminosity block"].x) == parts
