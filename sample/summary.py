"""Print what is in the sample: medians against published ones, rates of the menu, effective numbers.

python sample/summary.py sample
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l1ad.events.menu import decide, load_menu
from l1ad.events.store import EventFile, Events, assert_disjoint, event_hash, inputs

CROSSINGS_KHZ = 28_608.6  # 2544 colliding bunches x 11.2455 kHz
# (p5 + p95) / 2 of the non-zero entries in GeV: offsets of AXOL1TL v4 (github cms-hls4ml/AXOL1TL, scales.h)
PUBLISHED = {
    "met": (18,),
    "eg": (7, 4.5, 4, 3),
    "mu": (5, 3, 3, 3),
    "jet": (29, 22, 17.5, 13.5, 11, 10.5, 10, 9, 9, 8),
}


def midpoint(values: NDArray[np.int32]) -> float:
    """(p5 + p95) / 2 of the non-zero codes, in GeV."""
    present = values[values > 0] * 0.5
    return float(np.percentile(present, [5, 95]).mean()) if len(present) else float("nan")


def effective(weights: NDArray[np.float64]) -> float:
    """(sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def compare(train: Events) -> None:
    """Table of medians."""
    print("\n| object | published | here | share of events |\n|---|---|---|---|")
    for name, published in PUBLISHED.items():
        for slot, value in enumerate(published):
            pt = train.columns[f"{name}.pt"][:, slot]
            print(f"| {name} {slot} | {value} | {midpoint(pt):.1f} | {(pt > 0).mean():.4f} |")


def rates(rate: Events) -> None:
    """Table of the menu's rates, and the thresholds of simple scores with their effective numbers."""
    weight, menu = rate.meta["weight"], load_menu("conventional")
    bits = decide(rate, menu)
    print("\n| seed | kHz | error | events |\n|---|---|---|---|")
    rows = [(seed.name, (bits >> np.uint64(i) & np.uint64(1)) > 0) for i, seed in enumerate(menu.seeds)]
    for name, fired in [*rows, ("any", bits > 0)]:
        w = weight[fired]
        error = CROSSINGS_KHZ * np.sqrt((w**2).sum())
        print(f"| {name} | {CROSSINGS_KHZ * w.sum():.2f} | {error:.2f} | {len(w)} |")
    x = inputs(rate)
    scores = {"sum of pT": x[:, ::3].sum(1), "MET": x[:, 0], "e/γ 0": x[:, 3], "μ 0": x[:, 15], "jet 0": x[:, 27]}
    print("\n| score | rate, kHz | threshold, GeV | events | n_eff | largest share of one collision |")
    print("|---|---|---|---|---|---|")
    for name, score in scores.items():
        order = np.argsort(-score, kind="stable")
        total = np.cumsum(weight[order]) * CROSSINGS_KHZ
        for khz in (0.1, 1.0, 10.0, 100.0):
            threshold = score[order[np.searchsorted(total, khz)]]
            taken = score > threshold
            w, collision = weight[taken], rate.meta["collision"][taken]
            share = np.bincount(collision, weights=w).max() / w.sum()
            print(f"| {name} | {khz:g} | {threshold / 2} | {len(w)} | {effective(w):.0f} | {share:.3f} |")


def main() -> None:
    """Read the files of the folder given and print the tables."""
    folder, hashes = Path(sys.argv[1]), {}
    menu = load_menu("conventional")
    print("| file | events | MB | sum of weights | passes the menu |\n|---|---|---|---|---|")
    for path in sorted(folder.glob("*.h5")):
        with EventFile(path) as file:
            events = file.read()
            if path.stem == "rate":
                record = file.attrs
        hashes[path.stem] = event_hash(events)
        weight = events.meta["weight"]
        passed = weight[decide(events, menu) > 0].sum() / weight.sum()
        size = path.stat().st_size / 1e6
        print(f"| {path.name} | {len(events)} | {size:.3f} | {weight.sum():.4f} | {passed:.4f} |")
        if path.stem == "train":
            compare_with = events
        elif path.stem == "rate":
            rate = events
    compare(compare_with)
    rates(rate)
    for name in hashes:
        if name != "train":
            assert_disjoint(hashes["train"], hashes[name], ("train", name))
    print("\n| class | sigma, mb | per crossing | kHz | forced events |\n|---|---|---|---|---|")
    for name, expected in record["expected_per_crossing"].items():
        sigma, forced = record["sigma_mb"][name], record["forced_events"][name]
        print(f"| {name} | {sigma:.4g} | {expected:.4g} | {expected * CROSSINGS_KHZ:.4g} | {forced} |")
    ratio = sum(v for k, v in record["sigma_mb"].items() if k.startswith("qcd")) / record["sigma_mb"]["soft"]
    print(f"\nshare of collisions above 20 GeV: HardQCD {ratio:.5f}, SoftQCD {record['soft_above_edge']:.5f}")


if __name__ == "__main__":
    main()
