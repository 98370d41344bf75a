"""The kernel, compiled once on each machine for the instruction sets that its processor has."""

from __future__ import annotations

import ctypes
import platform
import shlex
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from l1ad.compiler import find_compiler
from l1ad.emulate.native.plan import Abilities
from l1ad.files import cache_folder, digest, replacing

FLAGS = ("-O3", "-std=c++17", "-w", "-fPIC", "-shared")
_BW = ("-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
SETS = {
    "avx512vnni": ((*_BW, "-mavx512vnni"), Abilities(byte_dots=256)),
    "avx512bw": (_BW, Abilities(byte_dots=128)),
    "avx2": (("-mavx2", "-mfma"), Abilities(byte_dots=128)),
    "portable": ((), Abilities(byte_dots=0)),
}
"""Instruction sets of this kind of processor, best first: the compiler's flags, and what the set does well."""
if platform.machine() in ("aarch64", "arm64"):
    SETS = {"neon": ((), Abilities(byte_dots=128))}
_HERE = Path(__file__).parent
_PROBE = """
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
extern "C" void l1ad_sets(char *to) { // __builtin_cpu_supports of zig knows of nothing
    unsigned a, b, c, d, low, high, fma, b7 = 0, c7 = 0;
    __get_cpuid(1, &a, &b, &fma, &d);
    if (fma & 1u << 27) // the system saves registers, of which size?
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    else
        low = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        b7 = b, c7 = c;
    const bool avx2 = (low & 6) == 6 && fma & 1u << 12 && b7 & 1u << 5;
    const bool bw = avx2 && (low & 0xe6) == 0xe6 && b7 & 1u << 16 && b7 & 1u << 17 && b7 & 1u << 30 && b7 & 1u << 31;
    to[0] = 0;
    std::strcat(to, bw && c7 & 1u << 11 ? "avx512vnni " : "");
    std::strcat(to, bw ? "avx512bw " : "");
    std::strcat(to, avx2 ? "avx2 " : "");
    std::strcat(to, "portable");
}
#elif defined(__aarch64__)
extern "C" void l1ad_sets(char *to) { std::strcpy(to, "neon"); }
#else
extern "C" void l1ad_sets(char *to) { std::strcpy(to, "portable"); }
#endif
"""


@cache
def available() -> tuple[str, ...]:
    """Instruction sets that the kernel can use on this processor, best first.

    Raises
    ------
    ToolNotFoundError, RuntimeError
        If there is no C++ compiler, or it fails.
    """
    probe = _compiled("sets", {"sets.cpp": _PROBE}, ())
    said = ctypes.create_string_buffer(100)
    probe.l1ad_sets(said)
    return tuple(said.value.decode().split())


@cache
def code_digest() -> str:
    """Identity of all that makes native scores: the kernel, its compiler, and what plans for it."""
    texts = {path.name: path.read_text("utf-8") for path in sorted(_HERE.iterdir()) if path.is_file()}
    return digest([texts, find_compiler(), FLAGS])


def _sources() -> dict[str, str]:
    return {name: (_HERE / name).read_text("utf-8") for name in ("kernel.cpp", "simd.h")}


@cache
def kernel(isa: str) -> ctypes.CDLL:
    """The kernel for an instruction set of `SETS`; raises as `available` does."""
    library = _compiled(isa, _sources(), SETS[isa][0])
    library.l1ad_run.restype = ctypes.c_int64
    library.l1ad_run.argtypes = (*[ctypes.c_void_p] * 2, ctypes.c_int64, *[ctypes.c_void_p] * 4)
    return library


def _compiled(name: str, sources: dict[str, str], flags: tuple[str, ...]) -> ctypes.CDLL:
    """Library of the first of `sources`, from the cache if it is there."""
    compiler = find_compiler()
    least: tuple[str, ...] = ("-march=x86-64",) if platform.machine() in ("x86_64", "AMD64") else ()
    if "ziglang" in compiler:
        least = ("-mcpu=baseline",)  # it would take all that this processor has
    command = [*shlex.split(compiler), *FLAGS, *least, *flags]
    path = cache_folder() / "native" / f"{name}-{digest([command, sources, platform.machine()])[:16]}.so"
    if not path.exists():
        with replacing(path) as aside, TemporaryDirectory() as folder:
            for file, text in sources.items():
                Path(folder, file).write_text(text, "utf-8")
            first = next(iter(sources))
            done = subprocess.run(
                [*command, first, "-o", str(aside.resolve())],
                cwd=folder,
                text=True,
                errors="replace",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            if done.returncode:
                raise RuntimeError(f"native emulator: C++ compilation failed: {done.stdout[:2000]}")
    return ctypes.CDLL(str(path))
