"""Many processes count what one counts, to the last bit, whatever becomes of them."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from same_histograms import assert_same
from studies import random_trigger_events, small_network, write_events

from l1ad.cli import main
from l1ad.events.menu import load_menu
from l1ad.events.schema import input_columns, load_schema
from l1ad.events.store import concatenate
from l1ad.events.stream import EventStream
from l1ad.trigger.counting import checkpoint, farm, scan, schedulers

SCHEMA = load_schema()
NETWORK = small_network(input_columns(SCHEMA))
LENGTHS = (900, 1, 1200)
OPTIONS = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 60}
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster(require):
    """Two processes behind an address, of one thread each."""
    require("dask")
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, **OPTIONS) as cluster:
        yield cluster


@pytest.fixture
def address(cluster):
    cluster.scale(2)
    return cluster.scheduler_address


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Three files of weighted and sorted events, in pieces of 64."""
    monkeypatch.setattr(scan, "PIECE", 64)
    monkeypatch.setattr(farm, "TASK_SECONDS", 0.0)  # one piece a task: many tasks
    for seed, n in enumerate(LENGTHS):
        rng, events = np.random.default_rng(seed), random_trigger_events(SCHEMA, n, seed)
        events.meta["weight"][:] = rng.exponential(1 / sum(LENGTHS), n)
        events.meta["pileup"][:] = rng.choice([20, 30, 50, 79], n)
        events.meta["seeds"] = (rng.random((n, 2)) < 0.2).astype(np.uint8)
        write_events(tmp_path / f"part-{seed}.h5", events, seeds=["a", "b"])
    return tmp_path / "part-*.h5"


def error(function):
    with pytest.raises((OSError, ValueError)) as raised:
        function()
    return type(raised.value), str(raised.value)


def at(monkeypatch, wanted, action):
    """Do something when so many tasks are done."""
    done = []

    class Progress:
        def advance(self, amount):
            done.append(amount)
            if len(done) == wanted:
                action()

    @contextmanager
    def task(_label, _total):
        yield Progress()

    monkeypatch.setattr(farm, "task", task)
    return done


@pytest.mark.parametrize("category", [None, "taken", load_menu(), [20, 40, 80]], ids=["one", "taken", "menu", "pileup"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_histogram_is_that_of_one_process(address, parts, category, weighted):
    expected = scan.fill(NETWORK, parts, category=category, weighted=weighted)
    assert_same(farm.fill(NETWORK, parts, address, category=category, weighted=weighted), expected)


def test_tasks_grow_with_the_speed_and_shrink_at_the_end(address, parts, monkeypatch):
    monkeypatch.setattr(farm, "TASK_SECONDS", 60.0)
    done = at(monkeypatch, -1, None)
    assert_same(farm.fill(NETWORK, parts, address), scan.fill(NETWORK, parts))
    assert sum(done) == sum(LENGTHS)
    assert max(done) > 4 * 64
    assert min(done[-4:]) <= 64
    assert len(done) < 15 + 1 + 19


def test_killed_workers_lose_and_change_nothing(cluster, address, parts, monkeypatch):
    """Each in its turn, midway and without a word to dask, which starts others."""
    expected, killed = scan.fill(NETWORK, parts, category="taken"), []

    def kill():
        killed.append(cluster.workers[len(killed)].pid)
        os.kill(killed[-1], signal.SIGKILL)

    for _ in range(2):
        done = at(monkeypatch, 8, kill)
        assert_same(farm.fill(NETWORK, parts, address, category="taken"), expected)
        assert sum(done) == sum(LENGTHS)
        assert len(done) == 15 + 1 + 19
    deadline = time.monotonic() + 60
    while any(worker.pid in (None, *killed) for worker in cluster.workers.values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_events_that_kill_workers_are_named(address, parts, monkeypatch):
    def deadly(_job, _pieces):
        os.kill(os.getpid(), 9)

    monkeypatch.setattr(farm, "_count", deadly)
    text = r"workers died \d times while they counted between .*part-\d\.h5, event \d+, and .*part-\d\.h5, event \d+; "
    with pytest.raises(RuntimeError, match=text + "look at what they print, and give them more memory"):
        farm.fill(NETWORK, parts, address)


def test_an_error_is_that_of_one_process(address, parts, tmp_path):
    """Damage in a packed chunk, events without a category; of two files, the first."""
    for name in ("part-2.h5", "part-0.h5"):
        with h5py.File(tmp_path / name) as file:
            place = file["eg/pt"].id.get_chunk_info(0).byte_offset + 40
        content = bytearray((tmp_path / name).read_bytes())
        content[place] ^= 255
        (tmp_path / name).write_bytes(content)
        text = rf"{tmp_path}/{name}: events 0\.\.\d+ must be readable \(.* not the checksum .*\); copy the file again"
        for fill in (lambda: farm.fill(NETWORK, parts, address), lambda: scan.fill(NETWORK, parts, threads=1)):
            with pytest.raises(OSError, match=text):
                fill()
    one = tmp_path / "part-1.h5"
    assert error(lambda: farm.fill(NETWORK, one, address, category=[100, 110])) == error(
        lambda: scan.fill(NETWORK, one, category=[100, 110])
    )


def test_errors_come_from_python_with_the_worker(address, parts):
    with pytest.raises(ValueError, match="pileup must be in") as raised:
        farm.fill(NETWORK, parts, address, category=[100, 110])
    assert re.match(r"of worker \d on \S+$", raised.value.__notes__[0])


def test_weights_that_are_no_probabilities(address, tmp_path):
    events = random_trigger_events(SCHEMA, 50, 1)
    for i in range(3):
        write_events(tmp_path / f"copy-{i}.h5", events)
    text = r"weights must be probabilities per bunch crossing, which sum to 1 in all files together, not to [23];"
    with pytest.raises(ValueError, match=text):
        farm.fill(NETWORK, tmp_path / "copy-*.h5", address)


def test_a_file_that_workers_do_not_see_or_see_otherwise(address, parts, tmp_path):
    stream = EventStream(parts, columns=(), meta=())
    last = tmp_path / "part-2.h5"
    last.rename(tmp_path / "away.h5")
    text = rf"{last}: must be seen by all workers, not be missing for worker \d on \S+; put it on a file system that "
    with pytest.raises(FileNotFoundError, match=text):
        farm.fill_stream(NETWORK, stream, scheduler=address)
    write_events(last, random_trigger_events(SCHEMA, 1200, 7), sample="another of this name")
    for fill in (
        lambda: farm.fill_stream(NETWORK, stream, scheduler=address),
        lambda: scan.fill_stream(NETWORK, stream),
    ):
        assert error(fill) == (
            OSError,
            f"{last}: must be the file that was there at the start, not another; start again",
        )


def test_relative_paths_are_those_of_the_caller(address, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_same(farm.fill(NETWORK, parts.name, address), scan.fill(NETWORK, parts))


def test_a_scheduler_without_workers_and_one_that_goes_away(parts, tmp_path, monkeypatch, require):
    """What had come in is not counted again."""
    require("dask")
    from distributed import LocalCluster

    monkeypatch.setattr(schedulers, "WAIT_SECONDS", 1.0)
    kept, stream = tmp_path / "t.json.counted.npz", EventStream(parts, columns=(), meta=())
    with LocalCluster(n_workers=0, **OPTIONS) as cluster:
        with pytest.raises(OSError, match=r"must have a worker, not none in 1 s; `dask worker tcp://.*` starts one"):
            farm.fill(NETWORK, parts, cluster.scheduler_address)
        cluster.scale(1)
        cluster.wait_for_workers(1)
        monkeypatch.setattr(schedulers, "WAIT_SECONDS", 3.0)  # for as long, a lost scheduler is awaited too
        at(monkeypatch, 5, cluster.close)
        with pytest.raises(
            ConnectionError, match="the scheduler must be there until the end, and was lost; start again"
        ):
            farm.fill_stream(NETWORK, stream, scheduler=cluster.scheduler_address, kept=kept)
    read, take = [], scan.Filler.take
    monkeypatch.setattr(scan.Filler, "take", lambda *given: read.append(given[-1]) or take(*given))
    assert_same(scan.fill_stream(NETWORK, stream, kept=kept), scan.fill_stream(NETWORK, stream))
    assert len(read) - (15 + 1 + 19) <= 15 + 1 + 19 - 5


def test_the_command_line_with_local_processes(parts, tmp_path, monkeypatch, capsys, require):
    require("dask")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    NETWORK.save("network.json")
    arguments = ["rate", "network.json", "--events", parts.name, "--khz", "2000", "0.1"]
    assert main([*arguments, "--out", "one.json"]) == 0
    expected = [
        line for line in capsys.readouterr().out.splitlines() if not re.match("  score:|.*events, |one.json", line)
    ]
    assert main([*arguments, "--out", "many.json", "--scheduler", "local:2"]) == 0
    captured = capsys.readouterr()
    assert [line for line in captured.out.splitlines() if line in expected] == expected
    assert captured.err == ""
    assert Path("many.json").read_text() == Path("one.json").read_text()
    assert not list((tmp_path / "scratch").iterdir())
    assert main([*arguments, "--out", "none.json", "--scheduler", "remote"]) == 1
    assert capsys.readouterr().err.startswith("l1ad: error: --scheduler must be local, local:N for N processes, an")
    assert not Path("none.json").exists()


def interrupted_at(monkeypatch, wanted):
    """Ctrl-C when so many tasks are done."""

    def interrupt():
        raise KeyboardInterrupt

    return at(monkeypatch, wanted, interrupt)


@pytest.mark.parametrize("wanted", [1, 12, 35])
def test_one_process_goes_on_where_many_were_interrupted(address, parts, tmp_path, monkeypatch, wanted):
    kept, stream = tmp_path / "t.json.counted.npz", EventStream(parts, columns=(), meta=())
    expected = scan.fill_stream(NETWORK, stream, "taken")
    done = interrupted_at(monkeypatch, wanted)
    with pytest.raises(KeyboardInterrupt):
        farm.fill_stream(NETWORK, stream, "taken", scheduler=address, kept=kept)
    assert len(done) == wanted
    read, take = [], scan.Filler.take
    monkeypatch.setattr(scan.Filler, "take", lambda *given: read.append(given[-1]) or take(*given))
    assert_same(scan.fill_stream(NETWORK, stream, "taken", kept=kept), expected)
    assert len(read) == len(set(read)) == 15 + 1 + 19 - wanted
    assert sum(map(len, read)) == sum(LENGTHS) - sum(done)


def test_many_go_on_where_one_was_interrupted(address, parts, tmp_path, monkeypatch):
    kept, stream = tmp_path / "t.json.counted.npz", EventStream(parts, columns=(), meta=())
    expected = scan.fill_stream(NETWORK, stream, [20, 40, 80])
    with monkeypatch.context() as patch:
        counted, take = [], scan.Filler.take

        def crash(filler, histogram, file, piece):
            if len(counted) == 12:
                raise RuntimeError("crash")
            counted.append(piece)
            return take(filler, histogram, file, piece)

        patch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
        patch.setattr(scan.Filler, "take", crash)
        with pytest.raises(RuntimeError, match="crash"):
            scan.fill_stream(NETWORK, stream, [20, 40, 80], threads=1, kept=kept)
    for wanted in (3, 5):
        done = interrupted_at(monkeypatch, wanted)
        with pytest.raises(KeyboardInterrupt):
            farm.fill_stream(NETWORK, stream, [20, 40, 80], scheduler=address, kept=kept)
        assert len(done) == wanted
    done = at(monkeypatch, -1, None)
    assert_same(farm.fill_stream(NETWORK, stream, [20, 40, 80], scheduler=address, kept=kept), expected)
    assert len(done) == 15 + 1 + 19 - 12 - 3 - 5
    assert_same(farm.fill_stream(NETWORK, stream, [20, 40, 80], scheduler="tcp://nobody:1", kept=kept), expected)


def test_ctrl_c_leaves_nothing_but_what_is_counted(tmp_path, monkeypatch, capsys, require):
    """For all processes of the terminal, while they count without a compiler, which takes a while; one goes on."""
    require("dask")
    n, copies = 30_000, 60
    events = concatenate([random_trigger_events(SCHEMA, n, 1)])
    events.meta["weight"][:] = 1 / (n * copies)
    first = write_events(tmp_path / "part-0.h5", events)
    for i in range(1, copies):
        (tmp_path / f"part-{i}.h5").hardlink_to(first)
    NETWORK.save(tmp_path / "network.json")
    (tmp_path / "scratch").mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "l1ad.cli", "rate", "network.json", "--events", "part-*.h5"),
            *("--out", "thresholds.json", "--scheduler", "local:2"),
        ],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path / "scratch"), "CXX": str(tmp_path / "no-compiler")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline().startswith("  score: ")
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "l1ad: interrupted; run the same command again to go on\n")
    assert not list((tmp_path / "scratch").iterdir())
    given = {"network.json", "scratch", *(f"part-{i}.h5" for i in range(copies))}
    assert {path.name for path in tmp_path.iterdir()} - given == {"thresholds.json.counted.npz"}
    deadline = time.monotonic() + 30
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.1)
    monkeypatch.chdir(tmp_path)
    command = ["rate", "network.json", "--events", "part-*.h5", "--khz", "2000", "--out"]
    assert main([*command, "thresholds.json"]) == 0
    assert f" of {n * copies} events are counted already" in capsys.readouterr().out
    assert main([*command, "whole.json"]) == 0
    assert Path("thresholds.json").read_bytes() == Path("whole.json").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} - given == {"thresholds.json", "whole.json"}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of a batch system that runs its jobs here, at once; a table that describes it."""
    commands = {
        "sbatch": f'cp "$1" "{tmp_path}/job-$$"; setsid sh "{tmp_path}/job-$$" >{tmp_path}/log-$$ 2>&1 </dev/null &\n'
        f'echo "$!" >> {tmp_path}/jobs; echo "Submitted batch job $!"',
        "scancel": 'kill -9 -- "-$1"',
    }
    (tmp_path / "bin").mkdir()
    for name, text in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    table = tmp_path / "farm.toml"
    table.write_text(
        f'[farm]\nbatch = "slurm"\njobs = 1\nmemory = "2 GB"\nfolder = "{tmp_path}/farm"\n'
        f'prologue = ["export PYTHONPATH={REPOSITORY}"]\n'
    )
    return table


def test_jobs_that_end_are_submitted_again(slurm, parts, tmp_path, monkeypatch, require):
    require("dask")
    from dask import config

    def jobs():
        return [int(line) for line in (tmp_path / "jobs").read_text().split()]

    monkeypatch.setattr(schedulers, "AGAIN_SECONDS", 0.5)
    done = at(monkeypatch, 8, lambda: os.killpg(jobs()[0], signal.SIGKILL))
    with config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        assert_same(farm.fill(NETWORK, parts, str(slurm)), scan.fill(NETWORK, parts))
    assert sum(done) == sum(LENGTHS)
    assert len(jobs()) == 2
    assert not [path for path in (tmp_path / "farm").iterdir() if path.name.startswith(".")], "keys are left"


def test_jobs_that_are_refused(slurm, parts, tmp_path, require):
    require("dask")
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid account >&2; exit 1\n")
    with pytest.raises(RuntimeError, match=r"sbatch: error: invalid account"):
        farm.fill(NETWORK, parts, str(slurm))
