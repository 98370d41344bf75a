"""C simulation of any hls4ml project, as it is: its own sources, compiled once, run over many events.

The top function, or the emulator that was written by hand around it, is included in one C++ program that reads the
raw numbers of events and writes those of the results.  It runs in a process of its own, because the code of a
project may end the process that it runs in: hls4ml's does so where a file of weights is missing.

Raw numbers travel as bits, so that they are exact at every width, and each type is compared with what C++ knows of
it when the program is compiled.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from l1ad.compiler import find_compiler
from l1ad.errors import ToolNotFoundError, UnsupportedError
from l1ad.files import digest, file_digest
from l1ad.fixed import FixedPoint, Raw

FLAGS = ("-O3", "-std=c++17", "-w", "-DNDEBUG")
"""As hls4ml and CMS compile; -O1 to -O3 run at one speed, -O0 at a twentieth of it.  NDEBUG: the AP headers assert
where a rounding cast drops more bits than there are, though they round rightly."""

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)


@dataclass(frozen=True)
class Port:
    """A C++ array of one type.

    Parameters
    ----------
    name : str
    type : FixedPoint
    size : int
    """

    name: str
    type: FixedPoint
    size: int


@dataclass(frozen=True)
class Sources:
    """What to compile, and what goes in and out.

    Parameters
    ----------
    folder : Path
        The project's; headers are searched below it.
    source : Path
        The .cpp of the top function.
    top, namespace : str
        Name of the top function, and the namespace around it (empty if none).
    input : Port
        Argument of the top function; with `emulator`, what its ``prepare_input`` takes.
    output : Port
        Argument of the top function; with `emulator`, what its ``read_result`` gives, or the first of the pair.
    results : tuple of (int, Port)
        For the trace: the line of `source` (from 1) on which a layer's call ends, and the array it fills.
    emulator : Path or None
        The .cpp of a class around the top function that derives from ``hls4mlEmulator::Model``.
    score : Port or None
        The second of the pair that ``read_result`` gives, of size 1.
    """

    folder: Path
    source: Path
    top: str
    namespace: str
    input: Port
    output: Port
    results: tuple[tuple[int, Port], ...] = ()
    emulator: Path | None = None
    score: Port | None = None


def run(
    sources: Sources, x: Raw, *, build: Path, trace: bool = False, flags: tuple[str, ...] = FLAGS
) -> dict[str, Raw]:
    """Raw results of the C simulation by array, each of shape (n_events, size): output, score, with `trace` all.

    Parameters
    ----------
    sources : Sources
    x : int64 array, shape (n_events, size)
        Raw numbers of the input's type.
    build : Path
        Folder for compiled programs; what is there already, and is of the same sources, is not compiled again.
    trace : bool
        Whether to record every layer, from a copy of the top function that calls a recorder behind each.
    flags : tuple of str
        Of the compiler.

    Raises
    ------
    ToolNotFoundError
        If there is no C++ compiler.
    TypeError, ValueError
        If `x` is not what is stated above, or the project lacks its headers.
    UnsupportedError
        If the emulator passes its data in a way that is not understood.
    RuntimeError
        If the compiler or the simulation fails; the text holds what it said.
    """
    kind, size = sources.input.type, sources.input.size
    if x.dtype != np.int64:
        raise TypeError(f"{sources.folder}: raw inputs must be int64, not {x.dtype}")
    if x.ndim != 2 or x.shape[1] != size:
        raise ValueError(f"{sources.folder}: inputs must be of shape (n_events, {size}), not {x.shape}")
    if x.size and not kind.min_raw <= x.min() <= x.max() <= kind.max_raw:
        raise ValueError(f"{sources.folder}: raw inputs must fit {kind}, not lie between {x.min()} and {x.max()}")
    sources = replace(sources, results=tuple(sorted(sources.results, key=lambda result: result[0])))
    ports = [port for _, port in sources.results] if trace else []
    ports += [port for port in (sources.output, sources.score) if port]
    program = _compile(sources, build, trace, flags)
    with TemporaryDirectory(dir=program.parent, prefix=".") as scratch:
        given, made = Path(scratch, "x"), Path(scratch, "results")
        x.tofile(given)
        # the oldest projects look for weights below the current directory
        command, cwd = [program, given, made], sources.source.parent
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode or "ERROR" in said:  # of weights that are too few, hls4ml only says so
            end = f"exit {done.returncode}" if done.returncode >= 0 else signal.Signals(-done.returncode).name
            raise RuntimeError(f"{sources.folder}: C simulation failed ({end}): {said[:2000] or 'it said nothing'}")
        raw = np.fromfile(made, np.int64)
    sizes = [port.size for port in ports]
    if raw.size != len(x) * sum(sizes):
        raise RuntimeError(
            f"{sources.folder}: C simulation must give {len(x)} x {sum(sizes)} numbers, not {raw.size}; "
            "a layer may run more or less than once an event, or the disk be full"
        )
    columns = np.split(raw.reshape(len(x), sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
    return {port.name: column for port, column in zip(ports, columns, strict=True)}


def exchanged_types(emulator: Path) -> tuple[str, str]:
    """C++ types that the emulator's ``prepare_input`` and ``read_result`` take pointers to.

    As written, but for names that its class keeps to itself: what those stand for.

    Raises
    ------
    UnsupportedError
        If one of them casts its argument to no pointer.
    """
    text = re.sub(_COMMENT, lambda comment: "\n" * comment[0].count("\n"), emulator.read_text("utf-8", "replace"))
    return _exchanged(emulator, text, "prepare_input"), _exchanged(emulator, text, "read_result")


def _exchanged(emulator: Path, text: str, function: str) -> str:
    """Type of the first ``std::any_cast<TYPE*>(`` from the definition of `function` to the next virtual one."""
    start = re.search(rf"\b{function}\s*\(", text)
    if not start:
        raise UnsupportedError(f"{emulator}: an emulator must define {function}(std::any), and this one does not")
    found = re.search(r"\bany_cast\s*<\s*([^;]*?)\s*\*\s*>\s*\(", text[start.end() :].split("virtual")[0])
    if not found:
        line = text.count("\n", 0, start.start()) + 1
        raise UnsupportedError(f"{emulator}:{line}: {function} must cast its argument by std::any_cast<TYPE*>")
    named = {name: kind for kind, name in re.findall(r"\btypedef\s+(ap_\w+\s*<[^;>]*>)\s+(\w+)\s*;", text)}
    named |= dict(re.findall(r"\busing\s+(\w+)\s*=\s*(ap_\w+\s*<[^;>]*>)\s*;", text))
    return re.sub(r"\w+", lambda word: named.get(word[0], word[0]), found[1])


# libc++ (clang, zig) refuses the headers' std::complex of AP types, which needs the special headers
_PRELUDE = r"""
#include <cstddef>
#ifdef _LIBCPP_VERSION
#define __AP_INT_SPECIAL_H__
#define __AP_FIXED_SPECIAL_H__
#endif
#include "ap_fixed.h"
#include "ap_int.h"
#include <array>
#include <cstdint>
#include <cstdio>
#include <type_traits>

namespace l1ad_csim {

inline std::FILE *given, *made;

// W bits, I of them integer, S: with sign
template <int W, int I, bool S> struct layout {
    template <int N, class T> static bool read(T *x) {
        std::uint64_t raw[N];
        if (std::fread(raw, sizeof *raw, N, given) != N)
            return false;
        for (int i = 0; i < N; i++)
            x[i].range(W - 1, 0) = raw[i];
        return true;
    }
    template <int N, class T> static void write(T *x) {
        std::int64_t raw[N];
        for (int i = 0; i < N; i++) {
            std::uint64_t bits = x[i].range(W - 1, 0).to_uint64() << (64 - W);
            raw[i] = S ? static_cast<std::int64_t>(bits) >> (64 - W) : bits >> (64 - W);
        }
        std::fwrite(raw, sizeof *raw, N, made);
    }
};

template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
layout<W, I, S> layout_of(const ap_fixed_base<W, I, S, Q, O, N> *);
template <int W, bool S> layout<W, W, S> layout_of(const ap_int_base<W, S> *);

template <class T> T *begin(T &x) { return &x; }
template <class T, std::size_t N> T *begin(std::array<T, N> &x) { return x.data(); }

} // namespace l1ad_csim
"""

_SIMULATE = """
template <class X, class Y> void simulate(void (*top)(X *, Y *)) {
    for (;;) {
        std::remove_const_t<X> x[@n_in];
        Y y[@n_out];
        @read
        top(x, y);
        @write
    }
}
"""
_EMULATE = """
void simulate(hls4mlEmulator::Model *model) {
    for (;;) {
        @given x[@n_in];
        @made y[@n_out];
        @read
        model->prepare_input(&x[0]);
        model->predict();
        model->read_result(&y[0]);
        @write
    }
}
"""
_MAIN = """
#include <map>
#include <string>

namespace nnet { // what hls4ml's own trace, if the project has it, asks whether it is on
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = nullptr;
std::size_t trace_type_size = sizeof(double);
} // namespace nnet

int main(int, char **arguments) {
    l1ad_csim::given = std::fopen(arguments[1], "rb");
    l1ad_csim::made = std::fopen(arguments[2], "wb");
    simulate(@what);
    return std::fclose(l1ad_csim::made) != 0;
}
"""


def _quoted(path: Path) -> str:
    """C++ string literal."""
    return json.dumps(str(path), ensure_ascii=False)


def _layout(port: Port) -> str:
    kind = port.type
    return f"::l1ad_csim::layout<{kind.width}, {kind.width - kind.frac}, {str(kind.signed).lower()}>"


def _check(port: Port, array: str) -> str:
    """C++ statements: `array` must be of the port's type, as far as its raw numbers depend on it, and of its size."""
    same = f"std::is_same<decltype(::l1ad_csim::layout_of({array})), {_layout(port)}>::value"
    whole = f"std::is_pointer<decltype({array})>::value || sizeof({array}) == {port.size} * sizeof(*({array}))"
    return (
        f'static_assert({same}, "{port.name} must be of the width, integer bits and sign of {port.type}"); '
        f'static_assert({whole}, "{port.name} must be of size {port.size}");'
    )


def _write(port: Port, array: str) -> str:
    return f"{_check(port, array)} {_layout(port)}::write<{port.size}>({array});"


def _harness(sources: Sources, source: str) -> str:
    """The program's own C++: it includes the top function, or the emulator, and calls it event by event."""
    given, output, score = sources.input, sources.output, sources.score
    words = {"n_in": str(given.size), "n_out": str(output.size), "write": _write(output, "y")}
    words["read"] = f"{_check(given, 'x')} if (!{_layout(given)}::read<{given.size}>(x)) return;"
    if sources.emulator is None:
        included, simulate = source, _SIMULATE
        words["what"] = f"{sources.namespace}::{sources.top}"
    else:
        included, simulate = str(sources.emulator), _EMULATE
        words["given"], words["made"] = exchanged_types(sources.emulator)
        words["what"] = "create_model()"
        if score:
            first, second = "::l1ad_csim::begin(y[0].first)", "&y[0].second"
            whole = f"sizeof y[0].first == {output.size} * sizeof *{first}"
            size = f'static_assert({whole}, "size of {output.name}, first of the pair");'
            words |= {"n_out": "1", "write": f"{size} {_write(output, first)} {_write(score, second)}"}
    return f'#include "{included}"\n' + re.sub(r"@(\w+)", lambda word: words[word[1]], simulate + _MAIN)


def _traced(sources: Sources) -> str:
    """Text of the top function's file with a recorder behind each layer."""
    lines = sources.source.read_text("utf-8", "surrogateescape").split("\n")
    for number, port in reversed(sources.results):
        lines[number:number] = [_write(port, port.name), f"#line {number + 1}"]
    return "\n".join([f"#line 1 {_quoted(sources.source)}", *lines, ""])


def _compile(sources: Sources, build: Path, trace: bool, flags: tuple[str, ...]) -> Path:
    """The compiled program, from `build` if it is there already."""
    folder, source, build = sources.folder.resolve(), sources.source.resolve(), build.resolve()
    emulator = sources.emulator and sources.emulator.resolve()
    sources = replace(sources, folder=folder, source=source, emulator=emulator)
    ap_types, nnet_utils = _ap_types(folder), _shallowest(folder, "nnet_utils")
    wanted = any(b'"nnet_utils/' in path.read_bytes() for path in source.parent.glob("*.h"))
    if nnet_utils is None and wanted:
        raise ValueError(
            f"{folder}: an hls4ml project must hold its folder nnet_utils, and this one does not; "
            "copy the one that it was written with, since its arithmetic depends on the version of hls4ml"
        )
    top = "traced.cpp" if trace else str(source)
    weights = f"#define WEIGHTS_DIR {_quoted(source.parent / 'weights')}\n"
    texts = {"l1ad_csim.h": weights + _PRELUDE, "harness.cpp": _harness(sources, top)}
    texts["emulator.h"] = Path(__file__).with_name("emulator.h").read_text("utf-8")
    if trace:
        texts["traced.cpp"] = _traced(sources)
    folders = [".", *map(str, (source.parent, (nnet_utils or source).parent, ap_types))]
    command = [*shlex.split(find_compiler()), *flags, *(f"-I{path}" for path in folders), "-include", "l1ad_csim.h"]
    command += ["harness.cpp", *([top] if emulator else []), "-o", "program"]
    files = {
        str(path): file_digest(path)
        for root in {folder, ap_types, emulator.parent if emulator else folder}
        for path in root.rglob("*")
        if path.suffix in (".h", ".hpp", ".cpp", ".txt") and build not in path.parents
    }
    executable = build / f"{sources.top}-{digest([command, texts, files])[:16]}"
    if executable.exists():
        return executable
    build.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=build, prefix=".") as scratch:
        for name, text in texts.items():
            Path(scratch, name).write_text(text, "utf-8", "surrogateescape")
        done = subprocess.run(
            command, cwd=scratch, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode:
            lines = done.stdout.splitlines()
            said = [line for line in lines if re.search("error|undefined|multiple definition", line, re.I)] or lines
            raise RuntimeError(f"{sources.folder}: C++ compilation failed:\n" + "\n".join(said[:20]))
        Path(scratch, "program").replace(executable)
    return executable


def _shallowest(folder: Path, name: str) -> Path | None:
    """The file or folder `name` below `folder` with the shortest path."""
    return min(folder.rglob(name), key=lambda path: (len(path.parts), path), default=None)


def _ap_types(folder: Path) -> Path:
    """The project's own headers of AP types, or those that hls4ml ships, which define them for l1ad."""
    own = _shallowest(folder, "ap_fixed.h")
    if own:
        return own.parent
    hls4ml = importlib.util.find_spec("hls4ml")  # not imported: it takes seconds
    if hls4ml is None or hls4ml.origin is None:
        raise ToolNotFoundError(f"{folder}: has no folder ap_types, and hls4ml, which ships one, is not installed")
    return Path(hls4ml.origin).parent / "templates" / "vivado" / "ap_types"
