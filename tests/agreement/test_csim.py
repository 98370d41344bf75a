"""The C simulation of hls4ml projects as they are; these ones are small, and written by hand."""

import importlib.util
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, cast
from l1ad.hardware.csim import Port, Sources, exchanged_types, run

WORD = FixedPoint(8, 2)
NARROW = FixedPoint(6, 1, True, "RND_CONV", "SAT")
RESULT = FixedPoint(9, 2, False)
OFFSETS = np.array([3, -5, 0, 17])

HEADER = """#ifndef TOP_H_
#define TOP_H_
#include "ap_int.h"
#include "ap_fixed.h"
namespace small {
typedef ap_fixed<8,6> input_t;
typedef ap_fixed<6,5,AP_RND_CONV,AP_SAT> narrow_t;
typedef ap_ufixed<9,7> result_t;
void top(input_t given[4], result_t result[4]);
}
#endif
"""
TOP = """#include "top.h"
#include <cstdlib>
#include <iostream>
#include "offsets.h"

namespace top_of { // the emulator's `using namespace small` must not meet what only this file knows
template <class X, class Y, int N> void copy(X x[N], Y y[N]) {
    for (int i = 0; i < N; i++)
        y[i] = x[i];
}
}

namespace small {

void top(input_t given[4], result_t result[4]) {
    std::cout << "chatter";
    if (given[0] == 31) { std::cerr << "w2.txt does not exist"; exit(3); }
    if (given[0] == 30) std::abort();
    if (given[0] == 29) std::cerr << "ERROR: Expected 4 values but read only 3 values";

    input_t moved[4];
    for (int i = 0; i < 4; i++) moved[i] = given[i] - offsets[i];

    narrow_t narrow[4];
    top_of::copy<input_t, narrow_t, 4>(
        moved, narrow
    ); // ends here
    #pragma HLS UNROLL
    top_of::copy<narrow_t, result_t, 4>(narrow, result); // the last
}

}
"""
EMULATOR = """#include "top.h"
#include "emulator.h"
#include <any>
#include <array>
#include <utility>
using namespace small;
namespace top { }

class Around : public hls4mlEmulator::Model {
    input_t x[4];
    result_t y[4];
public:
    virtual void prepare_input(std::any input) { // std::any_cast<float*>(input)
        /* once: std::any_cast<
           double*>(input) */
        ap_int<7> *unscaled = std::any_cast<ap_int<7> *>(input);
        for (int i = 0; i < 4; i++) x[i] = unscaled[i] >> 2;
    }
    virtual void predict() { small::top(x, y); }
    virtual void read_result(std::any result) {
        @READ
    }
};
extern "C" hls4mlEmulator::Model *create_model() { return new Around; }
extern "C" void destroy_model(hls4mlEmulator::Model *model) { delete model; }
"""


def write(folder, texts):
    (folder / "nnet_utils").mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def offsets(raw):
    return f"const ap_fixed<8,6> offsets[4] = {{{', '.join(map(str, raw * WORD.lsb))}}};\n"


@pytest.fixture
def small(tmp_path, require):
    """A project with a namespace, headers of its own, and none of AP types."""
    require("compiler")
    folder = write(tmp_path / "my project", {"top.cpp": TOP, "top.h": HEADER, "offsets.h": offsets(OFFSETS)})
    ends = [
        number
        for number, line in enumerate(TOP.splitlines(), 1)
        if line.endswith(("moved[i] = given[i] - offsets[i];", "// ends here", "// the last"))
    ]
    ports = (Port("moved", WORD, 4), Port("narrow", NARROW, 4), Port("result", RESULT, 4))
    return Sources(
        folder,
        folder / "top.cpp",
        "top",
        "small",
        Port("given", WORD, 4),
        ports[-1],
        tuple(zip(ends, ports, strict=True)),
    )


@pytest.fixture
def emulated(small):
    """Function that puts an emulator around `small`, given the statements that read its result."""

    def around(read, score=None):
        path = small.folder / "emulator.cpp"
        path.write_text(EMULATOR.replace("@READ", read))
        return replace(small, emulator=path, input=Port("unscaled", FixedPoint(7, 0), 4), score=score)

    return around


def expected(x, offsets=OFFSETS):
    moved = cast(x - offsets, 2, WORD)
    narrow = cast(moved, 2, NARROW)
    return {"moved": moved, "narrow": narrow, "result": cast(narrow, 1, RESULT)}


def events(rng, kind, n_events=500):
    x = rng.integers(kind.min_raw, kind.max_raw, (n_events, 4), endpoint=True)
    x[0], x[1] = kind.min_raw, kind.max_raw
    return x


def require_equal(found, wanted):
    assert list(found) == list(wanted)
    for name, raw in wanted.items():
        np.testing.assert_array_equal(found[name], raw, strict=True)


def programs(build):
    return {path.name: path.stat().st_mtime_ns for path in build.iterdir()}


def test_every_layer_is_traced_and_nothing_is_compiled_twice(small, tmp_path, monkeypatch, rng):
    x, build = events(rng, WORD).clip(max=100), tmp_path / "build"
    wanted = expected(x)
    require_equal(run(small, x, build=build, trace=True), wanted)
    require_equal(run(small, x, build=build), {"result": wanted["result"]})
    before = programs(build)
    assert len(before) == 2
    monkeypatch.chdir(tmp_path)
    relative = replace(small, folder=Path("my project"), source=Path("my project/top.cpp"))
    require_equal(run(relative, x[:7], build=Path("build")), {"result": wanted["result"][:7]})
    require_equal(
        run(relative, x[:0], build=Path("build"), trace=True), {name: raw[:0] for name, raw in wanted.items()}
    )
    assert programs(build) == before


def test_an_edited_project_is_compiled_again(small, tmp_path, rng):
    x, build = events(rng, WORD).clip(max=100), tmp_path / "my project" / "build"
    require_equal(run(small, x, build=build), {"result": expected(x)["result"]})
    (small.folder / "offsets.h").write_text(offsets(OFFSETS + 1))
    require_equal(run(small, x, build=build), {"result": expected(x, OFFSETS + 1)["result"]})
    assert len(programs(build)) == 2


def test_a_project_that_ends_its_process_is_named(small, tmp_path):
    for first, end in (
        (31, r"\(exit 3\): w2\.txt does not exist"),
        (30, r"\(SIGABRT\): it said nothing"),
        (29, r"\(exit 0\): ERROR: Expected 4 values but read only 3"),
    ):
        with pytest.raises(RuntimeError, match=rf"my project: C simulation failed {end}"):
            run(small, np.array([[4 * first, 0, 0, 0]]), build=tmp_path / "build")
    assert len(programs(tmp_path / "build")) == 1


@pytest.mark.parametrize(
    "text", ["ap_fixed<63,20>", "ap_ufixed<62,70>", "ap_ufixed<6,-3>", "ap_int<13>", "ap_uint<63>"]
)
def test_raw_numbers_keep_every_bit(text, tmp_path, require, rng):
    """In as they are, and out as they are, as another type's bits, and in C++'s own arithmetic."""
    require("compiler")
    kind = FixedPoint.parse(text)
    other = FixedPoint(kind.width, kind.frac, not kind.signed)
    half = FixedPoint(max(kind.width // 2, 1), kind.frac - kind.width // 2, kind.signed, "RND", "SAT")
    body = f"""#include "ap_fixed.h"
        #include "ap_int.h"
        void top({text} x[4], {text} y[4]) {{
            {other} bits[4]; {half} rounded[4];
            for (int i = 0; i < 4; i++) {{ y[i] = x[i]; bits[i] = x[i]; rounded[i] = x[i]; }}
            ;
        }}"""
    folder = write(tmp_path, {"top.cpp": body})
    results = tuple((6, Port(name, to, 4)) for name, to in (("bits", other), ("rounded", half)))
    sources = Sources(folder, folder / "top.cpp", "top", "", Port("x", kind, 4), Port("y", kind, 4), results)
    x = events(rng, kind)
    wanted = {"bits": cast(x, kind.frac, other), "rounded": cast(x, kind.frac, half), "y": x}
    found = run(sources, x, build=tmp_path / "build", trace=True)
    require_equal({name: found[name] for name in wanted}, wanted)


def test_an_emulator_with_a_score_is_run_as_it_is(emulated, tmp_path, rng):
    result = "std::pair<std::array<result_t, 4>, ap_uint<11> >"
    read = f"""{result} *pair = std::any_cast<{result}*>(result);
        pair->second = 0;
        for (int i = 0; i < 4; i++) {{ pair->first[i] = y[i]; pair->second += 4 * y[i]; }}"""
    score = Port("score", FixedPoint(11, 0, False), 1)
    sources, x = emulated(read, score), events(rng, FixedPoint(7, 0))
    assert exchanged_types(sources.emulator) == ("ap_int<7>", result)
    wanted = expected((x >> 2) << 2)
    wanted["score"] = wanted["result"].sum(axis=1, keepdims=True)
    require_equal(run(sources, x, build=tmp_path / "build", trace=True), wanted)


@pytest.mark.parametrize(
    "read",
    [
        "*std::any_cast<std::pair<result_t, result_t>*>(result) = {y[0], y[1]};",
        "for (int i = 0; i < 4; i++) std::any_cast<result_t *>(result)[i] = y[i];",
    ],
)
def test_an_emulator_may_give_numbers_alone(read, emulated, tmp_path, rng):
    pair, x = "pair" in read, events(rng, FixedPoint(7, 0))
    sources = emulated(read, Port("score", RESULT, 1) if pair else None)
    wanted = expected((x >> 2) << 2)["result"]
    if pair:
        sources = replace(sources, output=Port("result", RESULT, 1))
        require_equal(run(sources, x, build=tmp_path / "build"), {"result": wanted[:, :1], "score": wanted[:, 1:2]})
    else:
        require_equal(run(sources, x, build=tmp_path / "build"), {"result": wanted})


def test_an_emulator_that_casts_nothing_is_refused(emulated, tmp_path):
    sources = emulated("// std::any_cast<result_t*>(result)")
    with pytest.raises(
        UnsupportedError, match=r"emulator\.cpp:20: read_result must cast its argument by std::any_cast"
    ):
        run(sources, np.zeros((1, 4), np.int64), build=tmp_path / "build")
    sources.emulator.write_text("class Empty {};")
    with pytest.raises(UnsupportedError, match=r"emulator\.cpp: an emulator must define prepare_input\(std::any\)"):
        exchanged_types(sources.emulator)


@pytest.mark.parametrize("zig", [False, True])
def test_hls4mls_own_functions_and_weights_from_text(zig, tmp_path, require, monkeypatch, rng):
    require("ziglang" if zig else "compiler")
    if zig:
        monkeypatch.setenv("CXX", shlex.join([sys.executable, "-m", "ziglang", "c++"]))
    templates = Path(importlib.util.find_spec("hls4ml").origin).parent / "templates" / "vivado"
    folder = tmp_path / "project"
    shutil.copytree(templates / "nnet_utils", folder / "firmware" / "nnet_utils")
    shutil.copytree(templates / "ap_types", folder / "firmware" / "ap_types")
    (folder / "firmware" / "top.cpp").write_text("""
#include "ap_fixed.h"
#include "ap_int.h"
#include "nnet_utils/nnet_activation.h"
#include "nnet_utils/nnet_helpers.h"

struct relu_config2 : nnet::activ_config { static const unsigned n_in = 4; };
ap_fixed<8,6> w1[4];

void top(ap_fixed<8,6> x[4], ap_ufixed<5,4> layer2_out[4]) {
    static bool loaded = false;
    if (!loaded) {
        nnet::load_weights_from_txt<ap_fixed<8,6>, 4>(w1, "w1.txt");
        loaded = true;
    }
    ap_fixed<8,6> layer1_out[4];
    for (int i = 0; i < 4; i++) layer1_out[i] = x[i] + w1[i];
    nnet::save_layer_output<ap_fixed<8,6> >(layer1_out, "layer1", 4);
    nnet::relu<ap_fixed<8,6>, ap_ufixed<5,4>, relu_config2>(layer1_out, layer2_out); // relu
}
""")
    (folder / "firmware" / "weights").mkdir()
    weights = folder / "firmware" / "weights" / "w1.txt"
    weights.write_text("0.75,-1.25,0.0,4.25")
    kind, x = FixedPoint(5, 1, False), events(rng, WORD)
    source = folder / "firmware" / "top.cpp"
    sources = Sources(folder, source, "top", "", Port("x", WORD, 4), Port("layer2_out", kind, 4))
    wanted = cast(np.maximum(cast(x + OFFSETS, 2, WORD), 0), 2, kind)
    monkeypatch.chdir(tmp_path)
    require_equal(run(sources, x, build=tmp_path / "build"), {"layer2_out": wanted})
    if not zig:
        weights.unlink()
        with pytest.raises(
            RuntimeError, match=r"project: C simulation failed \(exit 1\): ERROR: file .*w1\.txt does not"
        ):
            run(sources, x, build=tmp_path / "build")


def test_what_the_compiler_says_is_passed_on(small, tmp_path):
    x = np.zeros((1, 4), np.int64)
    with pytest.raises(
        RuntimeError,
        match=r"my project: C\+\+ compilation failed:\n.*result must be of the width, integer bits and sign of ap_uf",
    ):
        run(replace(small, output=Port("result", FixedPoint(9, 1, False), 4)), x, build=tmp_path / "build")
    line, port = small.results[1]
    with pytest.raises(RuntimeError, match=r"narrow must be of size 5"):
        run(replace(small, results=((line, replace(port, size=5)),)), x, build=tmp_path / "build", trace=True)
    with small.source.open("a") as file:
        file.write("#error deliberately broken\n")
    with pytest.raises(
        RuntimeError, match=r"my project: C\+\+ compilation failed:\n.*top\.cpp:\d+:.*error.*deliberately"
    ):
        run(small, x, build=tmp_path / "build", trace=True)
    assert not programs(tmp_path / "build")


def test_a_project_without_hls4mls_headers_is_refused(small, tmp_path):
    (small.folder / "nnet_utils").rmdir()
    (small.source.parent / "parameters.h").write_text('#include "nnet_utils/nnet_dense.h"\n')
    with pytest.raises(ValueError, match=r"my project: an hls4ml project must hold its folder nnet_utils, .*; copy"):
        run(small, np.zeros((1, 4), np.int64), build=tmp_path / "build")


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (np.zeros((1, 4)), TypeError, "raw inputs must be int64, not float64"),
        (np.zeros((1, 3), np.int64), ValueError, r"inputs must be of shape \(n_events, 4\), not \(1, 3\)"),
        (np.full((1, 4), 128), ValueError, r"raw inputs must fit ap_fixed<8,6,.*>, not lie between 128 and 128"),
    ],
)
def test_bad_inputs_are_refused(x, error, text, tmp_path):
    sources = Sources(tmp_path, tmp_path / "top.cpp", "top", "", Port("given", WORD, 4), Port("result", RESULT, 4))
    with pytest.raises(error, match=text):
        run(sources, x, build=tmp_path / "build")
