"""What the kernel is given, as kernel.cpp declares it."""

from __future__ import annotations

import ctypes

FORMATS = ("U8", "I16", "I32", "I64")
KINDS = ("SUM8", "SUM16", "TERMS16", "SUM", "MAP", "MERGE", "MASK", "DOT16", "DOT", "RESIDUAL", "GATHER")
U8, I16, I32, I64 = range(len(FORMATS))
SUM8, SUM16, TERMS16, SUM, MAP, MERGE, MASK, DOT16, DOT, RESIDUAL, GATHER = range(len(KINDS))
FAST = (SUM8, SUM16, TERMS16, DOT16, RESIDUAL)
HOW = {"add": 0, "subtract": 1, "multiply": 2, "maximum": 3, "minimum": 4}
PARTS = {U8: 4, I16: 2, I32: 1}
"""Numbers in a dword."""


class COp(ctypes.Structure):
    """``Op`` of kernel.cpp."""

    _fields_ = (
        ("code", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("a", ctypes.c_int64),
        ("b", ctypes.c_int64),
        ("each", ctypes.c_void_p),
    )


class CValue(ctypes.Structure):
    """``Value`` of kernel.cpp."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("format", "size", "start", "unused")),
        ("zero", ctypes.c_int64),
        ("place", ctypes.c_void_p),
    )


class CStep(ctypes.Structure):
    """``Step`` of kernel.cpp."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in ("kind", "lanes", "windows", "filters", "terms", "how", "up_x", "up_y", "clamp")
        ),
        ("low", ctypes.c_int64),
        ("high", ctypes.c_int64),
        *((name, CValue) for name in ("x", "y", "z", "out")),
        *((name, ctypes.c_void_p) for name in ("index", "weights", "bias", "product", "program")),
    )


class CPlan(ctypes.Structure):
    """``Plan`` of kernel.cpp."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in (
                *("columns", "steps", "padded", "is_scaled", "keeps_raw"),
                *("cuts", "turns", "goes_down", "goes_up", "saturates", "tiles", "entered"),
            )
        ),
        *((name, ctypes.c_void_p) for name in ("low", "high", "entrance")),
        *((name, CValue) for name in ("input", "scaled", "score")),
        ("step", ctypes.c_void_p),
    )


class CSource(ctypes.Structure):
    """``Source`` of kernel.cpp."""

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("row_bytes", ctypes.c_int64),
        ("column", ctypes.c_void_p),
        ("stride", ctypes.c_void_p),
        ("type", ctypes.c_void_p),
        ("units", ctypes.c_void_p),
    )


class CHistogram(ctypes.Structure):
    """``Histogram`` of kernel.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("low", "shift", "bins")),
        *((name, ctypes.c_void_p) for name in ("counts", "sums", "squares", "cubes", "category", "weight")),
    )
