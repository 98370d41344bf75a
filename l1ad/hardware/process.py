"""A program that is run to its end, or stopped with all that it started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from l1ad.errors import ToolNotFoundError

_WAIT_S = 0.1
"""For a program to say something, before it is looked at whether it has ended or is late."""


class LateError(RuntimeError):
    """A program that was stopped because it took too long."""


def run(
    command: Sequence[str],
    folder: Path,
    log: Path | None,
    timeout_s: float,
    *,
    who: str,
    step: str = "start",
    environment: Mapping[str, str] | None = None,
    hear: Callable[[str], str | None] = lambda _: None,
) -> None:
    """Run a program in a folder; at a timeout, an error or an interrupt it is killed with its children.

    Parameters
    ----------
    command : sequence of str
    folder : Path
    log : Path or None
        Takes all that the program says, as it is said; None if only `hear` is to have it.
    timeout_s : float
    who : str
        What an error begins with: the tool, or what it is run for.
    step : str
        The first step, for errors.
    environment : mapping of str to str
        Variables besides those of this process.
    hear : function of str
        Is given each line; returns the name of the step that begins with it, or None.

    Raises
    ------
    ToolNotFoundError
        If the program cannot be started.
    LateError, RuntimeError
        If it takes longer than `timeout_s`, or fails; the text names the step and the log.
    OSError
        If the log cannot be written.
    """
    error, see = "", "" if log is None else f"; see {log}"
    output = Path(os.devnull if log is None else log)
    environment = {**os.environ, **(environment or {})}
    with output.open("w", buffering=1, encoding="utf-8") as out, _started(command, folder, environment) as process:
        try:
            for line in _lines(process, timeout_s):
                out.write(line)
                step = hear(line) or step
                error = f" ({line.strip()})" if "ERROR" in line else error
        except subprocess.TimeoutExpired:
            raise LateError(
                f"{who}: must end within {timeout_s:g} s, and did not in step {step!r}{see}; raise timeout_s"
            ) from None
        finally:
            _kill(process)
    if process.returncode:
        raise RuntimeError(f"{who}: step {step!r} must end with status 0, not {process.returncode}{error}{see}")


def _started(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its children end with it
        )
    except OSError as error:
        raise ToolNotFoundError(
            f"{command[0]} must be on the PATH, not missing ({error}); install it, or source its settings"
        ) from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _lines(process: subprocess.Popen[bytes], timeout_s: float) -> Iterator[str]:
    """What a program says until it ends or is killed, though children of it may live on and hold the pipe."""
    deadline, late, rest, pipe = time.monotonic() + timeout_s, False, b"", cast(IO[bytes], process.stdout)
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if time.monotonic() >= deadline and process.poll() is None:
                late = True
                _kill(process)
            ended = process.poll() is not None  # asked first: the pipe then has all that it said
            if selector.select(_WAIT_S):
                said = os.read(pipe.fileno(), 1 << 16)
                *lines, rest = (rest + said).split(b"\n")
                yield from (f"{line.decode(errors='replace')}\n" for line in lines)
                if not said:
                    break
            elif ended:
                break
    if rest:
        yield rest.decode(errors="replace")
    if late:
        raise subprocess.TimeoutExpired(process.args, timeout_s)
    process.wait(max(deadline - time.monotonic(), 0))
