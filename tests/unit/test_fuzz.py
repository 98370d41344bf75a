"""Fuzzing finds a planted bug, makes it small and saves it; without one, it finds nothing."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from l1ad.emulate import reference
from l1ad.errors import ToolNotFoundError, UnsupportedError
from l1ad.fuzz import run
from l1ad.fuzz.run import Report, fuzz, replay, reread
from l1ad.network import Network
from l1ad.operations import Input


def exact(network, x, folder):
    assert not list(folder.iterdir())
    return reference.emulate(network, x)


def without_ties_to_even(network, x, _):
    """An executor that takes RND_CONV for RND."""
    wrong = [network.input]
    for operation in network.operations[1:]:
        out = operation.out
        wrong.append(replace(operation, out=replace(out, rounding="RND")) if out.rounding == "RND_CONV" else operation)
    return reference.emulate(Network(tuple(wrong)), x)


def test_a_planted_bug_is_found_made_small_and_saved(tmp_path):
    executors = {"right": exact, "no ties": without_ties_to_even}
    report = fuzz(1, 12, tmp_path / "cases", executors)
    assert report.n_networks == 12
    assert report.cases
    assert str(report).startswith(f"12 networks, {report.n_events} events, 0 refused: {len(report.cases)} disagree (")
    assert str(report.cases[0]) in str(report)
    for case in report.cases:
        network = Network.load(case / "network.json")
        document = json.loads((case / "case.json").read_text())
        assert document["executor"] == "no ties"
        assert re.match(r"1 of 1 scores differ, first of event 0: raw -?\d+, not -?\d+$", document["failure"])
        assert [operation.out.rounding for operation in network.operations].count("RND_CONV") >= 1
        x = np.array(document["events"])
        assert len(x) == 1
        assert reference.emulate(network, x).tolist() == document["expected"]
        assert without_ties_to_even(network, x, None).tolist() != document["expected"]
    sizes = [len(Network.load(case / "network.json").operations) for case in report.cases]
    assert min(sizes) <= 3
    again = replay(tmp_path / "cases", executors)
    assert (again.n_networks, again.cases) == (len(report.cases), tuple(sorted(report.cases)))
    assert not replay(tmp_path / "cases", {"no ties": exact}).cases


def test_what_is_done_is_not_done_again(tmp_path):
    seen = []

    def interrupted(network, x, folder):
        seen.append(network.digest)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return exact(network, x, folder)

    with pytest.raises(KeyboardInterrupt):
        fuzz(5, 4, tmp_path, {"e": interrupted})
    assert fuzz(5, 4, tmp_path, {"e": interrupted}).n_networks == 2
    assert len(seen) == 5
    assert seen[2] == seen[3]
    assert fuzz(5, 4, tmp_path, {"e": interrupted}).n_networks == 0
    assert fuzz(6, 1, tmp_path, {"e": interrupted}).n_networks == 1


def test_an_executor_that_fails_is_a_case_and_one_that_refuses_is_none(tmp_path):
    def fails(network, x, folder):
        if (x < 0).any():
            raise RuntimeError("negative")
        return exact(network, x, folder)

    def refuses(*_):
        raise UnsupportedError("no")

    def lacks(*_):
        raise ToolNotFoundError("no compiler")

    report = fuzz(2, 2, tmp_path, {"fails": fails, "refuses": refuses})
    assert report.n_refused == 2
    document = json.loads((report.cases[0] / "case.json").read_text())
    assert document["failure"] == "RuntimeError: negative"
    assert len(Network.load(report.cases[0] / "network.json").operations) <= 3
    with pytest.raises(ToolNotFoundError, match="no compiler"):
        fuzz(3, 1, tmp_path, {"lacks": lacks})


def test_a_clean_run_finds_nothing(tmp_path):
    report = fuzz(7, 24, tmp_path, {"import": reread})
    assert report == Report(24, report.n_events, 0, report.seconds, ())
    assert report.n_events > 24 * run.N_EVENTS


def test_cases_that_cannot_be_run_again_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold cases of `l1ad fuzz`, and holds none"):
        replay(tmp_path)
    (case,) = fuzz(1, 12, tmp_path, {"no ties": without_ties_to_even}).cases[:1]
    with pytest.raises(ValueError, match=r"executor must be one of \['right'\], not 'no ties'"):
        replay(case, {"right": exact})
    document = json.loads((case / "case.json").read_text())
    document["expected"][0] += 1
    (case / "case.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="scores of the reference must be those that were saved; its meaning has ch"):
        replay(case, {"no ties": exact})


def test_the_first_events_of_a_network_are_its_corners():
    network, x = run.example(0, 3)
    assert isinstance(network.operations[0], Input)
    np.testing.assert_array_equal(x[0], network.input.low)
    assert run.example(0, 3)[0] == network
