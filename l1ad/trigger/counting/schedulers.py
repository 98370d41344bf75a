"""Where work goes that many processes do: this machine, a dask scheduler at an address, or jobs of a batch system."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from l1ad.documents import decode
from l1ad.emulate.checked import cores
from l1ad.errors import ToolNotFoundError
from l1ad.progress import console

WAIT_SECONDS = 60.0
"""How long a worker may take to appear, but where a batch system queues it."""
AGAIN_SECONDS = 10.0
"""How often it is seen to that there are as many jobs as asked for."""


@dataclass(frozen=True)
class Farm:
    """Table ``[farm]`` of a TOML file: jobs of a batch system, each of which is a worker.

    What else dask-jobqueue can set is set in its own configuration, ``~/.config/dask/jobqueue.yaml``.

    Parameters
    ----------
    batch : "htcondor" or "slurm"
    jobs : int
        How many, at all times: where one ends before the work, another is submitted.
    memory : str
        Of a job, such as ``"4 GB"``.
    cores : int
        Of a job: so many tasks run in it at a time.
    disk : str
        Of a job of HTCondor, which wants to know.
    directives : dict of str to str
        Of the batch system: lines ``key = value`` of HTCondor, options ``--key=value`` of Slurm.
    prologue : tuple of str
        Lines of shell before the worker starts.
    folder : str
        Seen by all machines: for the keys of the connections, while the work lasts, and what the jobs print.
    """

    batch: Literal["htcondor", "slurm"]
    jobs: int
    memory: str
    cores: int = 1
    disk: str = "1 GB"
    directives: dict[str, str] | None = None
    prologue: tuple[str, ...] = ()
    folder: str = "farm"

    def __post_init__(self) -> None:
        for name in ("jobs", "cores"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


def farm_of(path: str | Path) -> Farm:
    """Table ``[farm]`` of a TOML file: of a study, or a file of its own.

    Raises
    ------
    OSError, ValueError
        If there is no such file or table, or something in it is wrong or unknown; the text names file and key.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"--scheduler must be a TOML file with a table [farm], not missing: {path}; check the path"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} must be TOML, not this: {error}") from error
    if "farm" not in tables:
        raise ValueError(f"{path}: must have a table [farm]; see l1ad.trigger.counting.schedulers.Farm")
    return decode(Farm, tables["farm"], f"{path}: farm")


@contextmanager
def _interrupts_left_alone() -> Iterator[None]:
    """dask-jobqueue, when it is first imported, makes of every Ctrl-C an exit without a word."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def cluster_of(farm: Farm) -> Iterator[Any]:
    """The batch farm, a ``dask_jobqueue.JobQueueCluster`` without jobs yet; its ``job_script()`` is what is submitted.

    Connections are encrypted, with keys for this one time: a dask scheduler does whatever it is told by anyone who
    reaches it.

    Raises
    ------
    ToolNotFoundError
        If dask-jobqueue is not installed.
    ValueError
        If dask-jobqueue refuses what it is given.
    """
    with _needed(), _interrupts_left_alone():
        import dask_jobqueue as queues
        from dask import config
        from distributed import Security
    kind = queues.HTCondorCluster if farm.batch == "htcondor" else queues.SLURMCluster
    given = dict(farm.directives or {})
    if farm.batch == "htcondor":
        options: dict[str, Any] = {"disk": farm.disk, "job_extra_directives": given}
    else:  # one line of time, not two
        walltime = given.pop("time", None)
        options = {"walltime": walltime, "job_extra_directives": [f"--{key}={value}" for key, value in given.items()]}
    folder = Path(farm.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    security = Security.temporary()
    with TemporaryDirectory(dir=folder, prefix=".keys-") as keys:  # which nobody else may enter
        for name in ("ca_file", "worker_cert", "worker_key"):
            path = Path(keys, name)
            path.write_text(getattr(security, f"tls_{name}"), encoding="ascii")
            setattr(security, f"tls_{name}", str(path))
        with kind(
            cores=farm.cores,
            processes=1,
            memory=farm.memory,
            job_script_prologue=list(farm.prologue),
            log_directory=str(folder),
            security=security,
            silence_logs=logging.CRITICAL,
            scheduler_options=config.get(f"jobqueue.{farm.batch}.scheduler-options", {})
            | {"dashboard": False, "dashboard_address": ":0"},
            **options,
        ) as cluster:
            yield cluster


@contextmanager
def _needed() -> Iterator[None]:
    """Say how to install what is imported within."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ToolNotFoundError(f"{error.name} must be installed for --scheduler; pip install 'l1ad[farm]'") from error


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """A client of a dask scheduler that has a worker; what was started for it ends with it.

    Parameters
    ----------
    scheduler : str
        ``"local"`` for a process on each core that this one may use, ``"local:N"`` for N of them, an address such as
        ``"tcp://host:8786"``, or the path of a TOML file with a table of `Farm`.

    Raises
    ------
    ToolNotFoundError
        If dask, or the batch system, is not there.
    OSError, ValueError
        If it is none of these, or there is no scheduler, or no worker.
    RuntimeError
        If the batch system refuses the jobs.
    """
    with _needed():
        import cryptography  # noqa: F401 (of which dask makes the keys)
        from distributed import Client
    with ExitStack() as stack:
        cluster: Any = scheduler
        wait: float | None = WAIT_SECONDS
        if "://" not in scheduler and scheduler.endswith(".toml"):
            farm, wait = farm_of(scheduler), None
            cluster = stack.enter_context(_submitted(farm))
            console.print(f"  {farm.jobs} jobs of {farm.batch}: the work starts with the first")
        elif "://" not in scheduler:
            cluster = stack.enter_context(_local(scheduler))
        try:
            client = stack.enter_context(Client(cluster, timeout=WAIT_SECONDS))
        except (OSError, ValueError) as error:
            raise OSError(
                f"scheduler {scheduler} must answer, not this: {error}; `dask scheduler` starts one"
            ) from error
        try:
            client.wait_for_workers(1, timeout=wait)
        except TimeoutError as error:
            raise OSError(
                f"scheduler {scheduler} must have a worker, not none in {WAIT_SECONDS:g} s; `dask worker {scheduler}` "
                "starts one"
            ) from error
        yield client


@contextmanager
def _local(scheduler: str) -> Iterator[Any]:
    """Processes of this machine."""
    from dask import config
    from distributed import LocalCluster

    what, colon, number = scheduler.partition(":")
    if what != "local" or (colon and not (number.isascii() and number.isdigit() and int(number))):
        raise ValueError(
            "--scheduler must be local, local:N for N processes, an address such as tcp://host:8786, or a .toml file "
            f"with a table [farm], not {scheduler!r}"
        )
    with (
        TemporaryDirectory(prefix="l1ad-farm-") as folder,
        config.set({"temporary-directory": folder}),
        LocalCluster(
            n_workers=int(number) if number else cores(),
            threads_per_worker=1,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            preload=["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],  # Ctrl-C is for this process
            security=True,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _submitted(farm: Farm) -> Iterator[Any]:
    """Jobs of a batch system, as many as asked for until the end."""
    with _needed():
        from tornado.ioloop import PeriodicCallback

    program = {"htcondor": "condor_submit", "slurm": "sbatch"}[farm.batch]
    if shutil.which(program) is None:
        raise ToolNotFoundError(f"{program} must be on the PATH to submit jobs; go to a machine of the batch system")
    with cluster_of(farm) as cluster:
        cluster.scale(jobs=farm.jobs)
        cluster.sync(_all_submitted, cluster)
        again = PeriodicCallback(lambda: cluster.scale(jobs=farm.jobs), 1e3 * AGAIN_SECONDS)
        cluster.loop.add_callback(again.start)
        try:
            yield cluster
        finally:
            cluster.loop.add_callback(again.stop)


async def _all_submitted(cluster: Any) -> None:
    """Raises what the batch system says when it refuses."""
    from distributed import Status

    try:
        while len(cluster.workers) < len(cluster.worker_spec):  # `scale` has said so, and does not wait
            await asyncio.sleep(0.1)
        for error in await asyncio.gather(*cluster.workers.values(), return_exceptions=True):
            if isinstance(error, Exception):
                raise error
    except Exception:
        for name, job in list(cluster.workers.items()):
            if job.job_id is None:  # there is nothing to close
                job.status = Status.failed
                del cluster.workers[name]
        raise
