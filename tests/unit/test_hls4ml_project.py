"""Reading hls4ml projects: a tiny one, in each layout that is published, and with every defect that is refused."""

import re

import pytest

from l1ad.convert.from_hls4ml.cpp import evaluate, parse_call, split_commas
from l1ad.convert.from_hls4ml.declarations import Call, Config, Constants, Place, Variable
from l1ad.convert.from_hls4ml.project import read
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint

DEFINES = """\
#ifndef DEFINES_H_
#define DEFINES_H_
#include "ap_fixed.h"

#define N_IN 3
#define N_OUT 2
#define N_OUT 2
static const int N_ALL = N_IN * N_OUT;
typedef ap_fixed<8,4,AP_RND,AP_SAT,0> input_t;
typedef ap_fixed<16,8> sum_t;
typedef ap_fixed<6, 2> weight_t;
typedef ap_int<4> bias_t;
using result_t = ap_ufixed<10,6,AP_RND_CONV,AP_SAT,AP_SAT>;
#endif
"""

PARAMETERS = """\
#ifndef PARAMETERS_H_
#define PARAMETERS_H_
#include "nnet_utils/nnet_dense.h"
#include "weights/w2.h"
#include "weights/b2.h"

// first
struct config2 : nnet::dense_config {
    static const unsigned n_in = N_IN;
    static const unsigned n_out = 2;
    static const unsigned strategy = nnet::latency;
    static const unsigned reuse_factor = 4;
    static const unsigned multiplier_limit =
        DIV_ROUNDUP(n_in * n_out, reuse_factor) - 0 / reuse_factor;
    static const int n_filt = -1;
    static const unsigned n_scale = (n_filt == -1) ? n_in : n_filt;
    static const bool store_weights_in_bram = false;
    static constexpr float exp_scale = 1.0;
    static const ap_uint<n_in> pixels[n_out];
    static const nnet::conv_implementation implementation = nnet::conv_implementation::linebuffer;
    typedef sum_t accum_t;
    typedef ap_ufixed<7, 3> table_t;
    typedef config2_mult mult_config;
    template<class data_T, class res_T, class CONFIG_T>
    using kernel = nnet::DenseLatency<data_T, res_T, CONFIG_T>;
    template<class x_T, class y_T>
    using product = nnet::product::mult<x_T, y_T>;
};
const ap_uint<config2::n_in> config2::pixels[] = {0};

struct relu_config3 : nnet::activ_config {
    static const unsigned n_in = 2;
};
#endif
"""

SOURCE = """\
#include <iostream>
#include "tiny.h"
#include "parameters.h"

void tiny(
    input_t x[N_IN], // in
    result_t y[N_OUT]
) {
    #pragma HLS PIPELINE
#ifndef __SYNTHESIS__
    static bool loaded_weights = false;
    if (!loaded_weights) {
        nnet::load_weights_from_txt<weight_t, 6>(w2, "w2.txt");
        nnet::load_weights_from_txt<bias_t, 2>(b2, "b2.txt");
        loaded_weights = true;    }
#endif
    /* two
       layers */
    sum_t sums[N_ALL/3];
    auto& same = sums;
    nnet::dense<input_t, sum_t, config2>(x, sums, w2, b2); // first
#ifndef __SYNTHESIS__
    nnet::save_layer_output<sum_t>(sums, "first", 2);
#endif
    nnet::relu<sum_t, result_t, relu_config3>(same, y); // second
}
"""


def weights_header(array, values):
    guard = array[-5:-3].upper() + "_H_"
    return (
        f"//Number of zeros 1\n#ifndef {guard}\n#define {guard}\n#ifndef __SYNTHESIS__\n{array};\n"
        f"#else\n{array} = {{{values}}};\n#endif\n#endif\n"
    )


W2 = weights_header("weight_t w2[6]", "0.5, -0.25, 1e-1, 0, 1.0f, -1")
FILES = {
    "defines.h": DEFINES,
    "parameters.h": PARAMETERS,
    "tiny.cpp": SOURCE,
    "tiny.h": '#include "defines.h"\nvoid tiny(input_t x[N_IN], result_t y[N_OUT]);\n',
    "weights/w2.h": W2,
    "weights/b2.h": weights_header("bias_t b2[2]", "1, -3"),
    "weights/w2.txt": "0.5, -0.25, 1e-1, 0, 1.0, -1",
    "weights/b2.txt": "1, -3",
}


def write_small_project(folder, *changes, inside="firmware"):
    """A project of two layers, its files changed: (file, old text, new text), or (file, None, whole text or None)."""
    files = dict(FILES)
    for file, old, new in changes:
        if old is None:
            files[file] = new
        else:
            assert files[file].count(old) == 1, f"{old!r} must occur once in {file}"
            files[file] = files[file].replace(old, new)
    for file, text in files.items():
        if text is not None:
            path = folder / inside / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def message_of(folder, *changes):
    with pytest.raises((ValueError, UnsupportedError)) as caught:
        read(write_small_project(folder, *changes))
    return type(caught.value), str(caught.value).replace(str(folder), "FOLDER")


INPUT = FixedPoint(8, 4, True, "RND", "SAT")
SUM = FixedPoint(16, 8)
WEIGHT = FixedPoint(6, 4)
BIAS = FixedPoint(4, 0, True, "TRN_ZERO")
RESULT = FixedPoint(10, 4, False, "RND_CONV", "SAT")


def test_a_project_is_read(tmp_path):
    project = read(write_small_project(tmp_path))
    top = "firmware/tiny.cpp"
    assert (project.folder, project.source) == (tmp_path, tmp_path / top)
    assert (project.top, project.namespace) == ("tiny", "")
    assert project.input == Variable("x", "input_t", INPUT, 3, Place(top, 5))
    assert project.output == Variable("y", "result_t", RESULT, 2, Place(top, 5))
    sums = Variable("sums", "sum_t", SUM, 2, Place(top, 19))
    assert project.variables == {"x": project.input, "y": project.output, "sums": sums}
    assert project.aliases == {"same": "sums"}
    first = Call("nnet::dense", ("input_t", "sum_t", "config2"), ("x", "sums", "w2", "b2"), "first", Place(top, 21))
    second = Call("nnet::relu", ("sum_t", "result_t", "relu_config3"), ("same", "y"), "second", Place(top, 25))
    assert project.calls == (first, second)
    assert project.types == {"input_t": INPUT, "sum_t": SUM, "weight_t": WEIGHT, "bias_t": BIAS, "result_t": RESULT}
    assert project.weights == {
        "w2": Constants("w2", WEIGHT, (0.5, -0.25, 0.1, 0.0, 1.0, -1.0), Place("firmware/weights/w2.txt", 1)),
        "b2": Constants("b2", BIAS, (1.0, -3.0), Place("firmware/weights/b2.txt", 1)),
    }
    assert project.functions == {}


def test_config_structs(tmp_path):
    configs = read(write_small_project(tmp_path)).configs
    assert configs["relu_config3"] == Config(
        "relu_config3", "activ_config", {"n_in": 2}, {}, {}, {}, Place("firmware/parameters.h", 31)
    )
    config = configs["config2"]
    assert config.floats == {"exp_scale": 1.0}
    assert (config.name, config.kind, str(config.place)) == ("config2", "dense_config", "firmware/parameters.h:8")
    assert config.constants == {
        "n_in": 3,
        "n_out": 2,
        "reuse_factor": 4,
        "multiplier_limit": 2,
        "n_filt": -1,
        "n_scale": 3,
        "store_weights_in_bram": 0,
    }
    assert config.names == {
        "strategy": "latency",
        "implementation": "linebuffer",
        "mult_config": "config2_mult",
        "kernel": "DenseLatency",
        "product": "mult",
    }
    assert config.types == {"accum_t": SUM, "table_t": FixedPoint(7, 4, False)}


HEADER_WEIGHTS = """\
#include "defines.h"
namespace mine {
weight_t w2[6] = {0.5, -0.25, 0.1,
                  0, 1., -1.,};
const bias_t b2[2] = {1, -3};
} // namespace mine
"""
PUBLISHED = (
    ("tiny.cpp", "void tiny", "namespace mine {\nvoid tiny"),
    ("tiny.cpp", "result_t, relu_config3>(same, y); // second\n}", "result_t, relu_config3>(same, y); // second\n}}"),
    ("tiny.cpp", "#ifndef __SYNTHESIS__\n    static", "#ifdef LOAD_WEIGHTS_FROM_TXT\n    static"),
    ("parameters.h", '#include "weights/w2.h"\n#include "weights/b2.h"', '#include "defines.h"\n#include "weights.h"'),
    ("weights.h", None, HEADER_WEIGHTS),
    ("weights/w2.h", None, None),
    ("weights/b2.h", None, None),
    ("weights/w2.txt", None, "out of date"),
    ("unrelated.cpp", None, b"\xff nnet::dense<a, b>(c); {{{"),
)


@pytest.mark.parametrize("inside", [".", "NN"])
def test_a_published_copy_is_read(tmp_path, inside):
    project = read(write_small_project(tmp_path, *PUBLISHED, inside=inside))
    at = "" if inside == "." else "NN/"
    assert (project.top, project.namespace) == ("tiny", "mine")
    assert project.weights["w2"] == Constants("w2", WEIGHT, (0.5, -0.25, 0.1, 0, 1, -1), Place(f"{at}weights.h", 3))
    assert project.weights["b2"] == Constants("b2", BIAS, (1.0, -3.0), Place(f"{at}weights.h", 5))
    assert [call.label for call in project.calls] == ["first", "second"]


def test_windows_line_ends_and_a_mark(tmp_path):
    changes = [(file, None, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()) for file, text in FILES.items()]
    there, here = (write_small_project(tmp_path / name, *c) for name, c in (("there", changes), ("here", [])))
    assert read(there).calls == read(here).calls


SHIFTS = """\
#ifndef NNET_INSTR_GEN_H_
#define NNET_INSTR_GEN_H_
namespace tiny {
template <class data_T> class Other {
  public:
    static void other(data_T x) { if (x == 1) { x = 2; } }
};
template <typename inp_t, typename out_t>
void dense_da_2(inp_t inp[3], out_t out[2]) {
    #pragma HLS INLINE
    // latency 1
    ap_fixed<9, 5> v0 = bit_shift<-1>(inp[0])
        - inp[2];
    out[0] = out_t(v0); out[1] = 0;
    for (int i = 0; i < 2; i++) { out[i] = v0; }
}
}
#endif
"""
USES_SHIFTS = (
    ("parameters.h", "nnet_dense.h", "nnet_code_gen.h"),
    ("tiny.cpp", "nnet::dense<input_t, sum_t, config2>(x, sums, w2, b2)", "tiny::dense_da_2<input_t, sum_t>(x, sums)"),
)


def test_shift_add_functions(tmp_path):
    project = read(write_small_project(tmp_path, *USES_SHIFTS, ("nnet_utils/nnet_code_gen.h", None, SHIFTS)))
    file = "firmware/nnet_utils/nnet_code_gen.h"
    assert project.calls[0] == Call(
        "tiny::dense_da_2", ("input_t", "sum_t"), ("x", "sums"), "first", Place("firmware/tiny.cpp", 21)
    )
    assert project.functions == {
        "dense_da_2": (
            ("ap_fixed<9, 5> v0 = bit_shift<-1>(inp[0]) - inp[2]", Place(file, 12)),
            ("out[0] = out_t(v0)", Place(file, 14)),
            ("out[1] = 0", Place(file, 14)),
            ("for (int i = 0; i < 2; i++) {", Place(file, 15)),
            ("out[i] = v0", Place(file, 15)),
            ("}", Place(file, 15)),
        )
    }


def test_conditions_and_expressions_in_sizes(tmp_path):
    project = read(
        write_small_project(
            tmp_path,
            (
                "defines.h",
                "#define N_IN 3",
                "#if defined(WIDE) || !defined N_OUT && (2 > 1)\n#define N_IN \\\n3\n#else\nno\n#endif",
            ),
            ("tiny.cpp", "sums[N_ALL/3]", "sums[MIN(N_ALL, 2)][1]"),
            ("tiny.cpp", "sum_t sums", "extern_t one;\n    sum_t sums"),
            ("defines.h", "typedef ap_fixed<16,8> sum_t;", "typedef ap_fixed<16,8> sum_t; typedef ap_int<2> extern_t;"),
        )
    )
    assert (project.input.size, project.variables["sums"].size, project.variables["one"].size) == (3, 2, 1)


TWO = """\
#include "defines.h"
#include "parameters.h"
void two(input_t x[3], sum_t y[2]) {
    nnet::dense<input_t, sum_t, config2>(x, y, w2, b2);
}
"""
POWER_OF_2 = "typedef struct weight_t {ap_uint<1> sign; ap_int<4> weight; } weight_t;"
IN_HEADER = (
    ("tiny.cpp", "#ifndef __SYNTHESIS__\n    static", "#ifdef LOAD_WEIGHTS_FROM_TXT\n    static"),
    ("weights/w2.h", "#ifndef __SYNTHESIS__\nweight_t w2[6];\n#else\n", "#if 1\n"),
)
ONE_PROJECT = "name the folder of one project that hls4ml generated"
AGAIN = "generate the project again with io_type='io_parallel'"
COPY = "copy it from the generated project"
CUT = "the file looks cut short"
STATEMENT = "firmware/tiny.cpp:{}: statement of the top function must declare an array or call a layer, not {!r}; keep other code in a function around it"  # noqa: E501
IN_BOTH = "must be the same in C simulation and in synthesis, not"

VALUE_ERRORS = {
    "no defines.h": (
        [("defines.h", None, None)],
        f"FOLDER: one folder must hold defines.h and parameters.h, not none; {ONE_PROJECT}",
    ),
    "two projects": (
        [("copy/defines.h", None, ""), ("copy/parameters.h", None, "")],
        f"FOLDER: one folder must hold defines.h and parameters.h, not firmware, firmware/copy; {ONE_PROJECT}",
    ),
    "no source": (
        [("tiny.cpp", None, None)],
        f"FOLDER: a .cpp in firmware must include parameters.h, and none does; {ONE_PROJECT}",
    ),
    "no layers": (
        [("tiny.cpp", None, '#include "parameters.h"\nvoid tiny(input_t x[3], result_t y[2]) { }\n')],
        f"FOLDER/firmware: one function must call layers of nnet::, not none; {ONE_PROJECT}",
    ),
    "two tops": (
        [("two.cpp", None, TWO)],
        "FOLDER/firmware: one function must call layers of nnet::, not tiny (firmware/tiny.cpp:5), "
        f"two (firmware/two.cpp:3); {ONE_PROJECT}",
    ),
    "missing header": (
        [("weights/w2.h", None, None)],
        f"firmware/parameters.h:4: included file 'weights/w2.h' must exist, and is missing; {COPY}",
    ),
    "missing text file": (
        [("weights/w2.txt", None, None)],
        f"firmware/tiny.cpp:13: weights file 'w2.txt' must exist, and is missing; {COPY}",
    ),
    "array that is loaded and missing": (
        [("weights/w2.h", None, "")],
        f"firmware/tiny.cpp:13: array 'w2' must be declared, and is not; {COPY}",
    ),
    "array that is called and missing": (
        [("tiny.cpp", "sums, w2, b2)", "sums, w9, b2)")],
        "firmware/tiny.cpp:21: argument 'w9' of nnet::dense must be an array, and is none",
    ),
    "array without values": (
        PUBLISHED[2:3],
        "firmware/tiny.cpp:21: array 'w2' must have values in C simulation, and has none at "
        f"firmware/weights/w2.h:5; {COPY}",
    ),
    "header cut in the values": (
        [("weights/w2.h", None, W2.partition("1e-1")[0])],
        f"firmware/weights/w2.h:4: '#ifndef __SYNTHESIS__' must be closed by #endif; {CUT}",
    ),
    "values without an end": (
        [("weights/w2.h", "-1};", "-1;")],
        f"firmware/weights/w2.h:7: '{{' must be closed before ';'; {CUT}",
    ),
    "values without a semicolon": (
        [("weights/w2.h", "-1};", "-1}")],
        f"firmware/weights/w2.h:7: 'weight_t w2[6] = {{0.5, -0.25, 1e-1, 0, 1.0f, -1}}' must end in ';'; {CUT}",
    ),
    "struct without an end": (
        [("parameters.h", "    static const unsigned n_in = 2;\n};", "    static const unsigned n_in = 2;")],
        f"firmware/parameters.h:31: '{{' must be closed; {CUT}",
    ),
    "struct without a semicolon": (
        [("parameters.h", "y_T>;\n};", "y_T>;\n}")],
        "firmware/parameters.h:8: 'struct config2 : nnet::dense_config' must end in '};'",
    ),
    "member without a semicolon": (
        [("parameters.h", "n_in = 2;\n", "n_in = 2\n")],
        "firmware/parameters.h:32: statement must end in ';', not be 'static const unsigned n_in = 2'",
    ),
    "brace too many": (
        [("parameters.h", "n_in = 2;\n};", "n_in = 2;\n}; }")],
        "firmware/parameters.h:33: '}' must close a bracket, and none is open",
    ),
    "comment without an end": (
        [("tiny.cpp", "layers */", "layers")],
        f"firmware/tiny.cpp:17: comment must end in */; {CUT}",
    ),
    "endif too many": (
        [("defines.h", "#endif", "#endif\n#endif")],
        "firmware/defines.h:15: #endif must follow an #if, and none is open",
    ),
    "no endif": (
        [("defines.h", "#endif", "")],
        f"firmware/defines.h:1: '#ifndef DEFINES_H_' must be closed by #endif; {CUT}",
    ),
    "condition": (
        [("defines.h", "#define N_IN 3", "#if 3 3\n#endif\n#define N_IN 3")],
        "firmware/defines.h:5: condition of #if must be an integer expression, not '3 3'",
    ),
    "directive": (
        [("defines.h", "#define N_IN 3", "#error stop")],
        "firmware/defines.h:5: preprocessor must not meet #error stop",
    ),
    "wrong count in a header": (
        [
            *IN_HEADER,
            ("weights/w2.h", ", 0,", ","),
        ],
        f"firmware/weights/w2.h:5: array 'w2' must have 6 values, not 5; {CUT}",
    ),
    "wrong count in a text file": (
        [("weights/w2.txt", ", -1", "")],
        f"firmware/weights/w2.txt:1: array 'w2' must have 6 values, not 5; {CUT}",
    ),
    "wrong count at loading": (
        [("tiny.cpp", "<weight_t, 6>", "<weight_t, 5>")],
        "firmware/tiny.cpp:13: array 'w2' must be loaded with 6 values, not 5",
    ),
    "no number": (
        [("weights/w2.txt", "1e-1", "nan")],
        "firmware/weights/w2.txt:1: element 2 of array 'w2' must be a number, not 'nan'",
    ),
    "different weights": (
        [("weights/w2.txt", "1e-1", "0.25")],
        f"element 2 of array 'w2' {IN_BOTH} 0.25 (firmware/weights/w2.txt:1) and 0.1 (firmware/weights/w2.h:7)",
    ),
    "different layers": (
        [
            (
                "tiny.cpp",
                "    nnet::relu",
                "#ifdef __SYNTHESIS__\n    nnet::tanh<sum_t, result_t>(same, y);\n#endif\n    nnet::relu",
            )
        ],
        f"layer 1 {IN_BOTH} nnet::relu('sum_t', 'result_t', 'relu_config3')('same', 'y') (firmware/tiny.cpp:28) and "
        "nnet::tanh('sum_t', 'result_t')('same', 'y') (firmware/tiny.cpp:26)",
    ),
    "different types": (
        [
            (
                "defines.h",
                "typedef ap_fixed<16,8>",
                "#ifdef __SYNTHESIS__\ntypedef ap_fixed<16,9> sum_t;\n#else\ntypedef ap_fixed<16,8>",
            ),
            ("defines.h", "sum_t;\ntypedef ap_fixed<6, 2>", "sum_t;\n#endif\ntypedef ap_fixed<6, 2>"),
        ],
        f"array 'sums' {IN_BOTH} ap_fixed<16,8,AP_TRN,AP_WRAP>[2] (firmware/tiny.cpp:19) and "
        "ap_fixed<16,9,AP_TRN,AP_WRAP>[2] (firmware/tiny.cpp:19)",
    ),
    "conflicting typedefs": (
        [
            (
                "weights/w2.h",
                "#ifndef __SYNTHESIS__",
                "namespace other { typedef ap_fixed<9,4> input_t; }\n#ifndef __SYNTHESIS__",
            )
        ],
        "type 'input_t' must be declared once, not as ap_fixed<8,4,AP_RND,AP_SAT,0> (firmware/defines.h:9) and "
        "ap_fixed<9,4> (firmware/weights/w2.h:4)",
    ),
    "conflicting macros": (
        [("defines.h", "#define N_OUT 2\n#define", "#define N_OUT 3\n#define")],
        "macro 'N_OUT' must have one value, not '3' (firmware/defines.h:6) and '2' (firmware/defines.h:7)",
    ),
    "conflicting constants": (
        [("defines.h", "static const int N_ALL", "static const int N_ALL = 5;\nstatic const int N_ALL")],
        "firmware/defines.h:9: constant 'N_ALL' must have one value, not 5 and 6",
    ),
    "conflicting structs": (
        [("parameters.h", "struct relu_config3", "struct config2 {};\nstruct relu_config3")],
        "struct 'config2' must be declared once, not at firmware/parameters.h:8 and firmware/parameters.h:31",
    ),
    "conflicting arrays": (
        [("weights/b2.h", "bias_t b2[2];", "bias_t b2[2], w2[5]; bias_t w2[5];")],
        "array 'w2' must be declared once, not at firmware/weights/w2.h:5 and firmware/weights/b2.h:5",
    ),
    "conflicting variables": (
        [("tiny.cpp", "auto& same", "sum_t sums[2];\n    auto& same")],
        "array 'sums' must be declared once, not at firmware/tiny.cpp:19 and firmware/tiny.cpp:20",
    ),
    "two declarations in one": (
        [("defines.h", "typedef ap_fixed<16,8> sum_t;", "typedef ap_fixed<16,8> sum_t")],
        "firmware/defines.h:10: typedef must read 'typedef type name;', not "
        "'typedef ap_fixed<16,8> sum_t typedef ap_fixed<6, 2> weight_t'",
    ),
    "unknown type": (
        [("tiny.cpp", "sum_t sums", "some_t sums")],
        "firmware/tiny.cpp:19: type 'some_t' must be declared, and is not",
    ),
    "unknown size": (
        [("tiny.cpp", "sums[N_ALL/3]", "sums[N_SOME]")],
        "firmware/tiny.cpp:19: size of an array must be known: expression must consist of known integers, not 'N_SOME'",
    ),
    "no size": (
        [("tiny.cpp", "sums[N_ALL/3]", "sums[N_ALL/7]")],
        "firmware/tiny.cpp:19: size of an array must be at least 1, not 0",
    ),
    "unknown alias": (
        [("tiny.cpp", "same = sums", "same = other")],
        "firmware/tiny.cpp:20: 'same' must stand for an array, and 'other' is none",
    ),
    "unknown config": (
        [("tiny.cpp", "sum_t, config2>", "sum_t, config5>")],
        "firmware/tiny.cpp:21: 'config5' of nnet::dense must be a type or a config, and is neither",
    ),
    "unknown function": (
        USES_SHIFTS,
        "firmware/tiny.cpp:21: function 'tiny::dense_da_2' must be defined in nnet_utils/nnet_code_gen.h, and is not",
    ),
    "not UTF-8": (
        [("defines.h", None, DEFINES.encode().replace(b"#endif", b"// caf\xe9\n#endif"))],
        "firmware/defines.h:14: text must be UTF-8, not byte 0xe9",
    ),
}

UNSUPPORTED = {
    "stream port": (
        [("tiny.cpp", "input_t x[N_IN]", "hls::stream<input_t> &x")],
        f"firmware/tiny.cpp:5: io_stream projects are not read, and 'hls::stream<input_t> &x' is a stream; {AGAIN}",
    ),
    "stream type": (
        [("defines.h", "typedef ap_fixed<8,4,AP_RND,AP_SAT,0>", "typedef nnet::array<ap_fixed<8,4>, 3*1>")],
        "firmware/defines.h:9: io_stream projects are not read, and 'input_t' is "
        f"nnet::array<ap_fixed<8,4>, 3*1>; {AGAIN}",
    ),
    "two results": (
        [("tiny.cpp", "result_t y[N_OUT]", "result_t y[N_OUT], result_t z[1]")],
        "firmware/tiny.cpp:5: ports of tiny must be one input and one result, not x, y, z",
    ),
    "odd port": (
        [("tiny.cpp", "result_t y[N_OUT]", "result_t &y")],
        "firmware/tiny.cpp:5: port of tiny must read 'type name[size]', not 'result_t &y'",
    ),
    "struct weights": (
        [("defines.h", "typedef ap_fixed<6, 2> weight_t;", POWER_OF_2)],
        "firmware/defines.h:11: type 'weight_t' must be an AP type, not "
        "a struct, as power-of-2 and compressed weights have",
    ),
    "exponential type": (
        [("defines.h", "ap_fixed<6, 2> weight_t", "nnet::exponential_type weight_t")],
        "firmware/defines.h:11: type 'weight_t' must be an AP type, not nnet::exponential_type",
    ),
    "struct values": (
        [*IN_HEADER, ("weights/w2.h", "{0.5, -0.25,", "{{1, -2},")],
        "firmware/weights/w2.h:5: element 0 of array 'w2' must be a number, not '{1'; "
        "power-of-2 and compressed weights are not read",
    ),
    "exponents from a text file": (
        [("tiny.cpp", "nnet::load_weights_from_txt<weight_t", "nnet::load_exponent_weights_from_txt<weight_t")],
        "firmware/tiny.cpp:13: weights must be plain numbers, not those of nnet::load_exponent_weights_from_txt",
    ),
    "wide type": (
        [("defines.h", "typedef ap_fixed<16,8> sum_t", "typedef ap_fixed<74,34> sum_t")],
        "firmware/defines.h:10: type 'sum_t' must be one that l1ad holds, not ap_fixed<74,34>: "
        "FixedPoint width must be between 1 and 63 bits, not 74",
    ),
    "saturation bits": (
        [("defines.h", "AP_RND,AP_SAT,0>", "AP_RND,AP_WRAP,2>")],
        "firmware/defines.h:9: type 'input_t' must be one that l1ad holds, not ap_fixed<8,4,AP_RND,AP_WRAP,2>: "
        "saturation bits are not supported, in 'ap_fixed<8,4,AP_RND,AP_WRAP,2>'",
    ),
    "unknown statement": (
        [("tiny.cpp", "auto& same", "y[0] = x[1] * 2;\n    auto& same")],
        STATEMENT.format(20, "y[0] = x[1] * 2"),
    ),
    "unknown block": (
        [("tiny.cpp", "auto& same", "for (int i = 0; i < 2; i++) { sums[i] = 0; }\n    auto& same")],
        STATEMENT.format(20, "for (int i = 0; i < 2; i++)"),
    ),
    "unknown statement among the loads": (
        [("tiny.cpp", "loaded_weights = true;", "loaded_weights = true; w2[0] = 1;")],
        STATEMENT.format(15, "w2[0] = 1"),
    ),
    "long statement": (
        [("tiny.cpp", "auto& same", "y[0] = " + "+ 1" * 40 + ";\n    auto& same")],
        STATEMENT.format(20, ("y[0] = " + "+ 1" * 40)[:77] + "..."),
    ),
}


@pytest.mark.parametrize(("changes", "message"), VALUE_ERRORS.values(), ids=VALUE_ERRORS)
def test_defects_are_named_with_their_place(tmp_path, changes, message):
    assert message_of(tmp_path, *changes) == (ValueError, message)


@pytest.mark.parametrize(("changes", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_not_read_is_named_with_its_place(tmp_path, changes, message):
    assert message_of(tmp_path, *changes) == (UnsupportedError, message)


def test_the_folder_must_be_there(tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}/none: project must be a folder; {ONE_PROJECT}")):
        read(tmp_path / "none")


def test_declarations_may_repeat(tmp_path):
    again = "typedef ap_fixed<8, 4, AP_RND, AP_SAT> input_t;\nextern weight_t w2[6];\nstatic const int N_ALL = 6;\n"
    read(write_small_project(tmp_path, ("parameters.h", "// first", again)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3 % 5", 4),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("10 - 2 - 3", 5),
        ("N == 4 ? MAX(N, 9u) : 0", 9),
        ("N != 4 ? 1 : N > 3 ? 2 : 3", 2),
        ("DIV_ROUNDUP(n::size, 4)", 2),
        ("1 << 4 | 0x3 & ~1", 18),
        ("!N || N <= 4 && 1", 1),
        ("010 + 0", 8),
    ],
)
def test_constant_expressions(text, value):
    assert evaluate(text, {"N": 4, "n::size": 5}) == value


@pytest.mark.parametrize(
    "text", ["", "N", "1 +", "(1", "1 2", "1.5", "1 / 0", "MIN(1)", "2 ? 3", "(" * 9999, "1 << 99", "a::b<3>"]
)
def test_what_is_no_constant_expression(text):
    with pytest.raises(ValueError, match="must"):
        evaluate(text, {})


def test_calls():
    assert parse_call("nnet::f<a, g<b, c>>(x, h(y, z), 0.5)") == (
        "nnet::f",
        ("a", "g<b, c>"),
        ("x", "h(y, z)", "0.5"),
    )
    assert parse_call("x = f<a>(b)") is None
    assert parse_call("f<a>(b) + 1") is None
    assert parse_call("f<a(b)") is None
    assert split_commas(" ") == ()
