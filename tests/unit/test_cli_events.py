import re
import sys

import h5py
import numpy as np
import pytest
from studies import SMALL_PLAN, random_trigger_events, write_events

from l1ad.cli import main
from l1ad.events.schema import load_schema
from l1ad.events.store import EventFile


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fails(capsys):
    """Function that runs a command which must fail, and returns the one line of its error."""

    def failing(*arguments):
        assert main(["events", *arguments]) == 1
        err = capsys.readouterr().err
        assert re.fullmatch(r"l1ad: error: [^\n]+\n", err), err
        return err.removeprefix("l1ad: error: ").rstrip("\n")

    return failing


def adc2021(path, n):
    """A file of that format: one electron and one jet in each event."""
    particles = np.zeros((n, 19, 4))
    particles[:, 0] = [12.0, 0.0, 1.0, 1]
    particles[:, 1] = [30.0, 0.5, 0.2, 2]
    particles[:, 9] = [41.5, -1.0, -0.2, 4]
    with h5py.File(path, "w") as file:
        file["Particles"] = particles
        file["Particles_Names"] = np.array([b"Pt", b"Eta", b"Phi", b"Class"])
        file["Particles_Classes"] = np.array(
            [b"MET_class_1", b"Four_Ele_class_2", b"Four_Mu_class_3", b"Ten_Jet_class_4"]
        )


def test_convert_and_show(here, capsys, fails):
    for name, n in (("a1.h5", 30), ("a2.h5", 12)):
        adc2021(here / name, n)
    (here / "a3.h5").write_bytes((here / "a1.h5").read_bytes()[:-100])
    arguments = ["convert", "a*.h5", "--format", "adc2021", "--out", "all.h5"]
    assert "a3.h5" in fails(*arguments)
    assert not (here / "all.h5").exists()
    assert main(["events", *arguments, "--skip-damaged"]) == 0
    assert "a3.h5" in capsys.readouterr().out
    with EventFile(here / "all.h5") as file:
        events = file.read()
    assert len(events) == 42
    assert set(events.columns["eg.pt"][:, 0].tolist()) == {60}
    assert set(events.columns["jet.pt"][:, 0].tolist()) == {83}
    assert main(["events", "show", "all.h5", "--plots", "all.png"]) == 0
    out = capsys.readouterr().out
    assert "42 events, schema adc2021" in out
    assert (here / "all.png").stat().st_size > 10_000
    assert "adc2021" in fails("convert", "a1.h5", "--format", "adc2020", "--out", "x.h5")
    assert "must match" in fails("convert", "b*.h5", "--format", "adc2021", "--out", "x.h5")


def test_show_names_a_missing_file(here, fails):
    assert "event file must exist, not be missing: no.h5" in fails("show", "no.h5")
    write_events(here / "e.h5", random_trigger_events(load_schema(), 50, 1))
    assert main(["events", "show", "e.h5"]) == 0


def test_generate_refuses_what_is_wrong_at_once(here, fails):
    (here / "plan.toml").write_text(SMALL_PLAN.replace("seed = 7", "sead = 7"))
    folders = ["--out", "out", "--work", "work"]
    assert "unknown key 'sead'; did you mean 'seed'?" in fails("generate", "plan.toml", *folders)
    (here / "plan.toml").write_text(SMALL_PLAN)
    assert "workers and scale must be positive, not 0 and 1" in fails(
        "generate", "plan.toml", *folders, "--workers", "0"
    )
    assert "no.toml" in fails("generate", "no.toml", *folders)
    assert sorted(path.name for path in here.iterdir()) == ["plan.toml"]


def test_what_generates_may_be_missing(here, fails, monkeypatch):
    (here / "plan.toml").write_text(SMALL_PLAN)
    for name in [name for name in sys.modules if name.startswith("l1ad.events.") and "store" not in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    message = fails("generate", "plan.toml", "--out", "out", "--work", "work")
    assert message == "numba must be installed to generate events; pip install 'l1ad[generate]'"
