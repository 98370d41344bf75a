"""The native code is clean under AddressSanitizer and UndefinedBehaviorSanitizer, on the same kinds of networks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from native_networks import needs

from l1ad.emulate.native import available
from l1ad.emulate.native.library import SETS

SCRIPT = Path(__file__).with_name("native_sanitized.py")


@pytest.fixture(params=SETS)
def isa(request, require):
    require("g++")
    return needs(request.param, require)


def sanitized(*arguments, symbolize=True):
    """The script in a process of its own, into which AddressSanitizer is loaded first."""
    library = Path(
        subprocess.run(
            ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    if not library.is_absolute() or not library.exists():
        pytest.skip("g++ has no libasan.so: the native code is not run under sanitizers here")
    environment = os.environ | {
        "CXX": "g++",
        "PYTHONPATH": os.pathsep.join(str(SCRIPT.parents[i]) for i in (1, 2)),
        "LD_PRELOAD": str(library.resolve()),
        "ASAN_OPTIONS": f"detect_leaks=0:halt_on_error=1:symbolize={symbolize:d}",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def clean(require):
    """What the script says of all instruction sets of this processor, which share the networks and their scores."""
    require("g++")
    require("compiler")
    return sanitized(",".join(isa for isa in SETS if isa in available()))


def test_the_kernel_is_clean_under_sanitizers(isa, clean):
    assert clean.returncode == 0, f"{clean.stdout[-500:]}{clean.stderr[-3000:]}"
    found = re.search(rf"^{isa}: (\d+) networks, (\d+) refused, (\d+) events$", clean.stdout, re.M)
    assert found, clean.stdout
    n_networks, n_refused, n_events = map(int, found.groups())
    assert n_networks >= 200
    assert n_refused <= 2
    assert n_events >= 400_000


def test_an_overrun_is_seen(isa):
    """Or else nothing that the test above says would mean anything."""
    done = sanitized(isa, "overrun", symbolize=False)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "an overrun was not seen" not in done.stderr
