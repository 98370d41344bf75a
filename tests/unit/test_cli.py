import json
import re
import statistics
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from studies import STUDY, command_line, random_trigger_events, small_network, write_events, write_study

from l1ad import __version__, cli
from l1ad.cli import STEPS, main
from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.events.menu import load_menu
from l1ad.events.schema import input_columns, load_schema, presence_index
from l1ad.events.store import EventFile, concatenate, inputs
from l1ad.hardware.hls import write_project
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.prove.certificate import check
from l1ad.prove.certificate import load as certificate_of
from l1ad.study import artefacts, samples
from l1ad.study.config import load_study

SCHEMA = load_schema()
FILE_VERBS = ("import", "verify", "minimise", "lint", "fuzz")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fails(capsys):
    """Function that runs a command which must fail, and returns the one line of its error."""

    def failing(*arguments):
        assert main([str(a) for a in arguments]) == 1
        captured = capsys.readouterr()
        assert re.fullmatch(r"l1ad: error: [^\n]+\n", captured.err), captured.err
        return captured.err.removeprefix("l1ad: error: ").rstrip("\n")

    return failing


@pytest.fixture
def network(here):
    """``network.json`` of a network of the schema's columns."""
    network = small_network(input_columns(SCHEMA))
    network.save(here / "network.json")
    return network


@pytest.fixture
def events(here):
    """``events.h5``, 500 events."""
    events = random_trigger_events(SCHEMA, 500, seed=5)
    write_events(here / "events.h5", events)
    return events


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_answers_come_within_a_second(option, tmp_path):
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = command_line(option, cwd=tmp_path)
        seconds.append(time.perf_counter() - begin)
        assert (done.returncode, done.stderr) == (0, "")
    assert statistics.median(seconds) < 1.0
    if option == "--version":
        assert done.stdout == f"l1ad {__version__}\n"
    else:
        assert all(f"    {verb} " in done.stdout for verb in ("run", *STEPS, *FILE_VERBS, "events"))
        assert "l1ad run configs/quickstart.toml" in done.stdout


def test_an_error_is_one_line_and_no_traceback(tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace("csim_events", "csim_event"), encoding="utf-8")
    done = command_line("run", "tiny.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "l1ad: error: tiny.toml: unknown key 'csim_event'; did you mean 'csim_events'?\n"


@pytest.mark.parametrize("verb", ["run", *STEPS, *FILE_VERBS])
def test_every_verb_says_what_it_takes(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: l1ad {verb} [-h]")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "a.toml", "b.toml"],
        ["run", "a.toml", "--out", "x"],
        ["convert", "m.h5", "--out", "n.json"],
        ["compare", "n.json", "--project", "x"],
        ["import", "folder"],
        ["verify", "n.json"],
        ["minimise", "--out", "n.json"],
        ["lint"],
        ["fuzz"],
        ["fuzz", "--out", "f", "--networks", "many"],
        ["rate", "n.json", "--khz", "ten"],
        ["rate", "n.json", "--bunches", "2.5"],
        ["emulate", "n.json", "--events", "a.h5", "b.h5"],
    ],
)
def test_wrong_usage_is_explained(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: l1ad" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "train", "report"])
@pytest.mark.parametrize("source", ["network.json", "model.h5", "runs/tiny", "tiny.TOML"])
def test_verbs_that_take_only_a_study(verb, source, fails):
    assert fails(verb, source) == f"l1ad {verb} takes a study, a .toml file, not {source!r}"


def test_models_are_imported_now(fails):
    assert fails("convert", "model.h5") == (
        "l1ad convert takes a study, a .toml file, not 'model.h5'; `l1ad import` takes models and projects"
    )


@pytest.mark.parametrize("verb", ["run", *STEPS])
def test_a_missing_study(verb, here, fails):
    assert fails(verb, "none.toml") == (
        "study must be an existing TOML file, not 'none.toml'; try configs/quickstart.toml"
    )
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["build", "s.toml", "--out", "x"], "--out"),
        (["emulate", "s.toml", "--events", "x"], "--events"),
        (["emulate", "s.toml", "--out", "x"], "--out"),
        (["compare", "s.toml", "--against", "x"], "--against"),
        (["compare", "s.toml", "--events", "x"], "--events"),
        (["rate", "s.toml", "--events", "x"], "--events"),
        (["rate", "s.toml", "--khz", "10"], "--khz"),
        (["rate", "s.toml", "--bunches", "1"], "--bunches"),
        (["rate", "s.toml", "--menu", "x"], "--menu"),
    ],
)
def test_a_study_takes_no_options(arguments, option, fails):
    assert fails(*arguments) == f"{option} is for files; the study says where things are: leave it out"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["build", "n.json"], "--out"),
        (["emulate", "n.json", "--out", "x"], "--events"),
        (["emulate", "n.json", "--events", "x"], "--out"),
        (["compare", "n.json"], "--against"),
        (["compare", "n.json", "--events", "x"], "--against"),
        (["rate", "n.json", "--out", "x"], "--events"),
        (["rate", "n.json", "--events", "x", "y", "--khz", "1"], "--out"),
    ],
)
def test_a_file_needs_its_options(arguments, option, fails):
    expected = f"l1ad {arguments[0]} of a file needs {option} PATH; or give it a study, a .toml file"
    assert fails(*arguments) == expected


def test_scores_of_an_event_file(network, events, capsys):
    assert main(["emulate", "network.json", "--events", "events.h5", "--out", "new/scores.h5"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "new/scores.h5: 500 scores"
    with h5py.File("new/scores.h5") as file:
        assert file.attrs["network_digest"] == network.digest
        np.testing.assert_array_equal(file["raw"][:], reference.emulate(network, inputs(events)))


def emulate(fails, events="events.h5", out="scores.h5"):
    return fails("emulate", "network.json", "--events", events, "--out", out)


@pytest.mark.usefixtures("network", "events")
def test_event_files_that_are_none(here, fails):
    assert emulate(fails, "none.h5") == "event file must exist, not be missing: none.h5; check the path"
    (here / "text.h5").write_text("no events\n" * 100)
    assert emulate(fails, "text.h5") == "event file must be HDF5: text.h5; write it with EventWriter"
    whole = (here / "events.h5").read_bytes()
    (here / "short.h5").write_bytes(whole[: len(whole) // 2])
    assert re.match(r"event file must be complete, not truncated or damaged: short\.h5 ", emulate(fails, "short.h5"))
    with h5py.File("other.h5", "w") as file:
        file["x"] = [1]
    assert "other.h5: attributes must be those of an l1ad event file" in emulate(fails, "other.h5")
    assert not (here / "scores.h5").exists()


@pytest.mark.usefixtures("network")
def test_event_files_with_wrong_content(events, here, fails):
    def spoilt(change):
        write_events(here / "events.h5", events)
        with h5py.File("events.h5", "r+") as file:
            change(file)
        return emulate(fails)

    def replace(name, array, *change):
        array = array.copy()
        if change:
            array[change[0]] = change[1]

        def do(file):
            del file[name]
            file[name] = array

        return do

    weight, columns = events.meta["weight"], events.columns
    assert spoilt(replace("meta/weight", weight, 7, np.nan)) == (
        "events.h5: weight must be finite and not negative, not nan (event 7)"
    )
    assert spoilt(replace("meta/weight", weight, 8, -1)).endswith("not -1.0 (event 8)")
    assert (
        spoilt(replace("jet/pt", columns["jet.pt"][:, :10]))
        == "events.h5: dataset jet/pt must be (500, 12), not shape (500, 10)"
    )
    assert "mu.phi must be in 0..575, not 600 (event 3, slot 1)" in spoilt(
        replace("mu/phi", columns["mu.phi"], (3, 1), 600)
    )
    assert "events.h5: dataset ht/pt must exist" in spoilt(lambda f: f.__delitem__("ht/pt"))
    assert not (here / "scores.h5").exists()


@pytest.mark.usefixtures("network")
def test_no_events_is_an_error(here, fails):
    write_events(here / "events.h5", random_trigger_events(SCHEMA, 1, seed=5)[:0])
    assert emulate(fails) == "events.h5: must hold at least one event"


def test_a_network_of_other_columns(events, here, fails):
    small_network(input_columns(SCHEMA)[::-1]).save(here / "network.json")
    assert emulate(fails) == ("events.h5: none of the selections ['axol1tl'] has the columns that the network reads")
    with pytest.raises(
        ValueError,
        match=re.escape(
            "network must read the columns of selection 'axol1tl' (57), not its own 57; first difference "
            "('met_pt', 'jet9_phi'); choose the selection it was trained on"
        ),
    ):
        samples.network_inputs(small_network(input_columns(SCHEMA)[::-1]), events, "axol1tl")
    with pytest.raises(ValueError, match=r"selection 'axol1tl' \(57\), not its own 56"):
        samples.network_inputs(small_network(input_columns(SCHEMA)[:-1]), events, "axol1tl")


def test_files_that_are_no_network(network, here, fails):
    def build():
        return fails("build", "network.json", "--out", "project")

    path = here / "network.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"digest": "0" * 64}))
    assert build() == (
        f"network.json: digest must be {network.digest}, not {'0' * 64}: the file was edited or damaged; "
        "convert the model again"
    )
    edited = json.loads(json.dumps(document))
    edited["operations"][1]["bias"][0] += 1
    path.write_text(json.dumps(edited))
    assert "network.json: digest must be" in build()
    path.write_text("{}")
    assert build() == (
        "network.json: not a network file: format must be 'l1ad-network/2'; convert or import the model again"
    )
    path.write_text('{"format": "l1ad-network/1", "operations": []}')
    assert build() == (
        "network.json: not a network file: format must be 'l1ad-network/2', not 'l1ad-network/1'; "
        "convert or import the model again"
    )
    path.write_text("not json")
    assert build().startswith("network.json: not a network file: Expecting value")
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff")
    assert build().startswith("network.json: not a network file: ")
    path.unlink()
    file = "network must be a readable file, not 'network.json' ({}); `l1ad import` makes one"
    assert build() == file.format("No such file or directory")
    path.mkdir()
    assert build() == file.format("Is a directory")
    assert not (here / "project").exists()


def test_a_firmware_project_from_a_network_alone(network, here, fails, capsys):
    assert main(["build", "network.json", "--out", "project"]) == 0
    assert capsys.readouterr().out == "project: Vitis HLS project\n"
    assert json.loads((here / "project" / "manifest.json").read_text())["network_digest"] == network.digest
    small_network(input_columns(SCHEMA)[:-1]).save(here / "other.json")
    assert main(["build", "other.json", "--out", "project"]) == 0  # a project is replaced, and nothing else is
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("")
    for out in ("mine", "other.json"):
        assert fails("build", "other.json", "--out", out) == (
            f"{out}: must be new, empty or a firmware project of l1ad, to be replaced; name another"
        )


@pytest.mark.usefixtures("network", "events")
def test_a_folder_that_cannot_be_written(here, fails):
    (here / "file").write_text("")
    assert "file/project: cannot write the firmware project" in fails("build", "network.json", "--out", "file/project")
    assert "file/s.h5: cannot write into folder 'file'" in emulate(fails, out="file/s.h5")
    write_study(here / "study")
    (here / "runs").write_text("")
    assert "cannot write into folder 'runs/tiny'" in fails("run", "study/tiny.toml")
    assert (here / "runs").read_text() == ""


@pytest.fixture
def study(here):
    """The tiny study in the working folder."""
    return write_study(here)


@pytest.mark.parametrize("name", ["train", "rate", "signal_b"])
def test_a_missing_event_file_stops_a_study_at_once(name, study, here, fails):
    (here / "events" / f"{name}.h5").unlink()
    assert fails("run", study) == f"event file must exist, not be missing: {here}/events/{name}.h5; check the path"
    assert [p.name for p in (here / "runs" / "tiny").iterdir()] == ["study.toml"]


def test_training_and_rate_sample_share_no_event(study, here):
    with EventFile(here / "events" / "train.h5") as train, EventFile(here / "events" / "rate.h5") as rate:
        shared = concatenate([rate.read(0, 1497), train.read(10, 13)])
    write_events(here / "events" / "rate.h5", shared)
    run = artefacts.start(load_study(study))
    with pytest.raises(ValueError, match=r"train\.h5 and .*rate\.h5 must share no event, not 3 of 1500"):
        samples.training_events(run)


def test_training_events_are_split_and_some_left_out(study, here):
    with EventFile(here / "events" / "train.h5") as train:
        events = train.read()
    events.columns["ht.pt"][:5] = 4095
    for codes in events.columns.values():
        codes[5:8] = 0  # no object, nothing to learn from
    events.columns["et.pt"][5:8, 0] = 1, 2, 3
    write_events(here / "events" / "train.h5", events)
    columns, presence, sample = samples.training_events(artefacts.start(load_study(study)))
    assert columns == input_columns(SCHEMA)
    np.testing.assert_array_equal(presence, presence_index(SCHEMA))
    assert (sample.n_saturated, sample.n_empty) == (5, 3)
    assert len(sample.train) + len(sample.validation) == 1492
    assert 0.15 < len(sample.validation) / 1492 < 0.25
    kept = {tuple(row) for row in np.concatenate([sample.train, sample.validation]).tolist()}
    assert kept == {tuple(row) for row in inputs(events)[8:].tolist()}


def test_empty_events_may_be_in_both_samples(study, here):
    """Crossings that only differ in what no network sees coincide now and then; none of them is trained on."""
    for name in ("train", "rate"):
        with EventFile(here / "events" / f"{name}.h5") as file:
            events = file.read()
        for codes in events.columns.values():
            codes[:4] = 0
        write_events(here / "events" / f"{name}.h5", events)
    _, _, sample = samples.training_events(artefacts.start(load_study(study)))
    assert sample.n_empty == 4


def test_a_sample_must_say_whether_it_is_simulated(study, here):
    run = artefacts.start(load_study(study))
    assert samples.rate_sample(run).simulated is True
    assert samples.rate_sample(run).weights.sum() == pytest.approx(1)
    write_events(here / "events" / "rate.h5", random_trigger_events(SCHEMA, 10, seed=1), simulated="yes")
    with pytest.raises(
        ValueError, match=r"rate\.h5: attribute simulated must say true or false; write it with EventWriter"
    ):
        samples.rate_sample(run)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (KeyboardInterrupt(), 130, "l1ad: interrupted; run the same command again to go on\n"),
        (ImportError("TensorFlow must use Keras 2"), 1, "l1ad: error: TensorFlow must use Keras 2\n"),
        (RuntimeError("vitis_hls ended with status 3"), 1, "l1ad: error: vitis_hls ended with status 3\n"),
        (RuntimeError("it failed:\n  a.h:1: no\n\n"), 1, "l1ad: error: it failed: | a.h:1: no\n"),
    ],
)
def test_how_a_run_may_end(error, status, text, monkeypatch, capsys):
    def end(*_):
        raise error

    monkeypatch.setattr(cli, "_study", end)
    assert main(["run", "s.toml"]) == status
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [
        ("synth s.toml", True),
        ("report s.toml", True),
        ("rate n.json --events e.h5 --out t.json", True),
        ("fuzz --out f", True),
        ("events generate p.toml --out e --work w", True),
        ("events convert a.h5 --format lhco --out e.h5", False),
        ("events show e.h5", False),
        ("emulate n.json --events e.h5 --out s.h5", False),
        ("build n.json --out p", False),
        ("synth n.json --out r", False),
        ("compare n.json --against p", False),
        ("import p --out n.json", False),
        ("menu t.csv --prescales A --out m.toml", False),
        ("lint s.toml", False),
    ],
)
def test_an_interrupt_says_whether_the_work_goes_on(arguments, goes_on, monkeypatch, capsys):
    def end(*_):
        raise KeyboardInterrupt

    for name in ("_study", "_file_lines", "_network_lines"):
        monkeypatch.setattr(cli, name, end)
    monkeypatch.setattr(cli, "_EVENTS", dict.fromkeys(cli._EVENTS, end))
    assert main(arguments.split()) == 130
    then = "run the same command again to go on" if goes_on else "the same command starts again from the beginning"
    assert capsys.readouterr().err == f"l1ad: interrupted; {then}\n"


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    def wrong(*_):
        raise KeyError("bug")

    monkeypatch.setattr(cli, "_study", wrong)
    with pytest.raises(KeyError):
        main(["run", "s.toml"])


def save_a_model(path, alpha):
    from l1ad.models.keras import SumOfSquares, TriggerScaling, keras, qkeras, save_model

    columns = input_columns(SCHEMA)
    trigger = keras.Input((len(columns),), name="trigger")
    zeros = np.zeros(len(columns), int)
    x = TriggerScaling(columns, zeros, zeros, name="scaling")(trigger)
    x = qkeras.QActivation(qkeras.quantized_bits(10, 5, alpha=1), name="inputs")(x)
    x = qkeras.QDense(
        3,
        kernel_quantizer=qkeras.quantized_bits(6, 1, alpha=alpha),
        bias_quantizer=qkeras.quantized_bits(6, 1, alpha=1),
        activation=qkeras.quantized_bits(10, 5, alpha=1),
        name="latent",
    )(x)
    save_model(keras.Model(trigger, SumOfSquares("ap_ufixed<18,14>", name="score")(x)), path)


def test_a_model_is_imported(here, capsys):
    save_a_model(here / "model.h5", None)  # QKeras makes 'auto_po2' of it, which is exact
    assert main(["import", "model.h5", "--out", "network.json"]) == 0
    network = Network.load("network.json")
    assert network.input.columns == tuple(column.name for column in input_columns(SCHEMA))
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"network.json: network {network.digest[:12]}, 57 inputs, {len(network.operations)} operations, "
        "score ap_ufixed<18,14,AP_TRN,AP_WRAP>"
    )


def test_a_floating_point_scale_is_refused(here, fails):
    save_a_model(here / "model.h5", "auto")
    error = fails("import", "model.h5", "--out", "network.json")
    assert re.match(r"layer 'latent': .*'auto'.*retrain", error), error
    assert sorted(path.name for path in here.iterdir()) == ["model.h5"]


@pytest.mark.usefixtures("events")
def test_files_that_are_no_model(here, fails):
    assert fails("import", "none.h5", "--out", "n.json") == (
        "source must be an hls4ml project or a QKeras file, not 'none.h5': check the path"
    )
    (here / "text.h5").write_text("no model")
    assert fails("import", "text.h5", "--out", "n.json").startswith("text.h5: not a Keras model that l1ad can read: ")
    assert fails("import", "events.h5", "--out", "n.json").startswith("events.h5: not a Keras model")
    (here / "folder").mkdir()
    assert fails("import", "folder", "--out", "n.json") == (
        f"{here}/folder: one folder must hold defines.h and parameters.h, not none; "
        "name the folder of one project that hls4ml generated"
    )
    assert not Path("n.json").exists()


COLUMNS = {
    "nope": "schema must be one of adc2021, cicada, cms_run3, lhco or the path of a .toml file, not 'nope'",
    "cms_run3/none": "selection must be one of axol1tl (schema cms_run3), not 'none'",
    "cicada": "columns must be of a schema with selections, and 'cicada' has none; write a .toml with one",
    "two.toml": "columns must be two.toml/SELECTION, the selection one of some, all, not 'two.toml'",
    "two.toml/some": "columns must be 57, as many as the inputs of the project, not 1; choose other columns",
}
TWO = """
name = "two"
collections.jet = { slots = 2, pt = { bits = 9, lsb = 0.5, unit = "GeV" } }
selections.some = { objects = [["jet", 1]], columns = ["pt"] }
selections.all = { objects = [["jet", 2]], columns = ["pt"] }
"""


@pytest.fixture
def project(here, network):
    """``project``, of ``network.json``."""
    return write_project(network, here / "project", Target(), corners(network)[:1])


@pytest.mark.usefixtures("project")
def test_columns_that_do_not_fit(here, fails):
    (here / "two.toml").write_text(TWO)
    for columns, error in COLUMNS.items():
        assert fails("import", "project", "--columns", columns, "--out", "n.json") == error
        assert fails("lint", "project", "--columns", columns) == error
    assert not Path("n.json").exists()


@pytest.mark.usefixtures("project")
def test_a_project_is_imported(network, capsys):
    assert main(["import", "project", "--columns", "cms_run3", "--out", "new/n.json"]) == 0
    found = Network.load("new/n.json")
    assert found.input.columns == network.input.columns
    assert capsys.readouterr().out.startswith(f"new/n.json: network {found.digest[:12]}, 57 inputs, ")
    assert main(["lint", "project", "--columns", "cms_run3/axol1tl"]) == 0
    assert capsys.readouterr().out == "project: 0 findings\n"


@pytest.mark.usefixtures("network", "events")
def test_scores_are_compared(here, fails, capsys):
    arguments = ["compare", "network.json", "--against", "scores.h5", "--events", "events.h5"]
    assert main(["emulate", "network.json", "--events", "events.h5", "--out", "scores.h5"]) == 0
    capsys.readouterr()
    assert main(arguments) == 0
    assert "reference = scores.h5: 0 mismatches in 500 events (1 operations each)" in capsys.readouterr().out
    with h5py.File("scores.h5", "r+") as file:
        file["raw"][7] += 1
    assert main(arguments) == 1
    out, error = capsys.readouterr()
    assert "reference = scores.h5: 1 mismatches in 500 events; first at event 7, operation 'score', element 0" in out
    assert out.splitlines()[-1] == "likely cause: none of the known mistakes accounts for it"
    assert error == "l1ad: error: scores.h5: must give the scores of network.json, not others in 1 events\n"
    assert fails(*arguments[:-2]) == ("scores.h5: must go with the events that the scores are of; add --events FILE")
    missing = "--against must be an hls4ml project or a file of scores, not 'none': check the path"
    assert fails("compare", "network.json", "--against", "none") == missing
    (here / "folder").mkdir()
    assert "one folder must hold defines.h" in fails("compare", "network.json", "--against", "folder")
    assert fails(*arguments[:-1], "none.h5") == "event file must exist, not be missing: none.h5; check the path"


@pytest.mark.usefixtures("network", "events")
def test_a_certificate_is_written(capsys):
    assert main(["verify", "network.json", "--events", "events.h5", "--out", "new/c.json"]) == 0
    out = capsys.readouterr().out
    assert "over the hardware ranges, " in out
    assert "over the ranges of the sample, " in out
    certificate = certificate_of("new/c.json")
    assert check(certificate, Network.load("network.json")) == ()
    assert out.splitlines()[-1] == f"new/c.json: certificate of network {certificate.network[:12]}"


def test_a_smaller_network_is_written(network, events, capsys):
    assert main(["minimise", "network.json", "--out", "new/n.json"]) == 0
    smaller = Network.load("new/n.json")
    np.testing.assert_array_equal(
        reference.emulate(smaller, inputs(events)), reference.emulate(network, inputs(events))
    )
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"new/n.json: network {smaller.digest[:12]}, 2 -> 2 operations, ")


@pytest.mark.parametrize("verb", ["verify", "minimise"])
def test_what_cannot_be_written_is_not_begun(verb, network, here, fails, monkeypatch):
    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr("l1ad.prove.certificate.prove", never)
    monkeypatch.setattr("l1ad.prove.minimise.minimise", never)
    (here / "file").write_text("")
    assert fails(verb, "network.json", "--out", "file/out.json") == (
        "file/out.json: cannot write into folder 'file' (File exists); choose a writable folder"
    )
    assert fails(verb, "network.json", "--out", ".") == ".: must be a file to write, not a folder; name a file in it"
    assert sorted(path.name for path in here.iterdir()) == ["file", "network.json"]
    assert Network.load("network.json") == network


@pytest.mark.parametrize("verb", ["verify", "minimise"])
@pytest.mark.usefixtures("network")
def test_an_interrupted_verb_leaves_nothing(verb, here, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    (here / "out.json").write_text("before")
    monkeypatch.setattr("l1ad.prove.certificate.prove", interrupted)
    monkeypatch.setattr("l1ad.prove.minimise.minimise", interrupted)
    assert main([verb, "network.json", "--out", "out.json"]) == 130
    assert capsys.readouterr().err == "l1ad: interrupted; the same command starts again from the beginning\n"
    assert sorted(path.name for path in here.iterdir()) == ["network.json", "out.json"]
    assert (here / "out.json").read_text() == "before"


def test_lint_ends_in_an_error_if_it_finds_one(network, fails, capsys):
    assert main(["lint", "network.json"]) == 0
    assert capsys.readouterr().out == "network.json: 0 findings\n"
    score = replace(network.score, out=replace(network.score.out, overflow="WRAP"))
    Network((*network.operations[:-1], score)).save("network.json")
    assert main(["lint", "network.json"]) == 1
    out, error = capsys.readouterr()
    assert out.startswith("error: operation 'score': the score wraps in ap_ufixed<18,14,AP_TRN,AP_WRAP>, so that ")
    assert out.endswith("\nnetwork.json: 1 findings\n")
    assert error == "l1ad: error: network.json: must have no errors, not 1; warnings alone would pass\n"
    assert fails("lint", "network.json", "--columns", "cms_run3") == (
        "--columns is for projects, and network.json says what its columns are: leave it out"
    )
    assert "not 'nowhere' (No such file" in fails("lint", "nowhere")


def test_fuzzing(here, fails, monkeypatch, capsys):
    from l1ad.fuzz import run

    def wrong(network, x, _):
        return reference.emulate(network, x) + 1

    monkeypatch.setattr(run, "EXECUTORS", {"copy": lambda network, x, _: reference.emulate(network, x)})
    assert main(["fuzz", "--out", "good", "--networks", "2", "--seed", "3"]) == 0
    assert re.search(r"^2 networks, \d+ events, 0 refused: 0 disagree", capsys.readouterr().out, re.M)
    monkeypatch.setattr(run, "EXECUTORS", {"wrong": wrong})
    assert main(["fuzz", "--out", "bad", "--networks", "1"]) == 1
    out, error = capsys.readouterr()
    assert out.endswith("  bad/seed0-network0-wrong\n")
    assert error == "l1ad: error: executors must agree on all networks, not differ in 1; see bad\n"
    for option, value, both in (("--networks", 0, "0 and 0"), ("--seed", -1, "20 and -1")):
        assert fails("fuzz", "--out", "none", option, value) == (
            f"--networks must be at least 1 and --seed not negative, not {both}"
        )
    (here / "file").write_text("")
    assert fails("fuzz", "--out", "file") == "file: must be a folder for the cases, and cannot be made (File exists)"
    assert not Path("none").exists()


@pytest.mark.usefixtures("here")
def test_a_published_menu(fails, capsys):
    Path("table.csv").write_text("Index,Name,2p0E34\n1,L1_SingleMu22,1\n2,L1_Odd_Thing,1\n3,L1_ETMHF100,0\n")
    assert main(["menu", "table.csv", "--prescales", "2p0E34", "--etmhf", "met", "--out", "menu.toml"]) == 0
    left, written = capsys.readouterr().out.splitlines()
    assert left == "left out: seed L1_Odd_Thing: every part must be one that is understood, not 'Odd'"
    assert written == "menu.toml: 2 seeds, 1 of them on; 1 were left out"
    assert [(seed.name, seed.prescale) for seed in load_menu("menu.toml").seeds] == [
        ("L1_SingleMu22", 1.0),
        ("L1_ETMHF100", 0.0),
    ]
    assert "must have one column 'Nothing'" in fails("menu", "table.csv", "--prescales", "Nothing", "--out", "none")
    assert not Path("none").exists()
