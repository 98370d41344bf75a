"""The C++ compiler: ``$CXX``, ``g++``, ``clang++``, then the ``ziglang`` wheel; and libraries that it makes."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from l1ad.errors import ToolNotFoundError
from l1ad.files import cache_folder, digest, replacing

FLAGS = ("-O3", "-std=c++17", "-w", "-fPIC", "-shared")
"""Of every library."""


def find_compiler() -> str:
    """Command line of a C++ compiler, to be split as a shell does.

    Raises
    ------
    ToolNotFoundError
        If ``$CXX`` names a program that does not exist, or nothing is found.
    """
    chosen = os.environ.get("CXX", "").strip()
    if chosen:
        if shutil.which(shlex.split(chosen)[0]) is None:
            raise ToolNotFoundError(f"C++ compiler: $CXX must name a program on the PATH, not {chosen!r}")
        return chosen
    for name in ("g++", "clang++"):
        if shutil.which(name):
            return name
    if importlib.util.find_spec("ziglang"):
        return shlex.join([sys.executable, "-m", "ziglang", "c++"])
    raise ToolNotFoundError(
        "C++ compiler: none found ($CXX, g++, clang++, ziglang); install one, for instance with `pip install ziglang`"
    )


def library(name: str, sources: Mapping[str, str], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Library of C++, compiled once on each machine, for its plainest processor unless the flags say more.

    Parameters
    ----------
    name : str
        What its file is called in the cache.
    sources : mapping of str to str
        Text of each file by name; the first is compiled, and may include the others.
    flags : sequence of str
        Of the compiler, besides `FLAGS`.

    Raises
    ------
    ToolNotFoundError, RuntimeError
        If there is no compiler, or it fails.
    """
    compiler = find_compiler()
    least: tuple[str, ...] = ("-march=x86-64",) if platform.machine() in ("x86_64", "AMD64") else ()
    if "ziglang" in compiler:
        least = ("-mcpu=baseline",)  # it would take all that this processor has
    command = [*shlex.split(compiler), *FLAGS, *least, *flags]
    path = cache_folder() / "native" / f"{name}-{digest([command, dict(sources), platform.machine()])[:16]}.so"
    if not path.exists():
        with replacing(path) as aside, TemporaryDirectory() as folder:
            for file, text in sources.items():
                Path(folder, file).write_text(text, "utf-8")
            done = subprocess.run(
                [*command, next(iter(sources)), "-o", str(aside.resolve())],
                cwd=folder,
                text=True,
                errors="replace",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            if done.returncode:
                raise RuntimeError(f"library {name}: C++ compilation failed: {done.stdout[:2000]}")
    return ctypes.CDLL(str(path))
