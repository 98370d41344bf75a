"""Guesses at mistakes that were made on purpose, and findings in networks, projects and studies that have a fault."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from studies import STUDY

from l1ad import documents
from l1ad.audit.against import against_scores
from l1ad.audit.causes import Cause, differences, explain
from l1ad.audit.lint import Finding, lint_network, lint_project
from l1ad.cli import main
from l1ad.compare import corners, random_inputs
from l1ad.emulate import reference
from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint, cast
from l1ad.hardware.hls import write_project
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge
from l1ad.study.artefacts import Agreements, ResourceTable
from l1ad.study.lint import lint_study
from l1ad.trigger.rates import SIMULATED, Collider, Rate, Refused, Threshold, WorkingPoint
from l1ad.trigger.thresholds import Thresholds, save_thresholds

COLUMNS = ("met_pt", "jet0_pt", "jet0_eta", "jet1_pt", "jet1_eta", "mu0_pt")
LOW, HIGH = (0, 0, -20, 0, -20, 0), (60, 63, 20, 63, 20, 31)
CODES = FixedPoint(7, 0)
NARROW = FixedPoint(7, 2, True, "RND", "SAT")
SMALL = FixedPoint(5, 2)
N_EVENTS = 1500


def ints(*values):
    return np.array(values, np.int64)


def trigger(columns=COLUMNS, low=LOW, high=HIGH, out=CODES):
    return Input("trigger", columns, ints(*low), ints(*high), out)


def dense(name, x, weight, bias, out, product=None):
    return Dense(name, x, np.array(weight, np.int64), SMALL, ints(*bias), FixedPoint(7, 4), product, out)


def healthy():
    """A network of whose casts some saturate now and then."""
    scale, bias = ints(3, 3, 5, 3, 5, 7), ints(-90, -70, 9, -75, 5, -50)
    scaled = Affine("scaled", "trigger", scale, FixedPoint(4, 4, False), bias, FixedPoint(8, 4), NARROW)
    weight = [[5, -3, 1], [-7, 2, 3], [1, 9, -3], [4, -5, 3], [3, 2, -7], [-2, 6, 5]]
    hidden = dense("hidden", "scaled", weight, (13, -27, 31), FixedPoint(9, 3, True, "TRN", "SAT"))
    relu = Cast("relu", "hidden", FixedPoint(6, 1, False, "RND_CONV", "SAT"))
    return Network((trigger(), scaled, hidden, relu, Dot("score", "relu", "relu", None, FixedPoint(10, 0, False))))


def changed(network, name, **fields):
    """The network with one operation changed."""
    return Network(tuple(replace(o, **fields) if o.name == name else o for o in network.operations))


def events(network, n_events=N_EVENTS):
    return random_inputs(network, n_events)


def texts(network, x, found):
    return [cause.text for cause in explain(network, x, found)]


def truncated(raw, bits):
    return raw >> bits << bits


def wrapped(raw, width):
    return cast(raw, 0, FixedPoint(width, 0))


def with_out(network, name, **fields):
    return changed(network, name, out=replace(network[name].out, **fields))


IMAGE = Convolution(
    "filters", "trigger", (1, 3, 2), np.arange(-4, 4).reshape(1, 2, 2, 2), FixedPoint(4, 0), ints(1, -2),
    FixedPoint(3, 0), (1, 1), (0, 0, 0, 0), None, FixedPoint(9, 0, True, "TRN", "SAT"),
)  # fmt: skip


def image():
    """A convolution, whose weights are a square matrix of 4 x 2."""
    return Network((trigger(), IMAGE, dense("score", "filters", [[1], [3], [-2], [5]], [0], FixedPoint(20, 2))))


def transposed(weight):
    matrix = weight.reshape(-1, weight.shape[-1])
    return matrix.reshape(matrix.shape[::-1]).T.reshape(weight.shape)


MISTAKES = {
    "offsets wrapped": (
        lambda n: changed(n, "scaled", bias=wrapped(n["scaled"].bias, 7)),
        "operation 'scaled': offsets wrapped to 7 bits",
    ),
    "offsets truncated": (
        lambda n: changed(n, "scaled", bias=truncated(n["scaled"].bias, 2)),
        "operation 'scaled': offsets truncated to 2 fractional bits",
    ),
    "literals truncated": (
        lambda n: changed(n, "hidden", weight=truncated(n["hidden"].weight, 1)),
        "operation 'hidden': weight literals truncated to 1 fractional bits",
    ),
    "literals wrapped": (
        lambda n: changed(n, "hidden", weight=wrapped(n["hidden"].weight, 4)),
        "operation 'hidden': weight literals wrapped to 4 bits",
    ),
    "biases truncated": (
        lambda n: changed(n, "hidden", bias=truncated(n["hidden"].bias, 2)),
        "operation 'hidden': bias literals truncated to 2 fractional bits",
    ),
    "transposed": (
        lambda n: changed(n, "hidden", weight=transposed(n["hidden"].weight)),
        "operation 'hidden': weights transposed",
    ),
    "WRAP for SAT": (
        lambda n: with_out(n, "relu", overflow="WRAP"),
        "operation 'relu': WRAP where SAT was meant",
    ),
    "SAT for WRAP": (
        lambda n: with_out(n, "score", overflow="SAT"),
        "operation 'score': SAT where WRAP was meant",
    ),
    "TRN for RND": (
        lambda n: with_out(n, "scaled", rounding="TRN"),
        "operation 'scaled': TRN where RND was meant",
    ),
    "RND for TRN": (
        lambda n: with_out(n, "hidden", rounding="RND"),
        "operation 'hidden': RND where TRN was meant",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_known_mistakes_are_told(case):
    make, text = MISTAKES[case]
    network, x = healthy(), events(healthy())
    found = reference.emulate(make(network), x)
    n_wrong = int((found != reference.emulate(network, x)).sum())
    assert 5 < n_wrong < len(x)
    causes = explain(network, x, found)
    assert [cause.text for cause in causes] == [text]
    assert str(causes[0]) == f"{text} (accounts for {n_wrong} of the {n_wrong} events that differ)"


def test_transposed_filters_are_told():
    network, x = image(), events(image())
    found = reference.emulate(changed(network, "filters", weight=transposed(IMAGE.weight)), x)
    assert texts(network, x, found) == ["operation 'filters': weights transposed"]


@pytest.mark.parametrize(
    ("wrong", "listed"),
    [
        (("met_pt", "jet0_pt", "jet1_pt", "mu0_pt"), "met_pt, jet0_pt, jet1_pt, mu0_pt"),
        (("jet0_pt", "jet1_pt"), "jet0_pt, jet1_pt"),
        (("jet0_eta", "jet1_eta"), "jet0_eta, jet1_eta"),
        (("jet1_pt",), "jet1_pt"),
        (("mu0_pt",), "mu0_pt"),
    ],
)
def test_integer_division_is_told_with_its_columns(wrong, listed):
    network, x = healthy(), events(healthy())
    halved = x.copy()
    for name in wrong:
        halved[:, COLUMNS.index(name)] = halved[:, COLUMNS.index(name)] // 2 * 2
    causes = texts(network, x, reference.emulate(network, halved))
    assert causes == [f"integer division by 2 in the input loses the lowest bit of {listed}"]


def test_columns_that_no_score_depends_on_are_not_accused():
    weight = healthy()["hidden"].weight.copy()
    weight[COLUMNS.index("jet1_pt")] = 0
    network = changed(healthy(), "hidden", weight=weight)
    x = events(network)
    halved = np.where([name.endswith("pt") for name in COLUMNS], x // 2 * 2, x)
    assert texts(network, x, reference.emulate(network, halved)) == [
        "integer division by 2 in the input loses the lowest bit of met_pt, jet0_pt, mu0_pt"
    ]


def test_nothing_is_said_where_nothing_fits(rng):
    network, x = healthy(), events(healthy())
    found = reference.emulate(network, x)
    assert explain(network, x, rng.permutation(found)) == []
    assert explain(network, x, found + (np.arange(len(x)) == 5)) == []


def test_a_mistake_that_would_change_events_that_agree_is_not_offered():
    network, x = healthy(), events(healthy())
    right = reference.emulate(network, x)
    wrong = reference.emulate(with_out(network, "relu", overflow="WRAP"), x)
    half = np.where(np.arange(len(x)) % 2 == 0, wrong, right)
    assert explain(network, x, half) == []


def test_a_mistake_that_accounts_for_most_is_offered_if_none_accounts_for_all():
    network, x = healthy(), events(healthy())
    found = reference.emulate(with_out(network, "relu", overflow="WRAP"), x)
    differs = np.flatnonzero(found != reference.emulate(network, x))
    found[differs[::5]] ^= 1 << 9
    expected = Cause("operation 'relu': WRAP where SAT was meant", len(differs) - len(differs[::5]), len(differs))
    assert explain(network, x, found) == [expected]


def test_equal_networks_have_no_differences():
    assert differences(healthy(), healthy(), "trigger") == []


def test_differences_are_told_operation_by_operation():
    network = healthy()
    weight = network["hidden"].weight.copy()
    weight[4, 1] += 1
    weight[5, 2] -= 2
    other = with_out(changed(network, "hidden", weight=weight), "relu", overflow="WRAP")
    assert differences(network, other, "trigger") == [
        "operation 'hidden': weight differs in 2 of 18 numbers, first at (4, 1): 0.5 and 0.75",
        "operation 'relu': out is ap_ufixed<6,5,AP_RND_CONV,AP_SAT> in the network and "
        "ap_ufixed<6,5,AP_RND_CONV,AP_WRAP> in the project",
    ]
    assert differences(network, other, "hidden")[0].startswith("operation 'relu': out is ")
    assert differences(network, other, "relu") == []


def test_other_operations_are_told_by_their_kinds():
    network = healthy()
    table = Lookup("relu", "hidden", np.arange(512) % 63, FixedPoint(6, 1, False))
    code = dense("code", "relu", [[1], [2], [3]], [0], FixedPoint(9, 2))
    other = Network((*network.operations[:3], table, code, Dot("score", "code", "code", None, network.score.out)))
    assert differences(network, other, "trigger") == [
        "operation 'relu': Cast in the network, Lookup in the project",
        "operation 'score': x is relu in the network and code in the project",
        "operation 'score': y is relu in the network and code in the project",
        "operation 'code': missing in the network, Dense in the project",
    ]
    smaller = changed(network, "hidden", weight=np.ones((6, 2), np.int64), bias=ints(1, 2))
    assert differences(network, smaller, "trigger") == [
        "operation 'hidden': weight has shape (6, 3) in the network and (6, 2) in the project",
        "operation 'hidden': bias has shape (3,) in the network and (2,) in the project",
    ]
    assert differences(network, smaller, "unscaled") == differences(network, smaller, "trigger")


def test_a_sum_and_its_accumulator_are_compared_with_the_sum():
    """Readers make one operation of the two where the accumulator cannot wrap."""
    network = healthy()
    hidden = network["hidden"]
    weight = hidden.weight.copy()
    weight[0, 0] = 6
    accumulated = replace(hidden, name="hidden_accum", weight=weight, out=FixedPoint(11, 4))
    other = Network(
        (*network.operations[:2], accumulated, Cast("hidden", "hidden_accum", hidden.out), *network.operations[3:])
    )
    text = "operation 'hidden': accumulator ap_fixed<11,7,AP_TRN,AP_WRAP> may wrap in the {}, and not in the other"
    numbers = "operation 'hidden': weight differs in 1 of 18 numbers, first at (0, 0): {} and {}"
    assert differences(network, other, "trigger") == [text.format("project"), numbers.format(1.25, 1.5)]
    assert differences(other, network, "trigger") == [text.format("network"), numbers.format(1.5, 1.25)]


@pytest.fixture
def recorded(tmp_path):
    """``scores.h5`` of `healthy`, and its events."""
    network, x = healthy(), events(healthy())
    with h5py.File(tmp_path / "scores.h5", "w") as file:
        file["raw"] = reference.emulate(network, x).astype(np.uint16)
    return tmp_path / "scores.h5", x


def test_recorded_scores_that_agree(recorded):
    path, x = recorded
    comparison = against_scores(healthy(), path, x)
    assert str(comparison.agreement) == (f"reference = scores.h5: 0 mismatches in {len(x)} events (1 operations each)")


def test_recorded_scores_that_differ(recorded):
    path, x = recorded
    network = with_out(healthy(), "score", overflow="SAT")
    comparison = against_scores(network, path, x)
    scores = [reference.emulate(each, x) for each in (network, healthy())]
    wrong = np.flatnonzero(scores[0] != scores[1])
    first = comparison.agreement.first
    assert comparison.agreement.n_mismatches == len(wrong)
    assert (first.event, first.operation, first.element) == (wrong[0], "score", 0)
    assert (first.left, first.right) == (1023, scores[1][wrong[0]])
    assert list(comparison.why(network, x)) == [
        f"likely cause: operation 'score': WRAP where SAT was meant (accounts for {len(wrong)} of the {len(wrong)} "
        "events that differ)"
    ]
    with h5py.File(path, "r+") as file:
        file["raw"][:] = file["raw"][:][::-1]
    assert list(against_scores(network, path, x).why(network, x)) == [
        "likely cause: none of the known mistakes accounts for it"
    ]


def test_scores_that_cannot_be_read(recorded):
    path, x = recorded

    def refused(text):
        with pytest.raises((OSError, ValueError), match=text):
            against_scores(healthy(), path, x)

    whole = path.read_bytes()
    with h5py.File(path, "r+") as file:
        del file["raw"]
        file["raw"] = np.zeros(3, np.int64)
    refused(rf"scores\.h5: must hold {len(x)} scores, one an event, not 3; name the events")
    for content, text in (
        (np.zeros((len(x), 2), int), rf"must hold {len(x)} scores, one an event, not {len(x)} x 2"),
        (np.int64(1), rf"must hold {len(x)} scores, one an event, not a single number"),
        (np.zeros(len(x)), r"raw scores must be integers, not float64"),
    ):
        with h5py.File(path, "w") as file:
            file["raw"] = content
        refused(rf"scores\.h5: {text}")
    with h5py.File(path, "w") as file:
        file.create_group("raw")
    refused("must be an HDF5 file with the dataset 'raw', as `l1ad emulate` writes")
    for damaged in (whole[: len(whole) // 2], b"text"):
        path.write_bytes(damaged)
        refused("must be an HDF5 file with the dataset 'raw'")
    path.unlink()
    refused(r"scores must be an existing file, not '.*scores\.h5'; `l1ad emulate` records them")


def test_a_clean_network_has_no_findings():
    network = with_out(with_out(healthy(), "score", overflow="SAT"), "hidden", width=15)
    assert lint_network(network) == []


def test_a_score_that_wraps_is_an_error():
    (finding,) = lint_network(healthy())
    assert (finding.severity, finding.where) == ("error", "operation 'score'")
    assert finding.what.startswith("the score wraps in ap_ufixed<10,10,AP_TRN,AP_WRAP>, so that a large anomaly may")
    assert str(finding) == f"error: operation 'score': {finding.what}; let it saturate, or widen it"


def good(network):
    return with_out(network, "score", overflow="SAT")


def test_accumulators_that_may_wrap_are_warned_of():
    (finding,) = lint_network(with_out(good(healthy()), "hidden", overflow="WRAP"))
    assert (finding.severity, finding.where) == ("warning", "operation 'hidden'")
    assert finding.what.startswith("accumulator ap_fixed<9,6,AP_TRN,AP_WRAP> may wrap in 3 of 3 elements: its exact")
    assert "`l1ad verify`" in finding.remedy
    (finding,) = lint_network(with_out(good(healthy()), "relu", overflow="WRAP"))
    assert (finding.severity, finding.where) == ("warning", "operation 'relu'")
    assert finding.what.startswith("ap_ufixed<6,5,AP_RND_CONV,AP_WRAP> may wrap in 3 of 3 elements")


def test_a_type_that_is_too_narrow_for_the_hardware_is_an_error():
    findings = lint_network(with_out(good(healthy()), "scaled", overflow="WRAP", width=6))
    assert findings[0] == Finding(
        "error",
        "operation 'scaled'",
        "ap_fixed<6,4,AP_RND,AP_WRAP> cannot hold the hardware range of mu0_pt",
        "widen it, or let it saturate",
    )


def unused(*operations):
    """Columns that are found to be unused."""
    findings = [finding for finding in lint_network(Network(operations)) if finding.where == "inputs"]
    if not findings:
        return ""
    count, _, names = findings[0].what.partition(" inputs change no score, as all their weights are 0: ")
    assert int(count) == len(names.split(", "))
    return names


WIDE = FixedPoint(24, 0)


def test_inputs_that_no_score_depends_on():
    summed = dense("score", "trigger", [[1], [0], [2], [0], [3], [4]], [0], WIDE)
    assert unused(trigger(), summed) == "jet0_pt, jet1_pt"
    one_value = trigger(high=(60, 0, 20, 63, 20, 31))  # a column that is always 0 is no mistake
    assert unused(one_value, summed) == "jet1_pt"
    scale = ints(1, 1, 0, 1, 1, 1)
    scaled = Affine("scaled", "trigger", scale, FixedPoint(1, 0, False), ints(*range(6)), CODES, WIDE)
    assert unused(trigger(), scaled, replace(summed, x="scaled")) == "jet0_pt, jet0_eta, jet1_pt"
    # through two layers: the weights of the second forget what the first sees
    hidden = dense("hidden", "trigger", np.eye(6, dtype=int), [0] * 6, WIDE)
    assert unused(trigger(), hidden, replace(summed, x="hidden")) == "jet0_pt, jet1_pt"
    assert unused(trigger(), hidden, Dot("score", "hidden", "hidden", None, WIDE)) == ""


def test_inputs_that_no_filter_sees():
    weight = np.zeros((1, 2, 2, 1), np.int64)
    weight[0, 0, 0, 0] = 1  # the first channel of the left pixel of each window: of pixels 0 and 1
    filters = replace(IMAGE, weight=weight, bias=ints(0))
    total = dense("score", "filters", [[1], [1]], [0], WIDE)
    assert unused(trigger(), filters, total) == "jet0_pt, jet1_pt, jet1_eta, mu0_pt"
    padded = replace(filters, padding=(0, 0, 1, 0))
    total = dense("score", "filters", [[1], [1], [1]], [0], WIDE)
    assert unused(trigger(), padded, total) == "jet0_pt, jet1_pt, jet1_eta, mu0_pt"


def test_a_mask_depends_on_what_it_looks_at():
    ends = {"columns": COLUMNS[:3], "low": LOW[:3], "high": HIGH[:3]}
    weight = [[0], [0], [1]]
    total = dense("score", "present", weight, [0], WIDE)
    assert unused(trigger(**ends), Mask("present", "trigger", "trigger", ints(0, 0, 0), CODES), total) == "jet0_pt"
    assert unused(trigger(**ends), Mask("present", "trigger", "trigger", ints(1, 1, 1), CODES), total) == "met_pt"
    merged = Merge("merged", "maximum", "trigger", "trigger", CODES)
    assert unused(trigger(**ends), merged, replace(total, x="merged")) == "met_pt, jet0_pt"


@pytest.fixture
def project(tmp_path):
    """A project that we wrote, and the columns that its network reads."""
    network = with_out(with_out(healthy(), "score", overflow="SAT"), "hidden", width=15)
    folder = write_project(network, tmp_path / "project", Target(), corners(network)[:1])
    return folder, tuple(InputColumn(*column, 1.0, "1") for column in zip(COLUMNS, LOW, HIGH, strict=True))


def test_our_own_project_has_no_findings(project):
    assert lint_project(*project) == []


def test_literals_off_their_grid_are_warned_of(project):
    folder, columns = project
    (path,) = (p for p in (folder / "firmware" / "weights").glob("w*.h") if "[18]" in p.read_text())
    before, values = path.read_text().split("= {")
    assert "1.25" in values
    path.write_text(f"{before}= {{{values.replace('1.25', '1.3', 1)}")
    (finding,) = lint_project(folder, columns)
    assert finding.severity == "warning"
    assert finding.where.startswith(f"firmware/weights/{path.name}:")
    assert "1 of 18 literals of 'w" in finding.what
    assert finding.remedy == "round them when the project is made"


def test_types_that_hls4ml_chose_are_warned_of(project):
    folder, columns = project
    (folder / "manifest.json").unlink()
    (config,) = folder.rglob("hls4ml_config.yml")
    text = "".join(line for line in config.read_text().splitlines(True) if "BitExact" not in line)
    for switch, n_findings in (("", 1), ("BitExact: false\n", 1), ("BitExact: true\n", 0)):
        config.write_text(text + switch)
        findings = lint_project(folder, columns)
        assert [finding.where for finding in findings] == ["hls4ml_config.yml"] * n_findings
        assert all(finding.what.startswith("bit_exact is off: hls4ml chose types") for finding in findings)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """``tiny.toml`` and what a run of its first model leaves behind; the second has not begun."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(STUDY, encoding="utf-8")
    network = with_out(with_out(healthy(), "score", overflow="SAT"), "hidden", width=15)
    network.save("runs/tiny/small_ae/network.json")
    leave(network.digest)
    return network


def leave(digest, threshold=100, names=("agreement", "resources", "thresholds", "scores", "manifest")):
    """Artefacts of the network of a digest."""
    rate = Rate(1e4, 1e2, 50.0, 60, SIMULATED)
    refused = Refused(3.0, 4, "add events")
    points = (
        WorkingPoint(1e4, Threshold(threshold, threshold, threshold, rate), rate),
        WorkingPoint(1e3, refused, refused),
    )
    told = ("ap_ufixed<10,10,AP_TRN,AP_SAT>", "rate", "random numbers", True, "conventional", Collider())
    folder = "runs/tiny/small_ae"
    if "agreement" in names:
        documents.save(f"{folder}/agreement.json", Agreements(digest, (), {}))
    if "resources" in names:
        documents.save(f"{folder}/resources.json", ResourceTable(digest, (), "", False, None, None))
    if "thresholds" in names:
        save_thresholds(f"{folder}/thresholds.json", Thresholds(digest, *told, points))
    if "scores" in names:
        with h5py.File(f"{folder}/scores.h5", "w") as file:
            file.attrs["network_digest"] = digest
    if "manifest" in names:
        documents.write_text("firmware/tiny/small_ae/manifest.json", json.dumps({"network_digest": digest}))


BEGUN = "warning: model 'small_vae': has no network yet; run `l1ad convert tiny.toml`"


def found():
    return [str(finding) for finding in lint_study("tiny.toml")]


def test_a_study_that_is_up_to_date_only_has_models_to_convert(study, capsys):
    assert found() == [BEGUN]
    assert main(["lint", "tiny.toml"]) == 0
    assert capsys.readouterr().out == f"{BEGUN}\ntiny.toml: 1 findings\n"
    study.save("runs/tiny/small_vae/network.json")
    assert found() == []


@pytest.mark.parametrize("name", ["agreement", "resources", "thresholds", "scores", "manifest"])
def test_artefacts_of_another_network_are_errors(name, study, capsys):
    leave("f" * 64, names=(name,))
    file = name + (".h5" if name == "scores" else ".json")
    error = (
        f"error: model 'small_ae', {file}: belongs to network {'f' * 12}, and the model is {study.digest[:12]} now; "
        "run the study again"
    )
    assert found() == [error, BEGUN]
    assert main(["lint", "tiny.toml"]) == 1
    assert capsys.readouterr().err == "l1ad: error: tiny.toml: must have no errors, not 1; warnings alone would pass\n"


def test_a_threshold_where_the_score_saturates_is_an_error(study):
    leave(study.digest, threshold=1022)
    assert found() == [BEGUN]
    leave(study.digest, threshold=1023)
    assert found() == [
        "error: model 'small_ae', thresholds.json: threshold 1023 is where the score saturates, in "
        "ap_ufixed<10,10,AP_TRN,AP_SAT>; widen the score, or choose a higher rate",
        BEGUN,
    ]


@pytest.mark.usefixtures("study")
def test_findings_in_the_networks_of_a_study_name_the_model():
    healthy().save("runs/tiny/small_vae/network.json")
    assert [text[:50] for text in found()] == ["error: model 'small_vae', operation 'score': the s"]


@pytest.mark.usefixtures("study")
def test_artefacts_that_cannot_be_read(tmp_path, capsys):
    (tmp_path / "firmware/tiny/small_ae/manifest.json").write_text("{}")
    assert main(["lint", "tiny.toml"]) == 1
    assert capsys.readouterr().err == (
        "l1ad: error: firmware/tiny/small_ae/manifest.json: must say its network_digest; run the study again\n"
    )
    leave("f" * 64, names=("manifest",))
    (tmp_path / "runs/tiny/small_ae/thresholds.json").write_text("{")
    assert main(["lint", "tiny.toml"]) == 1
    assert "runs/tiny/small_ae/thresholds.json must be strict JSON" in capsys.readouterr().err
