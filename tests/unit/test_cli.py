import json
import re
import statistics
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from studies import STUDY, command_line, random_trigger_events, small_network, write_events, write_study

from l1ad import __version__, cli
from l1ad.cli import STEPS, main
from l1ad.emulate import reference
from l1ad.events.schema import input_columns, load_schema, presence_index
from l1ad.events.store import EventFile, concatenate, inputs
from l1ad.study import artefacts, samples
from l1ad.study.config import load_study

SCHEMA = load_schema()


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
        assert all(f"    {verb} " in done.stdout for verb in ("run", *STEPS))
        assert "l1ad run configs/quickstart.toml" in done.stdout


def test_an_error_is_one_line_and_no_traceback(tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace("csim_events", "csim_event"), encoding="utf-8")
    done = command_line("run", "tiny.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "l1ad: error: tiny.toml: unknown key 'csim_event'; did you mean 'csim_events'?\n"


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["run"], ["run", "a.toml", "b.toml"], ["run", "a.toml", "--out", "x"]]
)
def test_wrong_usage_is_explained(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: l1ad" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "train", "rate", "report"])
@pytest.mark.parametrize("source", ["network.json", "model.h5", "runs/tiny", "tiny.TOML"])
def test_verbs_that_take_only_a_study(verb, source, fails):
    assert fails(verb, source) == f"l1ad {verb} takes a study, a .toml file, not {source!r}"


@pytest.mark.parametrize("verb", ["run", *STEPS])
def test_a_missing_study(verb, here, fails):
    assert fails(verb, "none.toml") == (
        "study must be an existing TOML file, not 'none.toml'; try configs/quickstart.toml"
    )
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["convert", "s.toml", "--out", "x"], "--out"),
        (["build", "s.toml", "--out", "x"], "--out"),
        (["emulate", "s.toml", "--events", "x"], "--events"),
        (["emulate", "s.toml", "--out", "x"], "--out"),
        (["compare", "s.toml", "--project", "x"], "--project"),
    ],
)
def test_a_study_takes_no_options(arguments, option, fails):
    assert fails(*arguments) == f"{option} is for files; the study says where things are: leave it out"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["convert", "m.h5"], "--out"),
        (["build", "n.json"], "--out"),
        (["emulate", "n.json", "--out", "x"], "--events"),
        (["emulate", "n.json", "--events", "x"], "--out"),
        (["compare", "n.json"], "--project"),
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

    def short(file):
        kept = file["jet/pt"][:, :10]
        del file["jet/pt"]
        file["jet/pt"] = kept

    assert spoilt(lambda f: f["meta/weight"].__setitem__(7, np.nan)) == (
        "events.h5: weight must be finite and not negative, not nan (event 7)"
    )
    assert spoilt(lambda f: f["meta/weight"].__setitem__(8, -1)).endswith("not -1.0 (event 8)")
    assert spoilt(short) == "events.h5: dataset jet/pt must be (500, 12), not shape (500, 10)"
    assert "mu.phi must be in 0..575, not 600 (event 3, slot 1)" in spoilt(
        lambda f: f["mu/phi"].__setitem__((3, 1), 600)
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
    edited["operations"][1]["shift"][0] += 1
    path.write_text(json.dumps(edited))
    assert "network.json: digest must be" in build()
    path.write_text("{}")
    assert build() == "network.json: not a network file: format must be 'l1ad-network/1'"
    path.write_text("not json")
    assert build().startswith("network.json: not a network file: Expecting value")
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff")
    assert build().startswith("network.json: not a network file: ")
    path.unlink()
    assert "'network.json'" in build()
    path.mkdir()
    assert "'network.json'" in build()
    assert not (here / "project").exists()


def test_a_firmware_project_from_a_network_alone(network, here, fails, capsys):
    assert main(["build", "network.json", "--out", "project"]) == 0
    assert capsys.readouterr().out == "project: Vitis HLS project\n"
    assert json.loads((here / "project" / "manifest.json").read_text())["network_digest"] == network.digest
    other = small_network(input_columns(SCHEMA)[:-1])
    other.save(here / "other.json")
    assert fails("compare", "other.json", "--project", "project") == (
        f"project: firmware was built from network {network.digest[:12]}, not from {other.digest[:12]}; "
        "run `l1ad build` again"
    )
    assert fails("compare", "other.json", "--project", "nowhere").startswith(
        "nowhere: not a firmware project of l1ad ("
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
    ],
)
def test_how_a_run_may_end(error, status, text, monkeypatch, capsys):
    def end(*_):
        raise error

    monkeypatch.setattr(cli, "_study", end)
    assert main(["run", "s.toml"]) == status
    assert capsys.readouterr().err == text


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    def wrong(*_):
        raise KeyError("bug")

    monkeypatch.setattr(cli, "_study", wrong)
    with pytest.raises(KeyError):
        main(["run", "s.toml"])


# QKeras makes 'auto_po2' of a missing alpha
def test_a_quantiser_without_alpha_is_refused(here, fails):
    from l1ad.models.keras import SumOfSquares, TriggerScaling, keras, qkeras, save_model

    columns = input_columns(SCHEMA)
    trigger = keras.Input((len(columns),), name="trigger")
    zeros = np.zeros(len(columns), int)
    x = TriggerScaling(columns, zeros, zeros, name="scaling")(trigger)
    x = qkeras.QActivation(qkeras.quantized_bits(10, 5, alpha=1), name="inputs")(x)
    x = qkeras.QDense(
        3,
        kernel_quantizer=qkeras.quantized_bits(6, 1),
        bias_quantizer=qkeras.quantized_bits(6, 1, alpha=1),
        activation=qkeras.quantized_bits(10, 5, alpha=1),
        name="latent",
    )(x)
    save_model(keras.Model(trigger, SumOfSquares("ap_ufixed<18,14>", name="score")(x)), here / "model.h5")
    assert fails("convert", "model.h5", "--out", "network.json") == (
        "layer 'latent': quantized_bits alpha must be 1, not 'auto_po2'; set alpha=1 and retrain "
        "(QKeras makes 'auto_po2' of a kernel's alpha=None)"
    )
    assert not Path("network.json").exists()


@pytest.mark.usefixtures("events")
def test_files_that_are_no_model(here, fails):
    assert fails("convert", "none.h5", "--out", "n.json").startswith("none.h5: not a Keras model that l1ad can read: ")
    (here / "text.h5").write_text("no model")
    assert fails("convert", "text.h5", "--out", "n.json").startswith("text.h5: not a Keras model that l1ad can read: ")
    assert fails("convert", "events.h5", "--out", "n.json").startswith("events.h5: not a Keras model")
