"""Print what is in the sample and whether its weights hold: the tables of README.md.

    python sample/checks.py sample
    python sample/checks.py sample --moved moved/rate.h5 --plot docs/pictures/seed_rates.png

``--moved`` is a rate sample of other class edges (configs/events/moved_edges.toml), whose rates must agree.
"""

import argparse
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.documents import decode
from l1ad.events.generation.stitching import weights_without
from l1ad.events.pileup import Normal, Profile, reweight
from l1ad.events.store import EventFile, Events, assert_disjoint, event_hash, inputs
from l1ad.trigger.rates import Collider
from l1ad.trigger.samples import event_groups, n_effective

PUBLISHED = tomllib.loads((Path(__file__).parent / "published.toml").read_text(encoding="utf-8"))
KHZ = Collider().crossing_rate_hz / 1e3
TARGETS_KHZ = (0.1, 1.0, 10.0, 100.0)
SCORES: dict[str, Callable[[Events], NDArray[Any]]] = {
    "sum of pT": lambda events: inputs(events)[:, ::3].sum(1),
    "MET": lambda events: events.columns["met.pt"][:, 0],
    "e/γ 0": lambda events: events.columns["eg.pt"][:, 0],
    "μ 0": lambda events: events.columns["mu.pt"][:, 0],
    "jet 0": lambda events: events.columns["jet.pt"][:, 0],
}


def read(path: Path) -> tuple[Events, dict[str, Any]]:
    """Events and attributes of a file."""
    with EventFile(path) as file:
        return file.read(), file.attrs


def profile(described: dict[str, Any]) -> Profile:
    """A pileup profile from the attribute that describes it."""
    return decode(Profile, {key: value for key, value in described.items() if key != "profile"}, "profile")


def profiles(attrs: dict[str, Any]) -> tuple[Profile, Profile]:
    """Generated and target profile of a rate sample."""
    return profile(attrs["pileup_generated"]), profile(attrs["pileup_target"])


def measured(events: Events, taken: NDArray[np.bool_]) -> tuple[float, float]:
    """Rate in kHz, and its error by collision."""
    weight = events.meta["weight"][taken]
    groups = event_groups(events.meta["collision"][taken].astype(np.int64), len(weight)) if len(weight) else None
    total = KHZ * float(weight.sum())
    return total, total / max(n_effective(weight, groups), 1e-9) ** 0.5


def files(folder: Path) -> Iterator[str]:
    """Table of the files; train and the others share no event."""
    yield "| file | events | MB | sum of weights | passes the menu |\n|---|---|---|---|---|"
    hashes = {}
    for path in sorted(folder.glob("*.h5")):
        events, _ = read(path)
        hashes[path.stem] = event_hash(events)
        weight = events.meta["weight"]
        passed = weight[events.meta["seeds"].any(axis=1)].sum() / weight.sum()
        size = path.stat().st_size / 1e6
        yield f"| {path.name} | {len(events)} | {size:.3f} | {weight.sum():.4f} | {passed:.4f} |"
    for name in hashes.keys() - {"train"}:
        assert_disjoint(hashes["train"], hashes[name], ("train", name))


def scaling(train: Events) -> Iterator[str]:
    """Table of (p5 + p95) / 2 and p99.9 against the published constants."""
    yield f"Published: {PUBLISHED['scaling']['source']}.\n"
    yield "| object | published | here | ratio | within 10 % | p99.9, GeV | share of events |"
    yield "|---|---|---|---|---|---|---|"
    for name in ("met", "eg", "mu", "jet"):
        for slot, value in enumerate(PUBLISHED["scaling"][name]):
            pt = train.columns[f"{name}.pt"][:, slot] * 0.5
            present = pt[pt > 0]
            if not len(present):
                yield f"| {name} {slot} | {value} | none | | no | | 0 |"
                continue
            here = float(np.percentile(present, [5, 95]).mean())
            good = "yes" if abs(here / value - 1) <= 0.1 else "**no**"
            top = np.percentile(present, 99.9)
            share = f"{(pt > 0).mean():.4f}"
            yield f"| {name} {slot} | {value} | {here:.2f} | {here / value:.2f} | {good} | {top:.1f} | {share} |"


def menu(rate: Events, attrs: dict[str, Any]) -> Iterator[str]:
    """Table of the menu's rates."""
    yield "| seed | kHz | error | events |\n|---|---|---|---|"
    fired = rate.meta["seeds"].astype(bool)
    for name, taken in [*zip(attrs["seeds"], fired.T, strict=True), ("any", fired.any(axis=1))]:
        value, error = measured(rate, taken)
        yield f"| {name} | {value:.2f} | {error:.2f} | {taken.sum()} |"


def threshold(score: NDArray[Any], weight: NDArray[np.float64], khz: float) -> Any:
    """Smallest threshold with a rate of at most `khz`."""
    order = np.argsort(-score, kind="stable")
    return score[order[np.searchsorted(np.cumsum(weight[order]) * KHZ, khz)]] + 1


def support(rate: Events) -> Iterator[str]:
    """Table of what stands above the thresholds of simple scores."""
    yield "| score | rate, kHz | threshold, GeV | events | n_eff by event | by collision | largest share of one |"
    yield "|---|---|---|---|---|---|---|"
    for name, function in SCORES.items():
        score = function(rate)
        for khz in TARGETS_KHZ:
            cut = threshold(score, rate.meta["weight"], khz)
            taken = score >= cut
            weight = rate.meta["weight"][taken]
            groups = event_groups(rate.meta["collision"][taken].astype(np.int64), len(weight))
            together = weight if groups is None else np.bincount(groups, weight)
            yield (
                f"| {name} | {khz:g} | {cut / 2} | {len(weight)} | {n_effective(weight):.0f} | "
                f"{n_effective(together):.0f} | {together.max() / weight.sum():.3f} |"
            )


def stitching(rate: Events, attrs: dict[str, Any], moved: Path | None) -> Iterator[str]:
    """Table of the same rates from parts of the sample, and from one of other class edges."""
    cuts = [(name, khz) for name in ("sum of pT", "jet 0", "MET") for khz in (1.0, 10.0, 1000.0)]
    yield "| sample | " + " | ".join(f"{name}, {khz:g} kHz" for name, khz in cuts) + " | χ² |"
    yield "|---|" + "---|" * (len(cuts) + 1)
    at = {(name, khz): threshold(SCORES[name](rate), rate.meta["weight"], khz) for name, khz in cuts}
    taken = {cut: SCORES[cut[0]](rate) >= at[cut] for cut in cuts}
    whole = {cut: measured(rate, taken[cut]) for cut in cuts}
    yield "| all | " + " | ".join(f"{value:.3g} ± {error:.2g}" for value, error in whole.values()) + " | |"

    def row(label: str, found: dict[Any, tuple[float, float]], difference: dict[Any, float]) -> str:
        chi2 = sum(((found[cut][0] - whole[cut][0]) / max(difference[cut], 1e-9)) ** 2 for cut in cuts)
        cells = " | ".join(f"{value:.3g} ± {error:.2g}" for value, error in found.values())
        return f"| {label} | {cells} | {chi2:.1f} of {len(cuts)} |"

    weight = rate.meta["weight"]
    for label, names in {"plain only": attrs["classes"], **{f"no forced {n}": [n] for n in attrs["classes"]}}.items():
        fewer = weights_without(rate, attrs, names)
        left = ~np.isin(rate.meta["forced"], [attrs["classes"].index(name) for name in names])
        found, difference = {}, {}
        for cut in cuts:
            # from the whole sample, which knows the tail that the part may lack
            error = KHZ * np.sqrt((weight * fewer)[taken[cut]].sum())
            found[cut] = KHZ * float(fewer[left & taken[cut]].sum()), error
            # a part is right by as much as it is not the whole
            both = ((weight * fewer)[taken[cut]].sum() - (weight**2)[taken[cut]].sum()).clip(0) ** 0.5
            difference[cut] = max(KHZ * both, 1e-3 * whole[cut][0])
        yield row(label, found, difference)
    if moved is not None:
        other = read(moved)[0]
        found = {cut: measured(other, SCORES[cut[0]](other) >= at[cut]) for cut in cuts}
        yield row("other class edges", found, {cut: float(np.hypot(found[cut][1], whole[cut][1])) for cut in cuts})


def seed_rates(rate: Events, attrs: dict[str, Any], plot: Path | None) -> Iterator[str]:
    """Table of rates of single seeds against threshold at the published pileup, with ratios."""
    rates = PUBLISHED["rates"]
    mu = rates["pileup"] * attrs["pileup_cross_section_mb"] / rates["pileup_cross_section_mb"]
    generated, target = profiles(attrs)
    there = Normal(mu, 3.0, mu - 9, mu + 9)
    pileup = rate.meta["pileup"].astype(np.float64)
    weight = rate.meta["weight"] * reweight(pileup, generated, there) / reweight(pileup, generated, target)
    at_mu = Events(rate.schema, rate.columns, {**rate.meta, "weight": weight})
    yield f"Published: {rates['source']} ({rates['year']}, pileup {rates['pileup']:g} at an assumed "
    yield f"{rates['pileup_cross_section_mb']:g} mb); here reweighted to μ = {mu:.1f} ± 3.\n"
    yield "| seed | threshold, GeV | published, kHz | here, kHz | ratio |\n|---|---|---|---|---|"
    curves = []
    for seed in rates["seeds"]:
        pt = at_mu.columns[f"{seed['collection']}.pt"].astype(np.int64)
        if "eta_max" in seed:
            pt = np.where(np.abs(at_mu.columns[f"{seed['collection']}.eta"]) * 0.0435 < seed["eta_max"], pt, 0)
        if "quality_min" in seed:
            pt = np.where(at_mu.columns[f"{seed['collection']}.quality"] >= seed["quality_min"], pt, 0)
        best = pt.max(axis=1)
        scan = np.arange(2, max(seed["threshold_gev"]) * 3 // 2)
        curve = np.array([measured(at_mu, best >= 2 * cut) for cut in scan])
        if (np.diff(curve[:, 0]) > 1e-9 * curve[:-1, 0]).any():
            raise RuntimeError(f"rate of {seed['name']} must fall with the threshold")
        curves.append((seed, scan, curve))
        for cut, khz, error in zip(seed["threshold_gev"], seed["khz"], seed["error_khz"], strict=True):
            value, its = measured(at_mu, best >= 2 * cut)
            ratio = value / khz
            spread = ratio * np.hypot(its / max(value, 1e-9), error / khz)
            yield f"| {seed['name']} | {cut} | {khz} ± {error} | {value:.2f} ± {its:.2f} | {ratio:.2f} ± {spread:.2f} |"
    if plot is not None:
        draw(curves, mu, plot)


def draw(curves: list[Any], mu: float, path: Path) -> None:
    """Rates against threshold, with the published ones."""
    import matplotlib.pyplot as plt
    import mplhep

    with plt.style.context(mplhep.style.CMS):
        plt.rcParams.update({"font.size": 14})
        figure, axes = plt.subplots(1, len(curves), figsize=(5 * len(curves), 5), layout="constrained", sharey=True)
        for axis, (seed, scan, curve) in zip(axes, curves, strict=True):
            axis.plot(scan, curve[:, 0], color="C0", label=f"simulated, μ = {mu:.0f}")
            axis.fill_between(scan, curve[:, 0] - curve[:, 1], curve[:, 0] + curve[:, 1], color="C0", alpha=0.25)
            axis.errorbar(seed["threshold_gev"], seed["khz"], seed["error_khz"], fmt="o", color="black",
                          label=f"CMS data {PUBLISHED['rates']['year']}")  # fmt: skip
            axis.set(yscale="log", ylim=(0.3, 4e4), xlabel="threshold, GeV", title=seed["name"])
            axis.title.set_fontsize(14)
        axes[0].set_ylabel("rate, kHz")
        axes[0].legend()
        figure.savefig(path, dpi=80)
    plt.close(figure)


def classes(attrs: dict[str, Any]) -> Iterator[str]:
    """Table of the classes."""
    yield "| class | cross-section, mb | probability per collision | forced events |\n|---|---|---|---|"
    for name, share in attrs["class_probability"].items():
        yield f"| {name} | {attrs['cross_sections_mb'][name]:.4g} | {share:.4g} | {attrs['forced_events'][name]} |"
    hard = sum(share for name, share in attrs["class_probability"].items() if name.startswith(("qcd", "photon")))
    yield f"\nInelastic: {attrs['pileup_cross_section_mb']:.2f} mb. Collisions above the soft edge: hard classes "
    yield f"{hard:.5f}, SoftQCD {attrs['soft_above_edge']:.5f}."


def main() -> None:
    """Read the files of a folder and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of train.h5, rate.h5 and signals")
    parser.add_argument("--moved", type=Path, help="a rate sample of other class edges")
    parser.add_argument("--plot", type=Path, help="where to draw the rates of single seeds")
    args = parser.parse_args()
    rate, attrs = read(args.folder / "rate.h5")
    train, _ = read(args.folder / "train.h5")
    for title, lines in {
        "Files": files(args.folder),
        "Scaling": scaling(train),
        "Menu": menu(rate, attrs),
        "Support": support(rate),
        "Stitching": stitching(rate, attrs, args.moved),
        "Seeds": seed_rates(rate, attrs, args.plot),
        "Classes": classes(attrs),
    }.items():
        print(f"\n## {title}\n")
        for line in lines:
            print(line)


if __name__ == "__main__":
    main()
