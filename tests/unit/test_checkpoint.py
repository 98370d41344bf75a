"""Counts that are interrupted and go on: the same bits, nothing read twice, nothing of anything else."""

import os
import signal
import threading
import time
from concurrent import futures
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from same_histograms import assert_same
from studies import random_trigger_events, small_network, write_events

from l1ad.emulate import Histogram
from l1ad.events.menu import load_menu, seed_of_name
from l1ad.events.schema import input_columns, load_schema
from l1ad.events.stream import EventStream
from l1ad.operations import Dot
from l1ad.trigger.counting import checkpoint, scan
from l1ad.trigger.counting.checkpoint import Count, Part

SCHEMA = load_schema()
NETWORK = small_network(input_columns(SCHEMA))
MENU = load_menu()
LENGTHS = (300, 1, 500)
PIECES = 5 + 1 + 8


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Pattern of three files of weighted and sorted events, in pieces of 64."""
    monkeypatch.setattr(scan, "PIECE", 64)
    for seed, n in enumerate(LENGTHS):
        rng, events = np.random.default_rng(seed), random_trigger_events(SCHEMA, n, seed)
        known = {
            "weight": rng.exponential(1 / sum(LENGTHS), n),
            "pileup": rng.choice([20, 30, 50, 79], n).astype(np.float32),
            "seeds": (rng.random((n, 2)) < 0.2).astype(np.uint8),
        }
        write_events(tmp_path / f"part-{seed}.h5", replace(events, meta=events.meta | known), seeds=["a", "b"])
    return tmp_path / "part-*.h5"


@pytest.fixture
def kept(tmp_path):
    """Path of what is kept."""
    return tmp_path / "t.json.counted.npz"


@pytest.fixture
def always(monkeypatch):
    """Keep what is counted after each piece that a thread takes."""
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)


@pytest.fixture
def taken(monkeypatch):
    """The pieces that are read, as they are begun; what stands in `at` is called with their number before."""
    lock, take = threading.Lock(), scan.Filler.take

    class Taken(list):
        at = staticmethod(lambda _: None)

    read = Taken()

    def noted(filler, histogram, file, piece):
        with lock:
            read.append(piece)
            number = len(read)
        read.at(number)
        return take(filler, histogram, file, piece)

    monkeypatch.setattr(scan.Filler, "take", noted)
    return read


def count(files, kept=None, category=None, weighted=True, threads=1, network=NETWORK):
    stream = EventStream(files, columns=(), meta=())
    return scan.fill_stream(network, stream, category, weighted=weighted, threads=threads, kept=kept)


def interrupt_at(monkeypatch, taken, number):
    """Ctrl-C, once, when so many pieces are begun; of others, as many as there are other threads may be."""
    begun, known = threading.Event(), threading.Event()

    def at(now):
        if now >= number:
            begun.set()
            assert known.wait(30)

    def interrupted(*_, **__):
        monkeypatch.setattr(scan, "wait", again)
        assert begun.wait(30)
        raise KeyboardInterrupt

    def again(working, **options):
        monkeypatch.setattr(scan, "wait", futures.wait)
        known.set()
        return futures.wait(working, **options)

    taken.at = at
    monkeypatch.setattr(scan, "wait", interrupted)


def crash_at(taken, number):
    """An error, once."""

    def crash(now):
        if now == number:
            taken.at = lambda _: None
            raise RuntimeError("crash")

    taken.at = crash


@pytest.mark.parametrize("weighted", [True, False])
def test_bins_that_hold_events_add_up_to_all(rng, weighted):
    """Against `Histogram.add`; squares and cubes of weights overflow the lower 64 bits."""
    parts = []
    for n in (300, 1, 0, 40):
        part = Histogram("d", -50, 4000, 3, 1.0 if weighted else None)
        weight = rng.integers(0, 2**40, n).astype(float) if weighted else None
        parts.append(part.fill(rng.integers(-50, 4000, n), rng.integers(0, 3, n), weight))
    expected, found = parts[0].empty(), parts[0].empty()
    for part in parts:
        before = deepcopy(part)
        held = Part.of(part)
        held.add_to(found)
        expected.add(part)
        assert len(held.bins) <= part.events
        assert_same(part, before)
    assert_same(found, expected)
    assert found.events == 341
    assert not weighted or (expected.squares[..., 1].any() and expected.cubes[..., 1].any())


def test_a_histogram_of_another_network_is_refused():
    with pytest.raises(ValueError, match="histograms must have the same digest, not d and e"):
        Part.of(Histogram("e", 0, 9).fill([3])).add_to(Histogram("d", 0, 9))


@pytest.mark.parametrize(
    ("category", "weighted"),
    [(None, False), (None, True), ("taken", True), (MENU, True), ((20, 40, 80), False)],
    ids=["one", "weighted", "taken", "menu", "pileup"],
)
@pytest.mark.parametrize(("threads", "number"), [(1, 1), (1, 7), (3, 9)])
def test_ctrl_c_loses_nothing_that_was_begun(
    files, kept, taken, monkeypatch, capsys, category, weighted, threads, number
):
    options = {"category": category, "weighted": weighted, "threads": threads}
    expected = count(files, **options)
    del taken[:]
    interrupt_at(monkeypatch, taken, number)
    with pytest.raises(KeyboardInterrupt):
        count(files, kept, **options)
    n = sum(map(len, taken))
    assert number <= len(taken) < PIECES
    assert f"t.json.counted.npz: {n} of 801 events are counted, and kept" in capsys.readouterr().out
    assert_same(count(files, kept, **options), expected)
    assert f"t.json.counted.npz: {n} of 801 events are counted already" in capsys.readouterr().out
    assert len(taken) == len(set(taken)) == PIECES


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("number", [1, 2, 6, PIECES])
@pytest.mark.usefixtures("always")
def test_after_a_crash_what_was_kept_is_not_read_again(files, kept, taken, threads, number):
    expected = count(files, category="taken")
    del taken[:]
    crash_at(taken, number)
    with pytest.raises(RuntimeError, match="crash"):
        count(files, kept, "taken", threads=threads)
    before = (number - 1) // threads * threads  # whole laps
    del taken[:]
    assert_same(count(files, kept, "taken", threads=2), expected)
    assert len(taken) == len(set(taken)) == PIECES - before
    taken.at = lambda _: pytest.fail("all pieces are counted")
    assert kept.exists()
    assert_same(count(files, kept, "taken"), expected)


@pytest.mark.usefixtures("always")
def test_a_process_that_is_killed_has_kept_its_laps(files, kept, taken, monkeypatch):
    """Nobody is told of its end."""
    expected = count(files)
    with monkeypatch.context() as patch:
        patch.setattr(Count, "_end", lambda *_, **__: None)
        crash_at(taken, len(taken) + 5)
        with pytest.raises(RuntimeError, match="crash"):
            count(files, kept)
    del taken[:]
    assert_same(count(files, kept), expected)
    assert len(taken) == PIECES - 4


def test_interrupted_again_and_again(files, kept, taken, monkeypatch):
    expected, ends = count(files), 0
    del taken[:]
    while True:
        interrupt_at(monkeypatch, taken, len(taken) + 3)
        if len(taken) > PIECES - 4:
            break
        with pytest.raises(KeyboardInterrupt):
            count(files, kept, threads=1 + ends % 2)
        ends += 1
    monkeypatch.setattr(scan, "wait", futures.wait)
    taken.at = lambda _: None
    assert ends >= 2
    assert_same(count(files, kept), expected)
    assert len(taken) == len(set(taken)) == PIECES


def test_what_takes_no_time_is_not_kept(files, kept, taken):
    count(files, kept)
    assert not kept.exists()
    crash_at(taken, len(taken) + 1)
    with pytest.raises(RuntimeError, match="crash"):
        count(files, kept)
    assert not kept.exists(), "nothing was counted"


@pytest.fixture
def half(files, kept, taken, monkeypatch):
    """What is kept of a count by decisions in the files, interrupted."""
    interrupt_at(monkeypatch, taken, 8)
    with pytest.raises(KeyboardInterrupt):
        count(files, kept, "taken")
    assert 8 <= len(taken) < PIECES
    del taken[:]
    taken.at = lambda _: None
    return kept


def of_another_score():
    score = NETWORK.score
    assert isinstance(score, Dot)
    return replace(
        NETWORK, operations=(*NETWORK.operations[:-1], replace(score, out=replace(score.out, rounding="RND")))
    )


MORE_SEEDS = replace(MENU, seeds=(*MENU.seeds, seed_of_name("L1_SingleJet30")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": of_another_score()}, "another network"),
        ({"category": MENU}, "another menu or set of pileup bins"),
        ({"category": (20, 80)}, "another menu or set of pileup bins"),
        ({"category": None}, "another menu or set of pileup bins"),
        ({"weighted": False}, "another unit of the weights"),
    ],
)
def test_what_is_of_something_else_is_replaced(files, half, taken, capsys, change, said):
    options = {"category": "taken"} | change
    before = half.read_bytes()
    expected = count(files, **options)
    capsys.readouterr(), taken.clear()
    crash_at(taken, 1)
    with pytest.raises(RuntimeError, match="crash"):
        count(files, half, **options)
    assert half.read_bytes() == before, "nothing is there that could replace it"
    taken.clear()
    assert_same(count(files, half, **options), expected)
    assert len(taken) == PIECES
    text = f"{half} is of {said}: all events are counted anew, and it is replaced"
    assert capsys.readouterr().out.count(text) == 2


def test_a_menu_is_its_seeds_and_not_its_name(files, kept, taken, monkeypatch):
    interrupt_at(monkeypatch, taken, 8)
    with pytest.raises(KeyboardInterrupt):
        count(files, kept, MENU)
    expected = count(files, category=MORE_SEEDS)
    assert expected.counts[1].sum() > count(files, category=MENU).counts[1].sum()
    taken.clear()
    assert_same(count(files, kept, MORE_SEEDS), expected)
    assert len(taken) == PIECES


def test_another_version_counts_anew(files, half, taken, monkeypatch):
    monkeypatch.setattr(checkpoint, "__version__", "0.0")
    assert_same(count(files, half, "taken"), count(files, category="taken"))
    assert len(taken) == 2 * PIECES


@pytest.mark.parametrize("what", ["other weights", "fewer", "gone"])
def test_changed_events_are_never_mixed_in(files, half, taken, capsys, what):
    """Of a file that was counted, others of its name, length and story."""
    path = files.parent / "part-0.h5"
    events = EventStream(path, size=1000)
    (block,) = events
    if what == "gone":
        path.unlink()
    else:
        weights = block.meta["weight"][::-1].copy() if what == "other weights" else block.meta["weight"]
        block = replace(block, meta=block.meta | {"weight": weights})[: 300 if what == "other weights" else 299]
        write_events(path, block, seeds=["a", "b"])
    expected = count(files, category="taken")
    taken.clear()
    assert_same(count(files, half, "taken"), expected)
    assert len(taken) == PIECES - 5 * (what == "gone")
    assert f"{half} is of other files, or some were written anew since: all" in capsys.readouterr().out


def test_files_that_are_added_or_not_counted_yet_may_be_others(files, half, taken):
    """What is counted is in place: it goes on, in any order."""
    (block,) = EventStream(files.parent / "part-1.h5")
    write_events(files.parent / "part-3.h5", block, seeds=["a", "b"])
    stream = [files.parent / f"part-{i}.h5" for i in (3, 0, 2, 1)]
    expected = count(stream, category="taken")
    taken.clear()
    assert_same(count(stream, half, "taken"), expected)
    assert 0 < len(taken) <= PIECES + 1 - 8


def test_what_is_damaged_is_counted_anew(files, half, taken, capsys):
    """Cut short anywhere, or with a byte that is wrong: it is noticed, or does not matter."""
    _, pieces = scan.planned(NETWORK, EventStream(files, columns=(), meta=()), "taken")

    def begun():
        return scan.begun(NETWORK, "axol1tl", pieces, "taken", half, weighted=True)

    before, whole, rng = begun(), half.read_bytes(), np.random.default_rng(1)
    assert 0 < before.whole.events < sum(LENGTHS)
    cut = [whole[:n] for n in (0, 1, 4, 100, len(whole) // 2, len(whole) - 1)]
    cases = [*cut, b"text\n" * 50]
    for at in [*range(0, 100, 5), *rng.integers(0, len(whole), 60), *range(len(whole) - 300, len(whole), 7)]:
        cases.append(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :])
    noticed = 0
    for number, content in enumerate(cases):
        half.write_bytes(content)
        capsys.readouterr()
        found, said = begun(), capsys.readouterr().out
        if "counted anew, and it is replaced" in said:
            noticed += 1
            assert found.todo == tuple(pieces)
            assert_same(found.whole, before.whole.empty())
        else:
            assert found.todo == before.todo
            assert_same(found.whole, before.whole)
        if number < len(cut) + 1:
            assert f"{half} is damaged (" in said
    assert noticed > len(cases) / 2
    half.write_bytes(cut[-1])
    assert_same(count(files, half, "taken"), count(files, category="taken"))
    assert len(taken) == 2 * PIECES


def test_what_its_archive_does_not_notice(files, half, taken, capsys):
    """Events and pieces that do not belong together, bins that are not there."""
    with np.load(half) as file:
        arrays = dict(file)
    expected = count(files, category="taken")
    for change in (
        {"done": arrays["done"][1:]},
        {"bins": arrays["bins"] + 10**9},
        {"counts": arrays["counts"][1:]},
        {"counts": arrays["counts"].astype(float)},
    ):
        np.savez(half, **arrays | change)
        taken.clear()
        assert_same(count(files, half, "taken"), expected)
        assert len(taken) == PIECES
        assert f"{half} is damaged (" in capsys.readouterr().out


def test_an_interrupt_while_adding_keeps_what_was_there_before(files, half, monkeypatch):
    """Counts would be in, and weights not."""
    before, add_to = half.read_bytes(), Part.add_to
    expected = count(files, category="taken")

    def interrupted(part, whole):
        if whole.events:
            whole.counts.reshape(-1)[part.bins] += part.histogram.counts
            raise KeyboardInterrupt
        add_to(part, whole)

    with monkeypatch.context() as patch:
        patch.setattr(Part, "add_to", interrupted)
        with pytest.raises(KeyboardInterrupt):
            count(files, half, "taken")
    assert half.read_bytes() == before
    assert_same(count(files, half, "taken"), expected)


def test_a_second_interrupt_ends_at_once_and_keeps_what_was_there(files, half, monkeypatch):
    before = half.read_bytes()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(scan, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        count(files, half, "taken")
    assert half.read_bytes() == before


def test_nothing_interrupts_the_keeping(files, kept, monkeypatch):
    _, pieces = scan.planned(NETWORK, EventStream(files, columns=(), meta=()), None)
    part = Part.of(scan.empty(NETWORK, None, weighted=False).fill(np.full(64, 5)))
    save = Count._save

    def interrupted(counting):
        os.kill(os.getpid(), signal.SIGINT)
        save(counting)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Count, "_save", interrupted)

    def work():
        with scan.begun(NETWORK, "axol1tl", pieces, None, kept, weighted=False) as counting:
            counting.add([part], pieces[:1])
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert scan.begun(NETWORK, "axol1tl", pieces, None, kept, weighted=False).whole.events == 64


def test_a_part_must_hold_its_pieces(files):
    _, pieces = scan.planned(NETWORK, EventStream(files, columns=(), meta=()), None)
    counting = scan.begun(NETWORK, "axol1tl", pieces, None, None, weighted=False)
    part = Part.of(scan.empty(NETWORK, None, weighted=False).fill(np.full(63, 5)))
    with pytest.raises(RuntimeError, match="pieces of 64 events must be counted whole, not 63 of them; report this"):
        counting.add([part], pieces[:1])


@pytest.mark.usefixtures("always")
def test_where_nothing_can_be_kept(files, kept):
    kept.mkdir()
    with pytest.raises(IsADirectoryError, match=r"counted\.npz: must be a file to write, not a folder"):
        count(files, kept)
