"""``l1ad rate NETWORK.json``: thresholds of event files, without scores."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from studies import random_trigger_events, small_network, write_events

from l1ad.cli import main
from l1ad.emulate import reference
from l1ad.events.schema import input_columns, load_schema
from l1ad.events.store import concatenate, inputs
from l1ad.trigger import Collider, load_thresholds, working_point

SCHEMA = load_schema()
NETWORK = small_network(input_columns(SCHEMA))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with ``network.json``."""
    monkeypatch.chdir(tmp_path)
    NETWORK.save(tmp_path / "network.json")
    return tmp_path


@pytest.fixture
def events(here):
    """Events of ``part-1.h5`` and ``part-2.h5``."""
    parts = []
    for seed in (1, 2):
        part = random_trigger_events(SCHEMA, 600, seed)
        known = {"weight": part.meta["weight"] / 2, "seeds": np.arange(1200).reshape(600, 2) % 3 == 0}
        parts.append(
            replace(
                part,
                meta=part.meta
                | {name: array.astype("u1") if name == "seeds" else array for name, array in known.items()},
            )
        )
        write_events(here / f"part-{seed}.h5", parts[-1], seeds=["a", "b"], menu="ours")
    return concatenate(parts)


@pytest.fixture
def fails(capsys):
    """Function that runs the verb, which must fail, and returns the one line of its error."""

    def failing(*arguments):
        assert main(["rate", "network.json", *arguments]) == 1
        error = capsys.readouterr().err
        assert re.fullmatch(r"l1ad: error: [^\n]+\n", error), error
        return error.removeprefix("l1ad: error: ").rstrip("\n")

    return failing


def test_thresholds_of_event_files(here, events, capsys):
    arguments = ["--events", "part-1.h5", "part-2.h5", "--khz", "2000", "0.1", "--bunches", "1000"]
    assert main(["rate", "network.json", *arguments, "--out", "new/thresholds.json"]) == 0
    found = load_thresholds(here / "new" / "thresholds.json", NETWORK.digest)
    scores, taken = reference.emulate(NETWORK, inputs(events)), events.meta["seeds"].astype(bool)
    hz = Collider(1000).crossing_rate_hz
    expected = working_point(scores, events.meta["weight"], taken, 2e6, hz, simulated=True)
    point, refused = found.working_points
    assert (found.collider, found.menu, found.simulated) == (Collider(1000), "ours", True)
    assert (point.target_hz, refused.target_hz) == (2e6, 100.0)
    assert point.threshold.raw == expected.threshold.raw
    assert point.pure.value_hz == pytest.approx(expected.pure.value_hz)
    assert refused.refused

    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  score:")]
    assert re.fullmatch(r"part-1.h5, part-2.h5: 1200 events, [0-9.e+]+/s by the emulator .+", lines[0])
    assert lines[1] == "rates: simulated, before dead time, 1000 bunches; pure: ours"
    assert lines[2].split("  ")[0] == "target kHz"
    achieved, pure = point.rate.khz, point.pure.khz
    between = f"{point.threshold.raw_low} .. {point.threshold.raw_high}"
    row = ["2000", str(point.threshold.raw), between, achieved, f"{point.rate.n_effective:.4g}", pure]
    assert re.split("  +", lines[3]) == row
    assert re.match(r"0\.1 +none +refused: n_eff 0 < 25; add events to the tail", lines[4])
    assert lines[5:] == [f"new/thresholds.json: thresholds of network {NETWORK.digest[:12]}"]


@pytest.mark.usefixtures("events")
def test_targets_and_bunches_by_default(here):
    assert main(["rate", "network.json", "--events", "part-*.h5", "--out", "t.json"]) == 0
    found = load_thresholds(here / "t.json", NETWORK.digest)
    assert [point.target_hz for point in found.working_points] == [1e3, 1e4, 1e5]
    assert found.collider == Collider()


@pytest.mark.usefixtures("events")
def test_another_menu(here):
    arguments = ["--events", "part-*.h5", "--out", "t.json", "--khz", "2000", "--menu", "conventional"]
    assert main(["rate", "network.json", *arguments]) == 0
    assert load_thresholds(here / "t.json", NETWORK.digest).menu == "conventional"


def test_shared_collisions_are_said(here, events, capsys):
    shared = replace(events, meta=events.meta | {"collision": np.zeros(len(events), np.int32)})
    write_events(here / "shared.h5", shared, seeds=["a", "b"])
    assert main(["rate", "network.json", "--events", "shared.h5", "--out", "t.json", "--khz", "2000"]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == (
        "shared.h5: events may share collisions, and errors treat them as independent: too small if they do"
    )


@pytest.mark.usefixtures("events")
def test_what_is_wrong_is_said_and_nothing_written(here, fails):
    files = ("--events", "part-1.h5", "part-2.h5")
    assert fails("--events", "none.h5", "--out", "t.json") == (
        "event file must exist, not be missing: none.h5; check the path"
    )
    assert fails("--events", "part-1.h5", "--out", "t.json").startswith("weights must sum to 1 within 0.1, not 0.5; ")
    assert fails("--events", "part-1.h5", "part-1.h5", "--out", "t.json").startswith("a file must be given once")
    assert fails(*files, "--out", "t.json", "--khz", "10", "0") == (
        "target_hz must be positive, not 0.0; ask for a rate in Hz"
    )
    assert fails(*files, "--out", "t.json", "--khz", "50000").startswith(
        "target_hz must be below the rate of the whole"
    )
    assert fails(*files, "--out", "t.json", "--bunches", "0").startswith("colliding_bunches must be from 1 to 3564")
    assert fails(*files, "--out", "t.json", "--menu", "x").startswith("menu must be one of conventional or the path")
    assert fails(*files, "--out", ".") == ".: must be a file to write, not a folder; name a file in it"
    small_network(input_columns(SCHEMA)[::-1]).save(here / "network.json")
    assert fails(*files, "--out", "t.json") == (
        "part-1.h5: none of the selections ['axol1tl'] has the columns that the network reads"
    )
    assert sorted(path.name for path in here.iterdir()) == ["network.json", "part-1.h5", "part-2.h5"]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_count_goes_on(here, capsys, by):
    """A process without a compiler, which takes a while, and the same command again: not a byte differs."""
    n, copies, repository = 10_000, 60, Path(__file__).parents[2]
    events = random_trigger_events(SCHEMA, n, 1)
    events.meta["weight"][:] = 1 / (n * copies)
    first = write_events(here / "part-00.h5", events)
    for i in range(1, copies):
        (here / f"part-{i:02}.h5").hardlink_to(first)
    given = {path.name for path in here.iterdir()}
    command = ["rate", "network.json", "--events", "part-*.h5", "--khz", "2000"]
    assert main([*command, "--out", "whole.json"]) == 0
    assert {path.name for path in here.iterdir()} == given | {"whole.json"}
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match("2000 |rates: ", line)]
    process = subprocess.Popen(
        [sys.executable, "-m", "l1ad.cli", *command, "--out", "t.json"],
        env=os.environ | {"PYTHONPATH": str(repository), "CXX": str(here / "no-compiler")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("  score: ")
    for _ in range(2 if by == signal.SIGINT else 1):  # as `timeout` and impatient people do
        process.send_signal(by)
        time.sleep(0.001)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "l1ad: interrupted; run the same command again to go on\n")
    (counted,) = re.findall(r"^  t\.json\.counted\.npz: (\d+) of 600000 events are counted, and kept$", out, re.M)
    assert n * copies / 5 <= int(counted) < n * copies
    assert {path.name for path in here.iterdir()} == given | {"whole.json", "t.json.counted.npz"}
    assert main([*command, "--out", "t.json"]) == 0
    said = capsys.readouterr().out
    assert f"  t.json.counted.npz: {counted} of 600000 events are counted already\n" in said
    assert f"{n * copies - int(counted)}/{n * copies - int(counted)} " in said
    assert re.search(r"600000 events by the emulator ", said), "a speed would not be that of all events"
    assert [line for line in said.splitlines() if re.match("2000 |rates: ", line)] == lines
    assert (here / "t.json").read_bytes() == (here / "whole.json").read_bytes()
    assert {path.name for path in here.iterdir()} == given | {"whole.json", "t.json"}
