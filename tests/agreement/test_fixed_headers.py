"""`cast` against the ap_fixed headers that hls4ml ships: over a million conversions between 560 pairs of types."""

import importlib.util
import shlex
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from l1ad.compiler import find_compiler
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint, cast

SIGNED, UNSIGNED, TINY = FixedPoint(40, 20), FixedPoint(33, 12, False), FixedPoint(3, 9)
# to (width, frac): fewer and more fractional bits than the source, negative, more than the width, one bit
SHAPES = (
    *((SIGNED, shape) for shape in ((8, 3), (24, 30), (5, -4), (1, 2), (4, -15), (63, 22))),
    *((UNSIGNED, shape) for shape in ((6, 16), (1, 0), (20, 12))),
    (TINY, (4, 2)),  # drops more bits than there are
)
VALUES = 2_400

PROGRAM = """
#include <cstdio>
#include <vector>
#define __AP_INT_SPECIAL_H__ // std::complex of AP types, which does not compile with libc++
#define __AP_FIXED_SPECIAL_H__
#include "ap_fixed.h"
typedef long long raw;

template <int WS, int IS, bool SS, int W, int I, bool S, ap_q_mode Q, ap_o_mode O>
void convert() {
    long long n;
    if (fread(&n, sizeof n, 1, stdin) != 1) throw 1;
    std::vector<raw> values(n);
    if (fread(values.data(), sizeof(raw), n, stdin) != (size_t)n) throw 2;
    for (raw &value : values) {
        ap_fixed_base<WS, IS, SS> x;
        x.range(WS - 1, 0) = ap_int_base<WS, SS>(value);
        ap_fixed_base<W, I, S, Q, O> y = x;
        ap_int_base<W, S> bits = y.range(W - 1, 0);
        value = bits.to_int64();
    }
    fwrite(values.data(), sizeof(raw), n, stdout);
}
"""


def pairs():
    modes = product(SHAPES, (True, False), ROUNDING, OVERFLOW)
    return [(source, FixedPoint(*shape, signed, *mode)) for (source, shape), signed, *mode in modes]


def values(rng, source, target):
    """Raw numbers of the source: ties and their neighbours, the target's ends, all magnitudes, its own ends."""
    shift = source.frac - target.frac
    step = 1 << max(shift, 0)
    near = rng.integers(-40, 40, 300) * (step // 2 or 1) + rng.integers(-1, 2, 300)
    ends = np.array([target.min_raw - 1, target.min_raw, target.max_raw, target.max_raw + 1, 0], object)
    ends = [int(end) * step >> max(-shift, 0) for end in ends]
    halves = [end + side * (step // 2) + off for end in ends for side in (-1, 0, 1) for off in (-1, 0, 1)]
    of_all_sizes = rng.integers(-(2**62), 2**62, VALUES) >> rng.integers(22, 62, VALUES)
    own = [source.min_raw, source.min_raw + 1, source.max_raw - 1, source.max_raw]
    fitting = [raw for raw in [*own, *halves, *near.tolist(), *of_all_sizes.tolist()] if _in(raw, source)]
    return np.array(fitting, np.int64)


def _in(raw, kind):
    return kind.min_raw <= raw <= kind.max_raw


@pytest.fixture(scope="module")
def headers(require, tmp_path_factory):
    """Function from a list of (source, target, raws) to what the C++ headers make of the raws."""
    require("compiler")
    folder = tmp_path_factory.mktemp("headers")
    include = Path(importlib.util.find_spec("hls4ml").origin).parent / "templates" / "vivado" / "ap_types"

    def arguments(kind, *modes):
        return ", ".join(map(str, (kind.width, kind.width - kind.frac, str(kind.signed).lower(), *modes)))

    calls = [
        f"convert<{arguments(source)}, {arguments(target, 'AP_' + target.rounding, 'AP_' + target.overflow)}>();"
        for source, target in pairs()
    ]
    code = folder / "headers.cpp"
    code.write_text(PROGRAM + "int main() {\n" + "\n".join(calls) + "\n}\n")
    program = folder / "headers"
    compiler = [
        *shlex.split(find_compiler()),
        "-std=c++17",
        "-w",
        "-O0",
        "-DNDEBUG",
        f"-I{include}",
        str(code),
        "-o",
        str(program),
    ]
    done = subprocess.run(compiler, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]

    def run(raws):
        stream = b"".join(np.int64(len(raw)).tobytes() + raw.tobytes() for raw in raws)
        out = subprocess.run([program], input=stream, stdout=subprocess.PIPE, check=True).stdout
        return np.split(np.frombuffer(out, np.int64), np.cumsum([len(raw) for raw in raws])[:-1])

    return run


def test_cast_equals_the_headers_of_hls4ml(headers, rng):
    raws = [values(rng, source, target) for source, target in pairs()]
    assert sum(map(len, raws)) >= 1_000_000
    for (source, target), raw, expected in zip(pairs(), raws, headers(raws), strict=True):
        np.testing.assert_array_equal(cast(raw, source.frac, target), expected, err_msg=f"{source} -> {target}")
