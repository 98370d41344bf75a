import importlib.util
import shutil
import sys

import pytest

from l1ad.compiler import find_compiler
from l1ad.errors import ToolNotFoundError


@pytest.fixture
def machine(monkeypatch):
    """Function that pretends which programs and packages are installed."""
    monkeypatch.delenv("CXX", raising=False)

    def having(*installed):
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in installed else None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)

    return having


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (("g++", "clang++", "ziglang"), "g++"),
        (("clang++", "ziglang"), "clang++"),
        (("ziglang",), f"{sys.executable} -m ziglang c++"),
    ],
)
def test_order(machine, installed, expected):
    machine(*installed)
    assert find_compiler() == expected


def test_cxx_comes_first_with_its_arguments(machine, monkeypatch):
    machine("g++", "ccache")
    monkeypatch.setenv("CXX", "ccache g++ -m64")
    assert find_compiler() == "ccache g++ -m64"


def test_a_path_of_python_with_spaces_is_quoted(machine, monkeypatch):
    machine("ziglang")
    monkeypatch.setattr(sys, "executable", "/my folder/python")
    assert find_compiler() == "'/my folder/python' -m ziglang c++"


def test_a_wrong_cxx_is_not_replaced_by_another(machine, monkeypatch):
    machine("g++")
    monkeypatch.setenv("CXX", "icpc -O2")
    with pytest.raises(ToolNotFoundError, match=r"compiler: \$CXX must name a program on the PATH, not 'icpc -O2'"):
        find_compiler()


def test_nothing_found_says_what_to_install(machine):
    machine()
    with pytest.raises(ToolNotFoundError, match=r"none found \(\$CXX, g\+\+, clang\+\+, ziglang\); install one"):
        find_compiler()


@pytest.mark.parametrize("cxx", ["", " ", "\t"])
def test_a_blank_cxx_does_not_count(machine, monkeypatch, cxx):
    machine("g++")
    monkeypatch.setenv("CXX", cxx)
    assert find_compiler() == "g++"
