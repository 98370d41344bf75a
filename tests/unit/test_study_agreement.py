"""Hardware against the reference, in studies and by the verb ``synth``."""

from types import SimpleNamespace

import numpy as np
import pytest

from l1ad.cli import main
from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.fuzz.run import example
from l1ad.hardware import simulate
from l1ad.hardware.synthesis import evidence
from l1ad.study.agreement import compare_hardware


@pytest.fixture
def network():
    return example(11, 3)[0]


SCORES = np.array([5, 7, 7, 1])


def test_equal_scores_and_decisions_agree(network):
    found = compare_hardware(network, "RTL", SCORES, 7, SCORES.copy(), SCORES >= 7)
    assert str(found) == "reference = RTL: 0 mismatches in 4 events (1 operations each)"


def test_the_first_event_of_another_score_is_named(network):
    wrong = SCORES + np.array([0, 0, 1, 1])
    with pytest.raises(MismatchError, match=r"= RTL: 2 mismatches in 4 events; first at event 2, .*: raw 7 against 8"):
        compare_hardware(network, "RTL", SCORES, 7, wrong, SCORES >= 7)


def test_the_first_event_of_another_decision_is_named(network):
    with pytest.raises(MismatchError, match=r"^RTL: accept must be score >= 7, not False: event 1$"):
        compare_hardware(network, "RTL", SCORES, 7, SCORES, SCORES > 7)


@pytest.fixture
def synth(network, tmp_path, monkeypatch, capsys):
    """Function that runs the verb with tools that give the reference's scores, changed as told; status and errors."""
    network.save(tmp_path / "network.json")

    def running(rtl=(0, False), netlist=(0, False)):
        def given(x, threshold, change):
            score, accept = reference.emulate(network, x), reference.emulate(network, x) >= threshold
            score[6] += change[0]
            accept[8] ^= change[1]
            return score, accept

        def simulated(_, x, threshold):
            score, accept = given(x, threshold, rtl)
            return SimpleNamespace(score=score, accept=accept, clocks=1, tool="Verilator 0")

        monkeypatch.setattr(simulate, "simulate", simulated)
        monkeypatch.setattr(evidence, "open_synthesis", lambda *_, **__: [])
        monkeypatch.setattr(evidence, "gate_level", lambda _, x, threshold, **__: given(x, threshold, netlist))
        status = main(["synth", str(tmp_path / "network.json"), "--out", str(tmp_path / "rtl")])
        return status, capsys.readouterr().err

    return running


def test_the_verb_passes_what_agrees(synth):
    assert synth() == (0, "")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rtl": (1, False)}, "= RTL (Verilator 0): 1 mismatches in "),
        ({"rtl": (0, True)}, "RTL (Verilator 0): accept must be score >= "),
        ({"netlist": (1, False)}, "= netlist (gate level, balanced): 1 mismatches in "),
        ({"netlist": (0, True)}, "netlist (gate level, balanced): accept must be score >= "),
    ],
)
def test_the_verb_names_the_event_that_differs(synth, change, text):
    status, said = synth(**change)
    assert status != 0
    assert text in said
    assert f"event {6 if 'mismatches' in text else 8}" in said
