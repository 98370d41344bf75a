import re
from dataclasses import dataclass
from typing import Literal

import pytest

from l1ad import documents
from l1ad.compare import Agreement, Difference
from l1ad.documents import decode
from l1ad.hardware.resources import Resources
from l1ad.study.artefacts import (
    Agreements,
    PerformanceTable,
    ResourceTable,
    SignalEfficiency,
    Simulated,
    Training,
    TwinAuc,
)
from l1ad.trigger import (
    Collider,
    Comparison,
    Efficiency,
    Rate,
    Refused,
    Threshold,
    Thresholds,
    WorkingPoint,
    load_thresholds,
    save_thresholds,
)
from l1ad.trigger.performance import Difference as Gain
from l1ad.trigger.performance import Measured, Performance


@dataclass(frozen=True)
class Leaf:
    width: int
    label: str = "plain"

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")


@dataclass(frozen=True)
class Other:
    reason: str


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    by_name: dict[str, Leaf]
    mode: Literal["fast", "slow"]
    scale: float
    on: bool
    choice: Leaf | Other
    maybe: float | None = None


GOOD = {
    "leaves": [{"width": 3}, {"width": 4, "label": "x"}],
    "by_name": {"a b": {"width": 1}},
    "mode": "fast",
    "scale": 2,
    "on": True,
    "choice": {"reason": "none"},
}


def test_a_document_becomes_its_type():
    tree = decode(Tree, GOOD, "f.toml")
    assert tree == Tree((Leaf(3), Leaf(4, "x")), {"a b": Leaf(1)}, "fast", 2.0, True, Other("none"), None)
    assert type(tree.scale) is float
    assert decode(Tree, GOOD | {"maybe": None}, "f").maybe is None
    assert decode(Tree, GOOD | {"maybe": 3}, "f").maybe == 3.0
    assert decode(Tree, GOOD | {"choice": {"width": 7, "label": ""}}, "f").choice == Leaf(7, "")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scal": 1}, "f: unknown key 'scal'; did you mean 'scale'?"),
        (
            {"zzz": 1},
            "f: unknown key 'zzz'; it must be one of leaves, by_name, mode, scale, on, choice, maybe",
        ),
        ({"leaves": [{"width": 1}, {"widht": 1}]}, "f.leaves[1]: unknown key 'widht'; did you mean 'width'?"),
        ({"by_name": {"a": {}}}, "f.by_name.a: key 'width' must be given"),
        ({"leaves": {}}, "f.leaves must be a list, not {}"),
        ({"leaves": [3]}, "f.leaves[0] must be a table, not 3"),
        ({"by_name": []}, "f.by_name must be a table, not []"),
        ({"by_name": {"a": {"width": True}}}, "f.by_name.a.width must be of type int, not True"),
        ({"by_name": {"a": {"width": 1.0}}}, "f.by_name.a.width must be of type int, not 1.0"),
        ({"by_name": {"a": {"width": "1"}}}, "f.by_name.a.width must be of type int, not '1'"),
        ({"by_name": {"a": {"width": 1, "label": None}}}, "f.by_name.a.label must be of type str, not None"),
        ({"by_name": {"a": {"width": 0}}}, "f.by_name.a: width must be at least 1, not 0"),
        ({"mode": "quick"}, "f.mode must be one of ('fast', 'slow'), not 'quick'"),
        ({"mode": ["fast"]}, "f.mode must be one of ('fast', 'slow'), not ['fast']"),
        ({"scale": "2"}, "f.scale must be of type float, not '2'"),
        ({"scale": False}, "f.scale must be of type float, not False"),
        ({"scale": float("nan")}, "f.scale must be finite, not nan"),
        ({"scale": float("inf")}, "f.scale must be finite, not inf"),
        ({"on": 1}, "f.on must be of type bool, not 1"),
        ({"choice": {"width": 1}}, "f.choice must be one of Leaf, Other, not {'width': 1}"),
        ({"choice": None}, "f.choice must be one of Leaf, Other, not None"),
        ({"choice": {"reason": 4}}, "f.choice.reason must be of type str, not 4"),
        ({"maybe": "x"}, "f.maybe must be of type float, not 'x'"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(change, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        decode(Tree, GOOD | change, "f")


def test_a_missing_key_and_no_table():
    with pytest.raises(ValueError, match=r"^f: key 'mode' must be given$"):
        decode(Tree, {key: value for key, value in GOOD.items() if key != "mode"}, "f")
    with pytest.raises(ValueError, match=r"^f must be a table, not \[\]$"):
        decode(Tree, [], "f")


RATE = Rate(9.9e3, 1.2e3, 68.0, 70, "simulated, before dead time")
REFUSED = Refused(3.5, 4, "add events")
ARTEFACTS = [
    Training(10, 2, 0, 1, 1.5, (0, -3), (1, 2), {"float_train": (0.5, 0.25), "quantised_train": ()}, {"latent": 0.5}),
    Agreements(
        "d" * 64,
        (
            Agreement("QKeras", "reference", 7, 0, 4, None),
            Agreement("reference", "C simulation", 7, 1, 4, Difference(3, "score", 0, "ap_ufixed<8,4>", 1.0, 2.5)),
        ),
        {"encoder1": 17},
    ),
    ResourceTable(
        "d" * 64,
        (Resources("estimate", "count", "part", 5.0, 1, None, 0, 0, 3, 1, 15.0),),
        "no tool: estimates",
        False,
        Agreement("reference", "netlist", 7, 0, 1, None),
        "reports",
    ),
    ResourceTable("d" * 64, (), "nothing", True, None, None),
    Simulated("d" * 64, "e" * 64, Agreement("reference", "RTL", 7, 0, 1, None), 5.0, 9, 20, 3),
    PerformanceTable(
        (SignalEfficiency("ae", 1e4, "A → 4ℓ", Efficiency(0.5, 0.4, 0.6, 100.0)),),
        Comparison(
            (Performance("A → 4ℓ", "ae", "auc", None, Measured(0.9, 0.01)),),
            (Gain("A → 4ℓ", "ae", "Σ pT", "efficiency", 1e4, REFUSED, "refused"),),
            "simulated, before dead time",
        ),
        (TwinAuc("ae", "A → 4ℓ", 0.9, 0.91),),
    ),
]


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda a: type(a).__name__)
def test_artefacts_survive_their_file(artefact, tmp_path):
    path = tmp_path / "artefact.json"
    documents.save(path, artefact)
    assert documents.load(type(artefact), path) == artefact


@pytest.fixture
def thresholds():
    return Thresholds(
        digest="d" * 64,
        score_type="ap_ufixed<18,14>",
        sample="rate.h5",
        provenance="random numbers",
        simulated=True,
        menu="conventional",
        collider=Collider(),
        working_points=(
            WorkingPoint(1e4, Threshold(100, 98, 103, RATE), REFUSED),
            WorkingPoint(1e3, REFUSED, REFUSED),
        ),
    )


def test_thresholds_are_of_one_network(thresholds, tmp_path):
    path = tmp_path / "thresholds.json"
    save_thresholds(path, thresholds)
    assert load_thresholds(path, "d" * 64) == thresholds
    with pytest.raises(
        ValueError, match=r"thresholds must belong to network e+, not to network d+; in .*thresholds\.json"
    ):
        load_thresholds(path, "e" * 64)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"reason": "a", "reason": "b"}', r"keys must be distinct, not \['reason', 'reason'\]"),
        ('{"reason": NaN}', "numbers must be finite, not NaN"),
        ('{"reason": -Infinity}', "numbers must be finite, not -Infinity"),
        ('{"reason": "a"', "Expecting ',' delimiter"),
        ("", "Expecting value"),
        ('{"reason": "a",}', "double quotes|trailing comma"),
    ],
)
def test_json_is_strict(text, why, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} must be strict JSON, not this: .*({why})"):
        documents.load(Other, path)


def test_a_number_beyond_float_is_not_infinity(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"model": "a", "signal": "b", "fixed": 1e999, "twin": 0.5}')
    with pytest.raises(ValueError, match=r"a\.json\.fixed must be finite, not inf$"):
        documents.load(TwinAuc, path)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match=r"a\.json must be strict JSON"):
        documents.load(Other, path)


def test_nan_is_not_written(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match=r"a\.json must hold finite numbers"):
        documents.save(path, TwinAuc("a", "b", float("nan"), 0.5))
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        documents.load(Other, tmp_path / "none.json")
