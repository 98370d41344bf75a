"""The kernel, compiled once on each machine for the instruction sets that its processor has."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from pathlib import Path

from l1ad import compiler
from l1ad.emulate.native.plan import Abilities
from l1ad.files import digest

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
    probe = compiler.library("sets", {"sets.cpp": _PROBE})
    said = ctypes.create_string_buffer(100)
    probe.l1ad_sets(said)
    return tuple(said.value.decode().split())


@cache
def code_digest() -> str:
    """Identity of all that makes native scores: the kernel, its compiler, and what plans for it."""
    texts = {path.name: path.read_text("utf-8") for path in sorted(_HERE.iterdir()) if path.is_file()}
    return digest([texts, compiler.find_compiler(), compiler.FLAGS])


def _sources() -> dict[str, str]:
    return {name: (_HERE / name).read_text("utf-8") for name in ("kernel.cpp", "simd.h")}


@cache
def kernel(isa: str) -> ctypes.CDLL:
    """The kernel for an instruction set of `SETS`; raises as `available` does."""
    compiled = compiler.library(isa, _sources(), SETS[isa][0])
    compiled.l1ad_run.restype = ctypes.c_int64
    compiled.l1ad_run.argtypes = (*[ctypes.c_void_p] * 2, ctypes.c_int64, *[ctypes.c_void_p] * 4)
    return compiled
