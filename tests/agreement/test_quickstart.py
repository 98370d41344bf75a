"""The whole way of a tiny study, once; then what a second run does, and does not, do again."""

import contextlib
import csv
import html
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from studies import STUDY, command_line, write_study

from l1ad import documents
from l1ad.cli import STEPS, main
from l1ad.compare import FLOAT32_BITS, corners
from l1ad.emulate import reference
from l1ad.emulate.native import available
from l1ad.events.store import EventFile, inputs
from l1ad.hardware.resources import ESTIMATE, HLS, LOGIC, TIMED
from l1ad.network import Network
from l1ad.study import pipeline, plots, preference_plots, rate_plots, report, samples
from l1ad.study.artefacts import (
    Agreements,
    PerformanceTable,
    ResourceTable,
    Run,
    Simulated,
    Training,
    load_scores,
    scored_by,
)
from l1ad.study.background import Background
from l1ad.study.config import load_study
from l1ad.study.hardware import Verdict, synth, verdict
from l1ad.study.rate_section import rate_section
from l1ad.study.rate_study import RateStudy
from l1ad.study.summary import summary
from l1ad.trigger import Rate, Refused, Threshold, accept, load_thresholds
from l1ad.trigger.samples import event_groups, n_effective

ROOT = Path(__file__).parents[2]
MODELS = ("small_ae", "small_vae")
N_CORNERS = 3 + 4 * 57
SIZES = {"train": 1500, "rate": 1500, "A → 4ℓ": 400, "LQ → bτ": 300}
OF_MODEL = ("train", "convert", "build", "emulate", "compare", "resources")
EMULATOR = f"native ({available()[0]})"
RTL = "small_vae: rtl"
RATES = {f"{model}: rates" for model in MODELS}
STAGES = {f"{model}: {step}" for model in MODELS for step in OF_MODEL} | {"tiny: rate", "tiny: report", RTL} | RATES


def run_main(*arguments):
    """Exit status and output of a command in this process and folder."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main([str(a) for a in arguments])
    return status, out.getvalue()


def done_and_skipped(output):
    done = re.findall(r"^(\w+: \w+): done in ", output, re.M)
    skipped = re.findall(r"^(\w+: \w+): up to date$", output, re.M)
    return set(done), set(skipped)


@pytest.fixture(scope="session")
def finished(once, require):
    """Folder of the finished study, and what the run said."""
    for tool in ("compiler", "verilator", "yosys"):
        require(tool)

    def study(folder):
        write_study(folder / "study")
        with contextlib.chdir(folder / "study"):
            status, output = run_main("run", "tiny.toml")
        assert status == 0
        (folder / "output").write_text(output, encoding="utf-8")

    folder = once("quickstart", study)
    return folder / "study", (folder / "output").read_text(encoding="utf-8")


@pytest.fixture
def run(finished, monkeypatch):
    """The finished study, to look at."""
    monkeypatch.chdir(finished[0])
    return Run(load_study("tiny.toml"))


@pytest.fixture
def copy(finished, tmp_path, monkeypatch):
    """The finished study, to change: a copy in the working folder."""
    shutil.copytree(finished[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def add_to_first_weight(path, amount):
    text, changed = re.subn(r"(\] = \{)([^,]+)", lambda m: f"{m[1]}{float(m[2]) + amount}", path.read_text())
    assert changed == 1
    path.write_text(text)


@pytest.fixture
def without_pictures(monkeypatch):
    """For a report whose words matter; most of its time goes to pictures."""
    for module in (plots, rate_plots, preference_plots):
        own = [one for one in vars(module).values() if inspect.isfunction(one) and one.__module__ == module.__name__]
        for function in own:
            if inspect.signature(function).return_annotation == "str":
                monkeypatch.setattr(module, function.__name__, lambda *_: "data:image/png;base64,")


def test_every_step_ran_once_and_left_its_files(finished):
    folder, output = finished
    assert done_and_skipped(output) == (STAGES, set())
    made = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    of_model = ("model.h5", "twin.h5", "training.json", "network.json", "scores.h5", "agreement.json")
    expected = {
        f"runs/tiny/{m}/{f}" for m in MODELS for f in (*of_model, "resources.json", "thresholds.json", "stages.json")
    }
    expected |= {
        f"runs/tiny/{m}/{f}" for m in MODELS for f in ("rates.json", "thresholds.csv", "menu_rates.csv", "seeds.toml")
    }
    expected.add("runs/tiny/small_vae/simulated.json")
    expected |= {f"runs/tiny/{f}" for f in ("study.toml", "performance.json", "report.html", "stages.json")}
    assert {name for name in made if name.startswith("runs/")} == expected
    for model in MODELS:
        project = f"firmware/tiny/{model}"
        for file in (
            "manifest.json",
            "build_prj.tcl",
            "l1ad_test.cpp",
            "firmware/l1ad.cpp",
            "tb_data/expected_scores_raw.dat",
        ):
            assert f"{project}/{file}" in made
    for file in ("rtl/l1ad_score.v", "rtl/l1ad_top.v", "vectors/expected.txt", "README.md"):
        assert f"firmware/tiny/small_vae-rtl/{file}" in made
    assert not [name for name in made if ".part" in name]
    assert (folder / "runs/tiny/study.toml").read_text(encoding="utf-8") == STUDY


@pytest.mark.parametrize("model", MODELS)
def test_no_mismatch_anywhere(run, model):
    paths = run.paths(model)
    network = Network.load(paths.network)
    found = documents.load(Agreements, paths.agreement)
    keras, native, csim = found.agreements
    assert (native.left, native.right) == ("reference", EMULATOR)
    assert (native.n_events, native.n_mismatches, native.operations) == (keras.n_events, 0, 1)
    assert scored_by(paths.scores) == EMULATOR
    assert (keras.left, keras.right, keras.n_mismatches, keras.first) == ("QKeras", "reference", 0, None)
    assert keras.n_events == N_CORNERS + sum(SIZES.values())
    assert keras.operations == len(network.operations) - 1
    assert (csim.left, csim.right, csim.n_mismatches, csim.first) == ("reference", "C simulation", 0, None)
    assert csim.n_events == N_CORNERS + 300
    assert found.network_digest == network.digest
    assert 0 < max(found.accumulator_bits.values()) <= FLOAT32_BITS


@pytest.mark.parametrize("model", MODELS)
def test_training_and_scores_are_of_the_samples(run, model):
    paths = run.paths(model)
    training = documents.load(Training, paths.training)
    assert training.n_train + training.n_validation == SIZES["train"]
    assert training.n_saturated == training.n_empty == 0
    assert {key: len(values) for key, values in training.losses.items()} == {
        "float_train": 3, "float_validation": 3, "quantised_train": 2, "quantised_validation": 2,
    }  # fmt: skip
    network = Network.load(paths.network)
    scores = load_scores(paths.scores, network)
    assert {name: len(raw) for name, (raw, _) in scores.items()} == {k: v for k, v in SIZES.items() if k != "train"}
    for name, path in run.samples.items():
        with EventFile(path) as file:
            np.testing.assert_array_equal(scores[name][0], reference.emulate(network, inputs(file.read())))
    raw, twin = scores["rate"]
    assert np.corrcoef(raw, twin)[0, 1] > 0.9
    assert len(np.unique(raw)) > 20
    network.input.low[0] = -1
    with pytest.raises(
        ValueError, match=r"scores\.h5: scores must be of network [0-9a-f]{12}; run `l1ad emulate` again"
    ):
        load_scores(paths.scores, Network(network.operations))


@pytest.mark.parametrize("model", MODELS)
def test_thresholds_meet_their_rates_or_are_refused(run, model):
    paths = run.paths(model)
    network = Network.load(paths.network)
    thresholds = load_thresholds(paths.thresholds, network.digest)
    low, high = thresholds.working_points
    assert (low.target_hz, high.target_hz) == (1e4, 2e6)
    assert isinstance(low.threshold, Refused)
    assert isinstance(low.pure, Refused)
    assert isinstance(high.threshold, Threshold)
    raw = load_scores(paths.scores, network)["rate"][0]
    accepted = accept(raw, high.threshold.raw)
    assert high.threshold.rate.value_hz == pytest.approx(2544 * 11245.5 * accepted.mean())
    assert high.threshold.rate.value_hz <= 2e6 < 2544 * 11245.5 * accept(raw, high.threshold.raw - 1).mean()
    assert high.threshold.rate.n_raw == accepted.sum() >= 25
    assert thresholds.simulated is True
    table = documents.load(PerformanceTable, run.performance)
    mine = [e for e in table.efficiencies if e.model == model]
    assert [(e.target_hz, e.signal) for e in mine] == [(2e6, "A → 4ℓ"), (2e6, "LQ → bτ")]
    assert {p.detector for p in table.comparison.performances} == {*MODELS, "Σ pT", "multiplicity"}
    at_10_khz = [p for p in table.comparison.performances if p.target_hz == 1e4 and p.detector == model]
    assert len(at_10_khz) == 2
    assert all(isinstance(p.result, Refused) for p in at_10_khz)
    assert {d.verdict for d in table.comparison.differences if d.target_hz == 1e4 and d.detector == model} == {
        "refused"
    }


class Page(HTMLParser):
    """Texts and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.links, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.links += [(tag, key, value) for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]
        assert tag not in ("script", "link", "iframe", "object")

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.mark.parametrize("model", MODELS)
def test_the_rates_of_a_menu_are_those_of_the_stored_scores(run, model):
    paths = run.paths(model)
    network = Network.load(paths.network)
    found, thresholds = documents.load(RateStudy, paths.rates), load_thresholds(paths.thresholds, network.digest)
    known = [point for point in thresholds.working_points if isinstance(point.threshold, Threshold)]
    assert [point.threshold for point in found.points] == [point.threshold for point in known]
    sample, scores = samples.rate_sample(run), load_scores(paths.scores, network)["rate"][0]
    fires, groups = scores >= known[0].threshold.raw, event_groups(sample.groups, len(scores))
    crossing_rate_hz = run.study.config.rate.collider.crossing_rate_hz
    seed = found.menu.seeds[-1]
    assert (seed.seed.name, seed.seed.family) == (f"{model}_2000kHz", model)
    for quoted, accepted in (
        (seed.total, fires),
        (seed.pure, fires & ~sample.taken),
        (found.menu.total, fires | sample.taken),
        (found.menu.added, fires & ~sample.taken),
    ):
        assert quoted.n_raw == accepted.sum()
        assert quoted.value_hz == pytest.approx(crossing_rate_hz * sample.weights[accepted].sum(), rel=1e-12)
        assert quoted.n_effective == pytest.approx(
            n_effective(sample.weights[accepted], None if groups is None else groups[accepted])
        )
    with (paths.folder / "thresholds.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["Threshold_raw"] for row in rows if row["Name"] == seed.seed.name] == [str(known[0].threshold.raw)]
    assert {row["Network"] for row in rows} == {network.digest}
    assert rows[0]["Stage"].startswith("refused: n_eff ")
    with (paths.folder / "menu_rates.csv").open(encoding="utf-8") as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert float(rows["menu"]["Rate_kHz"]) == pytest.approx(found.menu.total.value_hz / 1e3, rel=1e-5)
    low, high = found.menu.total.interval_hz
    assert (float(rows["menu"]["Rate_low_kHz"]), float(rows["menu"]["Rate_high_kHz"])) == pytest.approx(
        (low / 1e3, high / 1e3), rel=1e-5
    )
    text = (paths.folder / "seeds.toml").read_text()
    (anomaly,) = tomllib.loads(text)["anomaly"]
    assert anomaly["threshold"] == known[0].threshold.raw
    assert anomaly["network"] == network.digest
    assert "# not for use: a rate known to " in text  # some hundred events


@pytest.mark.parametrize("model", MODELS)
def test_rates_by_block_and_bunch_are_of_the_events_in_them(run, model):
    (point,) = documents.load(RateStudy, run.paths(model).rates).points
    with EventFile(run.samples["rate"]) as file:
        meta = file.read(0, len(file)).meta
    scores = load_scores(run.paths(model).scores, Network.load(run.paths(model).network))["rate"][0]
    fires = accept(scores, point.threshold.raw)
    assert [parts.by for parts in point.parts] == ["luminosity block", "bunch crossing"]  # one run; pileup not known
    blocks, bunches = point.parts
    assert blocks.x == (1, 2)
    for number, rate in zip(blocks.x, blocks.rates, strict=True):
        assert rate.n_raw == fires[meta["ls"] == number].sum()
        if isinstance(rate, Rate):
            assert rate.value_hz == pytest.approx(28_608_552 * fires[meta["ls"] == number].mean())
    assert any(isinstance(rate, Rate) for rate in blocks.rates)
    assert 1 < len(bunches.x) < 5  # so few events that neighbours are joined
    assert sum(rate.n_raw for rate in bunches.rates) == fires.sum()
    assert blocks.alarms  # one is of softer events: which a model finds the odd ones, is its own
    page = html.unescape((run.study.runs / "report.html").read_text(encoding="utf-8"))
    for parts in point.parts:
        for alarm in parts.alarms:
            assert f"Alarm: {point.seed} by {parts.by}, {alarm}." in page


def test_rates_of_another_network_are_refused(copy):
    run = Run(load_study(copy / "tiny.toml"))
    paths = run.paths("small_vae")
    paths.rates.write_bytes(run.paths("small_ae").rates.read_bytes())
    network = Network.load(paths.network)
    with pytest.raises(ValueError, match=r"rates\.json must belong to network .*, not .*; rate again"):
        rate_section(run, "small_vae", paths, network, {}, ("none", np.zeros(1, np.int64)), Background.of(run))


def test_the_report_is_one_self_contained_page(run):
    text = (run.study.runs / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    # bars at 10 kHz if a baseline has a rate; curves, turn-ons, one rate by block and bunch, what it takes, comparisons
    assert len(page.links) == (4 + 3 + 4 + 2 + 3 + 3) * len(MODELS) + 1
    for link in page.links:
        assert link[:2] == ("img", "src")
        assert re.match(r"data:image/png;base64,[A-Za-z0-9+/=]{1000}", link[2])
    assert not re.search(r"https?://|url\(|@import", text)
    headings = re.findall(r"<h[123]>(.*?)</h[123]>", text)
    of_model = ["Agreement", "Thresholds", "Rates for a menu", "Latency and resources", "Pictures", "What was trained"]
    assert headings == [
        "Study tiny",
        "Models against plain baselines",
        *("Model small_ae", *of_model),
        *("Model small_vae", *of_model),
        "Where it comes from",
    ]


def test_the_report_says_what_a_reader_must_know(run):
    text = (run.study.runs / "report.html").read_text(encoding="utf-8")
    words = " ".join(Page(text).texts)
    assert "refused: n_eff 0 &lt; 25" in text
    assert "add events to the tail" in words
    assert "simulated, before dead time" in words
    assert "Simulated zero-bias is a stand-in for data." in words
    assert "High score = anomalous" in words
    assert "estimate" in words
    assert "Vitis HLS is not on the PATH: no C synthesis was run." in words
    assert "not of hls4ml's C++" in words
    assert "No RTL was asked for: `l1ad synth --full` makes it." in words
    assert re.search(
        r"The RTL took \d+ clocks for every event, as declared, in \d+ simulated clocks", " ".join(words.split())
    )
    assert "not known" in words
    assert "A → 4ℓ" in words
    for model in MODELS:
        assert Network.load(run.paths(model).network).digest in text
    for digest in run.sample_digests.values():
        assert digest[:12] in text
    assert "None" not in words
    assert "nan" not in words.split()
    for line in summary(run):
        assert line in words


def test_the_summary_is_short_and_says_it_all(run, finished):
    lines = summary(run)
    assert len(lines) <= 14
    assert finished[1].splitlines()[-len(lines) :] == lines
    assert lines[0] == "report: runs/tiny/report.html   firmware: firmware/tiny/"
    for model in MODELS:
        mine = [line for line in lines if line.startswith(f"{model}: ")]
        assert mine[0] == (
            f"{model}: QKeras = reference with 0 mismatches in 3931 events, "
            f"reference = {EMULATOR} with 0 mismatches in 3931 events, "
            "reference = C simulation with 0 mismatches in 531 events"
        ) + (
            ", reference = RTL (Verilator 5.48.0) with 0 mismatches in 531 events"
            ", reference = netlist (gate level) with 0 mismatches in 40762 events"
            if model == "small_vae"
            else ""
        )
        assert "[10 kHz refused: n_eff 0 < 25]" in mine[1]
        assert mine[1].endswith(" (simulated, before dead time)")
        assert "float twin " in mine[2]
        assert re.search(r": \d+ LUT, \d+ FF, 0 DSP, \d+ ns on xcvu13p-flga2577-2-e \(estimate\)$", mine[3])
    assert re.search(r": \d+ LUT, \d+ FF, 0 DSP, \d+ ns on UltraScale\+, any \(logic synthesis\)$", mine[4])
    assert re.search(r": [\d.]+ ns on Artix-7 \(static timing before routing\)$", mine[5])


@pytest.mark.usefixtures("copy")
def test_a_second_run_does_nothing(finished):
    begin = time.perf_counter()
    status, output = run_main("run", "tiny.toml")
    assert status == 0
    assert done_and_skipped(output) == (set(), STAGES)
    assert time.perf_counter() - begin < 10
    assert output.splitlines()[-9:] == finished[1].splitlines()[-9:]


@pytest.mark.usefixtures("without_pictures")
def test_other_rates_leave_models_and_firmware_alone(copy):
    edit(copy / "tiny.toml", "targets_khz = [10, 2000]", "targets_khz = [1000, 2000]")
    status, output = run_main("run", "tiny.toml")
    assert status == 0
    again = {"tiny: rate", "tiny: report", RTL} | RATES  # whose default thresholds are others
    assert done_and_skipped(output) == (again, STAGES - again)
    assert "1000 kHz" in (copy / "runs/tiny/report.html").read_text(encoding="utf-8")


def test_a_menu_of_the_study_is_part_of_its_rates(copy):
    seed = '[[seeds]]\nname = "HT{0}"\nobjects = [{{ collection = "ht", pt = [{0}.0] }}]\n'
    menu = copy / "menu.toml"
    menu.write_text(seed.format(50))
    edit(copy / "tiny.toml", "[rate]", '[rate]\nmenu = "menu.toml"')
    assert "tiny: rate" in done_and_skipped(run_main("rate", "tiny.toml")[1])[0]
    assert "tiny: rate" in done_and_skipped(run_main("rate", "tiny.toml")[1])[1]
    menu.write_text(seed.format(20))
    assert "tiny: rate" in done_and_skipped(run_main("rate", "tiny.toml")[1])[0]
    menu.write_text("seeds = 1")
    assert run_main("rate", "tiny.toml")[0] == 1


def test_a_deleted_network_is_made_again_and_is_the_same(copy):
    path = copy / "runs/tiny/small_ae/network.json"
    before = path.read_bytes()
    path.unlink()
    status, output = run_main("emulate", "tiny.toml")
    assert status == 0
    assert done_and_skipped(output)[0] == {"small_ae: convert"}
    assert path.read_bytes() == before


def test_an_edited_artefact_is_made_again(copy):
    path = copy / "runs/tiny/small_vae/thresholds.json"
    before = path.read_bytes()
    document = json.loads(before)
    path.write_text(json.dumps(document | {"digest": "0" * 64}))
    status, output = run_main("rate", "tiny.toml")
    assert status == 0
    assert done_and_skipped(output)[0] == {"tiny: rate"}
    assert path.read_bytes() == before


def test_an_edited_firmware_project_is_written_again(copy):
    weights = copy / "firmware/tiny/small_vae/firmware/weights/w4.h"
    before = weights.read_bytes()
    add_to_first_weight(weights, 0.5)
    status, output = run_main("compare", "tiny.toml")
    assert status == 0
    done, skipped = done_and_skipped(output)
    assert done == {"small_vae: build"}
    assert "small_vae: compare" in skipped  # of the same sources as before
    assert weights.read_bytes() == before


def test_another_clock_needs_no_training(copy):
    """In a process of its own: the build loads hls4ml, and its Keras 3, before the comparison loads Keras 2."""
    edit(copy / "tiny.toml", "clock_ns = 5.0", "clock_ns = 4.0")
    code = "from l1ad.cli import main; assert main(['build', 'tiny.toml']) == 0; import l1ad.models.keras"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    built = {f"{model}: build" for model in MODELS}
    others = {f"{model}: {step}" for model in MODELS for step in ("train", "convert")}
    assert done_and_skipped(done.stdout) == (built, others)


def test_hardware_that_is_used_again_needs_no_training(copy):
    edit(copy / "tiny.toml", "[rtl]", "[rtl]\ninterval_cycles = 5")
    status, output = run_main("synth", "tiny.toml")
    assert status == 0
    assert done_and_skipped(output)[0] == {"small_vae: rtl", "small_vae: resources", "small_ae: resources"}
    simulated = documents.load(Simulated, copy / "runs/tiny/small_vae/simulated.json")
    table = documents.load(ResourceTable, copy / "runs/tiny/small_vae/resources.json")
    assert simulated.agreement.n_mismatches == table.gates.n_mismatches == 0
    assert simulated.agreement.n_events > 300
    assert {row.stage: row.interval_cycles for row in table.rows} == {LOGIC: 5, TIMED: 5}
    assert "knows one event a clock only" in table.note


def test_an_interrupted_run_goes_on(copy, monkeypatch):
    (copy / "runs/tiny/performance.json").unlink()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "compare_detectors", interrupted)
        assert run_main("rate", "tiny.toml")[0] == 130
    status, output = run_main("rate", "tiny.toml")
    assert status == 0
    assert done_and_skipped(output)[0] == {"tiny: rate"}


@pytest.mark.usefixtures("copy")
def test_each_verb_takes_the_steps_before_it():
    for number, verb in enumerate(STEPS, 1):
        status, output = run_main(verb, "tiny.toml")
        assert status == 0
        expected = {stage for stage in STAGES if stage.split(": ")[1].removesuffix("s") in STEPS[:number]}
        expected |= {stage for stage in STAGES if stage.endswith(("resources", "rtl")) and number >= len(STEPS) - 1}
        assert done_and_skipped(output) == (set(), expected)


@pytest.mark.parametrize("model", MODELS)
def test_files_go_the_same_way_as_the_study(run, model, tmp_path):
    paths = run.paths(model)
    network = Network.load(paths.network)
    status, output = run_main("import", paths.model, "--out", tmp_path / "network.json")
    assert status == 0
    assert f"network.json: network {network.digest[:12]}, 57 inputs, " in output
    assert (tmp_path / "network.json").read_bytes() == paths.network.read_bytes()
    status, output = run_main("compare", paths.network, "--against", paths.project)
    assert status == 0
    assert f"reference = C simulation: 0 mismatches in {N_CORNERS + 100_000} events (1 operations each)" in output


def test_a_corrupt_weight_is_found_and_named(copy):
    project = copy / "firmware/tiny/small_vae"
    add_to_first_weight(project / "firmware/weights/w4.h", 0.5)
    done = command_line("compare", "runs/tiny/small_vae/network.json", "--against", project, cwd=copy)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(
        r"^reference = C simulation: \d+ mismatches in 100231 events; first at event \d+, "
        r"operation 'latent', element 0: raw -?\d+ against -?\d+ in ap_fixed<10,5,AP_RND_CONV,AP_SAT>$",
        done.stdout,
        re.M,
    ), done.stdout
    assert "operation 'latent': weight differs in 1 of " in done.stdout
    said = r"l1ad: error: .*small_vae: must give the scores of .*network.json, not others in \d+ events"
    assert re.fullmatch(said, done.stderr.splitlines()[-1])


def changed(run, old, new):
    """The study with one text replaced, its artefacts as they are."""
    edit(run.study.path, old, new)
    return Run(load_study("tiny.toml"))


def fake_vitis(folder, monkeypatch, *changes):
    report_text = (ROOT / "tests/reports/csynth.xml").read_text()
    for old, new in changes:
        assert old in report_text
        report_text = report_text.replace(old, new, 1)
    (folder / "csynth.xml").write_text(report_text)
    (folder / "bin").mkdir()
    tool = folder / "bin/vitis-run"
    report_folder = "l1ad_prj/solution1/syn/report"
    tool.write_text(f"#!/bin/sh\nmkdir -p {report_folder}\ncp {folder}/csynth.xml {report_folder}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("without_pictures")
def test_synthesis_stands_beside_the_estimate(copy, monkeypatch, tmp_path):
    fake_vitis(tmp_path, monkeypatch, (">13<", ">undef<"), ("<LUT>17171</LUT>", ""))
    run = Run(load_study("tiny.toml"))
    synth(run, full=False, vendor=None)
    table = documents.load(ResourceTable, run.paths("small_ae").resources)
    assert [row.stage for row in table.rows] == [ESTIMATE, HLS]
    assert (table.rows[1].lut, table.rows[1].latency_ns) == (None, None)
    assert table.note.endswith("Vitis HLS was found on the PATH and run.")
    lines = summary(run)
    assert len(lines) <= 16
    assert "small_ae: 4242 FF, 57 DSP on xcvu13p-flga2577-2-e (HLS C synthesis)" in lines
    report.write_report(run, copy / "page.html")
    text = (copy / "page.html").read_text(encoding="utf-8")
    assert "None" not in " ".join(Page(text).texts)
    assert text.count('<td class="n">not known</td>') >= 2 * 3


@pytest.mark.usefixtures("without_pictures")
def test_reports_of_a_vendor_are_shown(copy, tmp_path):
    run = Run(load_study("tiny.toml"))
    (tmp_path / "reports").mkdir()
    shutil.copy(ROOT / "tests/reports/csynth.xml", tmp_path / "reports")
    status, _ = run_main("report", "tiny.toml", "--vendor", tmp_path / "reports")
    assert status == 0
    table = documents.load(ResourceTable, run.paths("small_vae").resources)
    assert [row.stage for row in table.rows] == [ESTIMATE, HLS, LOGIC, TIMED]
    assert table.rows[1].lut == 17171
    assert HLS in (run.study.runs / "report.html").read_text(encoding="utf-8")
    status, output = run_main("report", "tiny.toml")
    assert status == 0
    assert "small_vae: resources" in done_and_skipped(output)[1], "they stay"
    text = (tmp_path / "reports/csynth.xml").read_text()
    (tmp_path / "reports/csynth.xml").write_text(text[: len(text) // 2])
    done = command_line("report", "tiny.toml", "--vendor", tmp_path / "reports", cwd=copy)
    assert done.returncode == 1
    assert "csynth.xml" in done.stderr
    assert run_main("report", "tiny.toml", "--vendor", tmp_path / "absent")[0] == 1


def test_the_budget_is_judged(run):
    config, part = run.study.config.rtl, run.study.config.firmware.part
    row = documents.load(ResourceTable, run.paths("small_vae").resources).rows[0]
    assert verdict(replace(row, lut=172_800, latency_ns=50.0), config, part) == Verdict(True, 0.1, True)
    assert verdict(replace(row, lut=172_801, latency_ns=50.1), config, part).fits is False
    assert verdict(replace(row, lut=172_801, latency_ns=50.1), config, part).latency is False
    assert verdict(replace(row, lut=None, latency_ns=None), config, part) == Verdict(None, None, None)
    assert verdict(row, config, "xc-unknown").share is None


SAMPLE = ROOT / "sample"


def test_the_committed_sample_goes_through(tmp_path, monkeypatch):
    """Real events of the repository, one epoch, up to the scores; every operation equals QKeras on the rate sample."""
    text = (ROOT / "configs/quickstart.toml").read_text(encoding="utf-8")
    head, _, tail = text.partition("[models.autoencoder]")
    text = head + tail[tail.index("[models.vae]") :]
    text = re.sub(r"_epochs = \d+", "_epochs = 1", text).replace('"../sample/', f'"{SAMPLE}/')
    (tmp_path / "quickstart.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    status, _ = run_main("emulate", "quickstart.toml")
    assert status == 0
    run = Run(load_study("quickstart.toml"))
    paths = run.paths("vae")
    network = Network.load(paths.network)
    sizes = {name: len(raw) for name, (raw, _) in load_scores(paths.scores, network).items()}
    training = documents.load(Training, paths.training)
    assert training.n_train + training.n_validation + training.n_saturated + training.n_empty >= 50_000
    assert sizes.pop("rate") >= 30_000
    assert len(sizes) == 9
    assert min(sizes.values()) >= 2_000
    assert sum(size >= 4_000 for size in sizes.values()) >= 4
    weights = samples.rate_sample(run).weights
    assert weights.sum() == pytest.approx(1, abs=4 / np.sqrt(n_effective(weights)))
    assert n_effective(weights) > 4_000
    x = samples.csim_inputs(run, network, run.study.config.csim_events)
    np.testing.assert_array_equal(x[:N_CORNERS], corners(network))
    assert len(x) == N_CORNERS + run.study.config.csim_events
