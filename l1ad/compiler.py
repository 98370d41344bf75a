"""The C++ compiler: ``$CXX``, ``g++``, ``clang++``, then the ``ziglang`` wheel."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys

from l1ad.errors import ToolNotFoundError


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
