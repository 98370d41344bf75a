"""Work of many processes: how it is divided, put together and described; the processes are in the agreement tests."""

import re
import subprocess
import sys

import pytest
from studies import STUDY, random_trigger_events, small_network, write_events, write_study

from l1ad.errors import ToolNotFoundError
from l1ad.events.schema import input_columns, load_schema
from l1ad.study.config import load_study
from l1ad.trigger.counting import farm, schedulers
from l1ad.trigger.counting.schedulers import Farm, cluster_of, connected, farm_of
from l1ad.trigger.samples import UNIT

SCHEMA = load_schema()
NETWORK = small_network(input_columns(SCHEMA))
TABLE = """
[farm]
batch = "slurm"
jobs = 20
cores = 4
memory = "8 GB"
directives = { partition = "short", time = "02:00:00" }
prologue = ["source /shared/venv/bin/activate"]
"""


@pytest.fixture
def events(tmp_path):
    """The path of an event file."""
    return write_events(tmp_path / "events.h5", random_trigger_events(SCHEMA, 20, 1))


def test_a_worker_has_the_same_network_and_version(events, monkeypatch):
    monkeypatch.setattr(farm, "_worker", lambda: "worker 7 on node3")
    document = farm._document(NETWORK)
    job = farm._Job(document, farm.__version__, events, "axol1tl", None, True)
    filler = farm._filler(job)
    assert (filler.network.digest, filler.empty().unit) == (NETWORK.digest, UNIT)
    with pytest.raises(RuntimeError, match=r"worker 7 on node3 must have l1ad 0\.0, not .*; install the same"):
        farm._filler(farm._Job(document, "0.0", events, "axol1tl", None, True))
    changed = document.replace(NETWORK.digest, "0" * 64)
    with pytest.raises(ValueError, match=r"digest must be .*: the file was edited or damaged"):
        farm._filler(farm._Job(changed, farm.__version__, events, "axol1tl", None, True))


def test_a_farm_is_described_in_a_file_of_its_own_or_a_study(tmp_path):
    (tmp_path / "farm.toml").write_text(TABLE)
    expected = Farm(
        batch="slurm",
        jobs=20,
        memory="8 GB",
        cores=4,
        directives={"partition": "short", "time": "02:00:00"},
        prologue=("source /shared/venv/bin/activate",),
    )
    assert farm_of(tmp_path / "farm.toml") == expected
    study = write_study(tmp_path / "study", STUDY + TABLE, n_events=10)
    assert farm_of(study) == load_study(study).config.farm == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[events]", "farm.toml: must have a table [farm]; see l1ad.trigger.counting.schedulers.Farm"),
        ("jobs = ", "farm.toml must be TOML, not this: "),
        (TABLE.replace("jobs", "job"), "farm.toml: farm: unknown key 'job'; did you mean 'jobs'?"),
        (TABLE.replace("20", "0"), "farm.toml: farm: jobs must be at least 1, not 0"),
        (TABLE.replace("= 4", "= -1"), "farm.toml: farm: cores must be at least 1, not -1"),
        (TABLE.replace("slurm", "pbs"), "farm.toml: farm.batch must be one of ('htcondor', 'slurm'), not 'pbs'"),
    ],
)
def test_a_farm_that_is_none(tmp_path, text, said):
    (tmp_path / "farm.toml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        farm_of(tmp_path / "farm.toml")


def test_a_farm_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--scheduler must be a TOML file with a table \[farm\], not missing:"):
        farm_of(tmp_path / "farm.toml")


def script(described):
    with cluster_of(described) as cluster:
        return cluster.job_script().splitlines()


def test_ctrl_c_is_what_it_was(require):
    """In a process of its own, for the module of dask-jobqueue that takes it is imported once."""
    require("dask")
    code = (
        "import signal; from l1ad.trigger.counting.schedulers import Farm, cluster_of\n"
        "if __name__ == '__main__':\n"
        "    with cluster_of(Farm('slurm', 1, '1 GB', 1)): pass\n"
        "    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_jobs_of_slurm(tmp_path, require):
    require("dask")
    folder = tmp_path / "logs"
    lines = script(
        Farm(
            *("slurm", 20, "8 GB", 4),
            directives={"partition": "short", "time": "02:00:00"},
            prologue=("module load x",),
            folder=str(folder),
        )
    )
    for line in ("#SBATCH -n 1", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G", "#SBATCH --partition=short"):
        assert line in lines
    assert [line for line in lines[:-1] if "-t " in line or "time" in line] == ["#SBATCH -t 02:00:00"]
    assert f"#SBATCH -o {folder}/dask-worker-%J.out" in lines
    assert lines.index("module load x") == len(lines) - 2
    worker = lines[-1]
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker tls://")
    assert "--nthreads 4 " in worker
    assert "--nworkers" not in worker
    keys = re.findall(r"--tls-\S+ (\S+)", worker)
    assert len(keys) == 3
    assert all(key.startswith(f"{folder}/.keys-") for key in keys)
    assert not list(folder.iterdir()), "keys last as long as the farm"


def test_jobs_of_htcondor(tmp_path, require):
    require("dask")
    lines = script(
        Farm(
            *("htcondor", 5, "2 GB"),
            disk="3 GB",
            directives={"+MaxRuntime": "3600"},
            prologue=("cd /shared",),
            folder=str(tmp_path),
        )
    )
    for line in (
        "RequestCpus = MY.DaskWorkerCores",
        "MY.DaskWorkerCores = 1",
        "MY.DaskWorkerMemory = 2000000000",
        "MY.DaskWorkerDisk = 3000000000",
        "+MaxRuntime = 3600",
        f"LogDirectory = {tmp_path}",
        "Executable = /bin/sh",
    ):
        assert line in lines
    (arguments,) = [line for line in lines if line.startswith("Arguments = ")]
    assert arguments.startswith(f"Arguments = \"-c 'cd /shared; {sys.executable} -m distributed.cli.dask_worker tls://")
    assert "--nthreads 1 " in arguments


@pytest.mark.parametrize("module", ["cryptography", "distributed"])
def test_dask_that_is_not_installed(events, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ToolNotFoundError, match=rf"{module} must be installed for --scheduler; pip install 'l1ad\[farm\]'"
    ):
        farm.fill(NETWORK, events, "local")


def test_a_batch_system_that_is_not_there(tmp_path, monkeypatch, require):
    require("dask")
    (tmp_path / "farm.toml").write_text(TABLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(
            ToolNotFoundError, match="sbatch must be on the PATH to submit jobs; go to a machine of the batch system"
        ),
        connected(str(tmp_path / "farm.toml")),
    ):
        pass


@pytest.mark.parametrize("scheduler", ["", "locally", "local:", "local:0", "local:-1", "local:x", "local:²", "slurm"])
def test_schedulers_that_are_none(scheduler, require):
    require("dask")
    with pytest.raises(ValueError, match="--scheduler must be local, local:N for N processes, an address"):
        connected(scheduler).__enter__()


def test_an_address_without_a_scheduler(monkeypatch, require):
    require("dask")
    monkeypatch.setattr(schedulers, "WAIT_SECONDS", 0.5)
    for address, text in (
        ("tcp://127.0.0.1:1", r"scheduler tcp://127\.0\.0\.1:1 must answer, not this: .*; `dask scheduler` starts one"),
        ("http:/x://y", "scheduler http:/x://y must answer, not this: .*; `dask scheduler` starts one"),
    ):
        with pytest.raises(OSError, match=text), connected(address):
            pass
