"""Event files to histograms."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from same_histograms import assert_same
from studies import random_trigger_events, small_network, write_events

from l1ad.emulate import Histogram, native_emulator, reference
from l1ad.events.menu import Menu, decide, load_menu, seed_of_name
from l1ad.events.schema import input_columns, load_schema
from l1ad.events.store import EventFile, concatenate, inputs
from l1ad.events.stream import EventStream
from l1ad.trigger.counting import scan
from l1ad.trigger.counting.scan import fill, may_share_collisions, thresholds_of
from l1ad.trigger.histograms import TAKEN, working_point_of
from l1ad.trigger.rates import Collider, Threshold, working_point
from l1ad.trigger.samples import UNIT

SCHEMA = load_schema()
NETWORK = small_network(input_columns(SCHEMA))
SAMPLE = Path(__file__).parents[2] / "sample" / "rate.h5"
EDGES = (20, 40, 50.5, 80)
MENU = load_menu()
PAIRS = Menu("pairs", (seed_of_name("L1_DoubleMu4_Mass_Max20"), replace(seed_of_name("L1_SingleJet30"), prescale=2.0)))
LENGTHS = (300, 1, 500)


def some_events(n, seed, total):
    """Random events, with all that sorts and weighs them."""
    rng, events = np.random.default_rng(seed), random_trigger_events(SCHEMA, n, seed)
    weights = rng.exponential(1, n)
    known = {
        "weight": weights / weights.sum() * n / total,
        "pileup": rng.choice([20, 30, 40, 50.5, 79, 80], n).astype(np.float32),
        "seeds": (rng.random((n, 3)) < 0.2).astype(np.uint8),
    }
    return replace(events, meta=events.meta | known)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Three files, read in pieces of 128 events, and their events."""
    monkeypatch.setattr(scan, "PIECE", 128)
    all_events = [some_events(n, seed, sum(LENGTHS)) for seed, n in enumerate(LENGTHS)]
    for i, events in enumerate(all_events):
        write_events(tmp_path / f"part-{i}.h5", events, seeds=["a", "b", "c"])
    return tmp_path / "part-*.h5", concatenate(all_events)


@pytest.fixture(params=["native", "reference"])
def executor(request, monkeypatch, require):
    """With a compiler, and without."""
    if request.param == "reference":
        monkeypatch.setattr(scan, "native_emulator", lambda *_: None)
    else:
        require("compiler")
        assert native_emulator(NETWORK) is not None


def sorted_by(events, category):
    """Category of each event, and their number, told in other words."""
    if category is None:
        return None, 1
    if category == "taken":
        return (events.meta["seeds"].sum(axis=1) > 0).astype(int), 2
    if category is MENU:
        return decide(events, MENU).any(axis=1).astype(int), 2
    if category is PAIRS:
        decisions = decide(events, PAIRS).astype(int)
        assert (decisions[:, 1] > decisions[:, 0]).any(), "the prescaled seed would take more"
        return decisions[:, 0], 2
    return np.array([int(mu >= 40) + int(mu >= 50.5) for mu in events.meta["pileup"]], int), 3


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize(
    "category", [None, "taken", MENU, PAIRS, EDGES], ids=["one", "taken", "menu", "pairs", "pileup"]
)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_counts_the_scores(parts, category, weighted, threads):
    files, events = parts
    numbers, categories = sorted_by(events, category)
    expected = Histogram.of(NETWORK, categories, UNIT if weighted else None).fill(
        reference.emulate(NETWORK, inputs(events)), numbers, events.meta["weight"] if weighted else None
    )
    assert_same(fill(NETWORK, files, category=category, weighted=weighted, threads=threads), expected)


def test_parts_filled_anywhere_can_be_added(parts):
    files, _ = parts
    whole = fill(NETWORK, files, category="taken")
    sums = [fill(NETWORK, path, category="taken") for path in EventStream(files).paths]
    assert_same(sums[0].add(sums[1]).add(sums[2]), whole)


def test_all_cores_by_default_and_not_fewer_than_one(parts, monkeypatch):
    files, _ = parts
    asked = []
    monkeypatch.setattr(scan, "cores", lambda: asked.append(True) or 2)
    assert fill(NETWORK, files).events == sum(LENGTHS)
    assert asked
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        fill(NETWORK, files, threads=0)


def test_working_points_are_those_of_stored_scores(parts):
    files, events = parts
    scores, taken = reference.emulate(NETWORK, inputs(events)), events.meta["seeds"].astype(bool)
    collider, targets = Collider(1000), [2e6, 5e6, 10.0]
    expected = [
        working_point(scores, events.meta["weight"], taken, target, collider.crossing_rate_hz, simulated=True)
        for target in targets
    ]
    found = thresholds_of(NETWORK, iter(EventStream(files).paths), targets, collider)  # looked at once
    assert (found.digest, found.score_type, found.simulated) == (NETWORK.digest, str(NETWORK.score.out), True)
    assert found.sample == ", ".join(str(path) for path in EventStream(files).paths)
    assert found.provenance == "random numbers (part-0), random numbers (part-1), random numbers (part-2)"
    assert found.menu == "decisions in the files: a, b, c"
    for one, other in zip(found.working_points, expected, strict=True):
        assert one.target_hz == other.target_hz
        assert one.refused is other.refused
        if isinstance(one.threshold, Threshold):
            assert (one.threshold.raw, one.threshold.rate.n_raw) == (other.threshold.raw, other.threshold.rate.n_raw)
            for mine, theirs in ((one.rate, other.rate), (one.pure, other.pure)):
                assert mine.value_hz == pytest.approx(theirs.value_hz, rel=1e-9)
                assert mine.error_hz == pytest.approx(theirs.error_hz, rel=1e-9)
    assert [point.refused for point in found.working_points] == [False, False, True]


def test_which_menu_defines_the_pure_rate(tmp_path, parts):
    _, events = parts
    known = events.meta | {"seeds": np.zeros((len(events), 0), np.uint8)}
    write_events(tmp_path / "none.h5", replace(events, meta=known))
    write_events(tmp_path / "named.h5", events, seeds=["a", "b", "c"], menu="ours")

    def point(name, menu=None):
        found = thresholds_of(NETWORK, tmp_path / name, [1e7], Collider(), menu)
        return found.menu, found.working_points[0]

    stored, decided = (
        working_point_of(
            fill(NETWORK, tmp_path / "named.h5", category=category),
            1e7,
            Collider().crossing_rate_hz,
            simulated=True,
            taken=[TAKEN],
        )
        for category in ("taken", MENU)
    )
    assert stored.pure != decided.pure
    assert point("named.h5") == ("ours", stored)
    assert point("named.h5", "conventional") == point("none.h5") == ("conventional", decided)
    with pytest.raises(ValueError, match="menu must be one of conventional or the path of a"):
        point("named.h5", "nope")
    with pytest.raises(
        ValueError, match=r"none\.h5: must hold decisions of seeds \(attribute seeds\); pass a menu as category"
    ):
        fill(NETWORK, tmp_path / "none.h5", category="taken")


def test_decisions_in_the_committed_sample_are_those_of_its_menu():
    with EventFile(SAMPLE) as file:
        assert file.attrs["menu"] == "conventional"
    assert_same(fill(NETWORK, SAMPLE, category="taken"), fill(NETWORK, SAMPLE, category=MENU))


def test_files_must_say_alike_whether_they_are_simulated(tmp_path):
    events = random_trigger_events(SCHEMA, 10, seed=1)
    for name, simulated in (("a", True), ("b", False), ("c", "yes")):
        write_events(tmp_path / f"{name}.h5", events, simulated=simulated)
    for other, text in (
        ("b", r"a\.h5 and .*b\.h5 must both be simulated or both data, not one of each; rate them apart"),
        ("c", r"c\.h5: attribute simulated must say true or false; write it with EventWriter"),
    ):
        with pytest.raises(ValueError, match=text):
            thresholds_of(NETWORK, [tmp_path / "a.h5", tmp_path / f"{other}.h5"], [1e3], Collider())


def test_targets_are_looked_at_before_events(monkeypatch):
    monkeypatch.setattr(scan, "fill", None)
    for target in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="target_hz must be positive, not"):
            thresholds_of(NETWORK, SAMPLE, [1e3, target], Collider())


def spoil(path, name, *change):
    """Replace a dataset by one with other values, past all checks."""
    with h5py.File(path, "r+") as file, EventFile(path) as events:
        group, _, key = name.partition("/")
        array = events.read().meta[key] if group == "meta" else events.read().columns[f"{group}.{key}"]
        array = array.copy()
        array[change[0]] = change[1]
        attrs = dict(file[name].attrs)
        del file[name]
        file[name] = array
        file[name].attrs.update(attrs)


def error(function):
    with pytest.raises((OSError, ValueError)) as raised:
        function()
    return type(raised.value), str(raised.value)


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize(
    ("name", "at", "value", "text"),
    [
        ("meta/weight", 150, np.nan, "weight must be finite and not negative, not nan (event 150)"),
        ("meta/weight", 3, np.inf, "weight must be finite and not negative, not inf (event 3)"),
        ("meta/weight", 299, -1, "weight must be finite and not negative, not -1.0 (event 299)"),
        ("mu/phi", (200, 1), 600, "mu.phi must be in 0..575, not 600 (event 200, slot 1)"),
    ],
)
def test_wrong_values_are_named_as_a_stream_names_them(parts, name, at, value, text):
    files, _ = parts
    path = files.parent / "part-0.h5"
    spoil(path, name, at, value)
    kind, found = error(lambda: fill(NETWORK, files, threads=3))
    assert found.startswith(f"{path}: {text}")
    columns = list(SCHEMA.columns())
    streamed = error(lambda: list(EventStream(path, columns=columns)))
    if name == "meta/weight":
        assert (kind, found) == streamed


def test_files_that_are_none(parts, tmp_path):
    files, _ = parts
    whole = (tmp_path / "part-2.h5").read_bytes()
    (tmp_path / "text.h5").write_text("no events\n" * 100)
    (tmp_path / "short.h5").write_bytes(whole[: len(whole) // 2])
    write_events(tmp_path / "empty.h5", random_trigger_events(SCHEMA, 1, seed=5)[:0], seeds=[])
    for name in ("none.h5", "text.h5", "short.h5", "no-*.h5"):
        assert error(lambda n=name: fill(NETWORK, tmp_path / n)) == error(lambda n=name: EventStream(tmp_path / n))
    with pytest.raises(ValueError, match=r"empty\.h5: must hold at least one event"):
        fill(NETWORK, tmp_path / "empty.h5")
    with pytest.raises(ValueError, match="a file must be given once, not as"):
        fill(NETWORK, [files, tmp_path / "part-1.h5"])
    other = small_network(input_columns(SCHEMA)[::-1])
    with pytest.raises(ValueError, match=r"part-0\.h5: none of the selections \['axol1tl'\] has the columns"):
        fill(other, files)


def test_damage_is_named_and_the_first_file_comes_first(parts, tmp_path):
    """A packed chunk that was changed; the same text as a stream gives, whichever thread finds which."""
    files, _ = parts
    for name in ("part-2.h5", "part-0.h5"):
        with h5py.File(tmp_path / name) as file:
            at = file["eg/pt"].id.get_chunk_info(0).byte_offset + 40
        content = bytearray((tmp_path / name).read_bytes())
        content[at] ^= 255
        (tmp_path / name).write_bytes(content)
        for _ in range(5):
            kind, text = error(lambda: fill(NETWORK, files, threads=3))
            assert kind is OSError
            assert re.match(rf".*{name}: events 0\.\.\d+ must be readable \(.*\); copy the file again$", text)
        streamed = error(lambda n=name: list(EventStream(tmp_path / n, columns=["eg.pt"])))
        assert text.partition(" must be ")[2] == streamed[1].partition(" must be ")[2]


def test_a_file_that_changes_meanwhile(parts, tmp_path):
    """Of other length, or made otherwise."""
    files, events = parts
    stream, path = EventStream(files, columns=(), meta=()), tmp_path / "part-2.h5"
    for n, told in ((400, {}), (500, {"sample": "another of this name"})):
        write_events(path, events[-n:], seeds=["a", "b", "c"], **told)
        assert error(lambda: scan.fill_stream(NETWORK, stream)) == (
            OSError,
            f"{path}: must be the file that was there at the start, not another; start again",
        )
    write_events(path, events[-500:], seeds=["a", "b", "c"])
    assert_same(scan.fill_stream(NETWORK, stream), fill(NETWORK, files))


@pytest.mark.parametrize(
    ("pileup", "text"),
    [
        (-1, "pileup must be known, not -1 (event 7); leave out the category"),
        (80.5, "pileup must be in 20..80, the edges of the bins, not 80.5 (event 7); choose wider edges"),
        (19.5, "pileup must be in 20..80, the edges of the bins, not 19.5 (event 7); choose wider edges"),
        (np.nan, "pileup must be in 20..80, the edges of the bins, not nan (event 7); choose wider edges"),
    ],
)
def test_every_event_has_a_category(tmp_path, pileup, text):
    events = some_events(20, 1, 20)
    events.meta["pileup"][7] = pileup
    path = write_events(tmp_path / "events.h5", events, seeds=["a", "b", "c"])
    assert error(lambda: fill(NETWORK, path, category=EDGES)) == (ValueError, f"{path}: {text}")
    assert fill(NETWORK, path).events == 20


@pytest.mark.parametrize("category", ["pileup", [], [50], [50, 50], [60, 50], [20, np.inf], [[20, 30]]])
def test_categories_that_are_none(category):
    with pytest.raises(ValueError, match="category must be "):
        fill(NETWORK, SAMPLE, category=category)


def test_weights_that_are_no_probabilities(parts, tmp_path):
    _, events = parts
    heavy = replace(events, meta=events.meta | {"weight": np.ones(len(events))})
    path = write_events(tmp_path / "heavy.h5", heavy, seeds=["a", "b", "c"])
    text = r"heavy\.h5: weights must be probabilities per bunch crossing, which sum to 1 in all files together, not to "
    with pytest.raises(ValueError, match=text + r"128; give one complete sample at a time, or"):
        fill(NETWORK, path, threads=1)
    assert fill(NETWORK, path, weighted=False).events == len(events)
    copies = [write_events(tmp_path / f"copy-{i}.h5", events, seeds=["a", "b", "c"]) for i in range(3)]
    for threads in (1, 2):
        with pytest.raises(ValueError, match=r"weights must be probabilities per bunch crossing, .*, not to [23]"):
            fill(NETWORK, copies, threads=threads)


def test_which_events_may_share_collisions(tmp_path):
    events = random_trigger_events(SCHEMA, 6, seed=1)

    def write(name, collision):
        known = events.meta | {"collision": np.array(collision, np.int32)}
        return write_events(tmp_path / name, replace(events, meta=known))

    alone = write("alone.h5", [-1] * 6)
    rising = write("rising.h5", [0, 3, -1, 4, -1, 2**31 - 1])
    same = write("same.h5", [0, 3, -1, 3, -1, 5])
    falling = write("falling.h5", [-1, 3, 2, 4, 5, 6])
    assert may_share_collisions([alone, rising]) is None
    assert may_share_collisions([alone, same, falling]) == same
    assert may_share_collisions(falling) == falling
    assert may_share_collisions(SAMPLE) == SAMPLE
