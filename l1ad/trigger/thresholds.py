"""``thresholds.json``: working points, bound by digest to the network whose score they cut on."""

from dataclasses import dataclass
from pathlib import Path

from l1ad import documents
from l1ad.trigger.rates import PURE_DEFINITION, Collider, Rate, WorkingPoint, stage


@dataclass(frozen=True)
class Thresholds:
    """Working points of one network on one sample.

    Attributes
    ----------
    digest : str
        Of the network that gives the score.
    score_type : str
        Fixed-point type of the score, whose raw codes the thresholds are.
    sample, provenance : str
        Name of the zero-bias sample, and what made it.
    simulated : bool
        Whether it is simulated.
    menu : str
        Name of the conventional menu that the pure rates are relative to.
    collider : Collider
        Filling scheme.
    working_points : tuple of WorkingPoint
    pure_definition : str
        Always `PURE_DEFINITION`; two meanings are in use, so the file says which.
    """

    digest: str
    score_type: str
    sample: str
    provenance: str
    simulated: bool
    menu: str
    collider: Collider
    working_points: tuple[WorkingPoint, ...]
    pure_definition: str = PURE_DEFINITION

    def __post_init__(self) -> None:
        for name in ("digest", "score_type", "sample", "provenance", "menu"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be a non-empty text, not {getattr(self, name)!r}; say what it is")
        if self.pure_definition != PURE_DEFINITION:
            raise ValueError(
                f"pure_definition must be {PURE_DEFINITION!r}, not {self.pure_definition!r}; "
                "derive the working points again"
            )
        quoted = stage(simulated=self.simulated)
        for point in self.working_points:
            for rate in (point.rate, point.pure):
                if isinstance(rate, Rate) and rate.stage != quoted:
                    raise ValueError(
                        f"stage must be {quoted!r}, not {rate.stage!r}; in the working point at "
                        f"{point.target_hz:g} Hz; give working_point and Thresholds the same simulated"
                    )


def save_thresholds(path: str | Path, thresholds: Thresholds) -> None:
    """Write thresholds, whole or not at all.

    Parameters
    ----------
    path : str or Path
        ``thresholds.json`` of a run; replaced if it exists.
    thresholds : Thresholds
    """
    documents.save(path, thresholds)


def load_thresholds(path: str | Path, digest: str) -> Thresholds:
    """Read thresholds of a network, and of no other.

    Parameters
    ----------
    path : str or Path
        Written by `save_thresholds`.
    digest : str
        Of the network at hand.

    Raises
    ------
    ValueError
        If the file belongs to another network, lacks a key, has one too many, or holds a wrong type.
    """
    try:
        thresholds = documents.load(Thresholds, path)
    except ValueError as error:
        raise ValueError(f"{error}; derive the thresholds again") from error
    if thresholds.digest != digest:
        raise ValueError(
            f"thresholds must belong to network {digest}, not to network {thresholds.digest}; in {path}; "
            "derive the thresholds again with this network"
        )
    return thresholds
