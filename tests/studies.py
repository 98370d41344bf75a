"""Tiny studies: event files that look like a trigger's, and a TOML file beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from l1ad.events.schema import InputColumn, Schema, load_schema
from l1ad.events.store import Events, EventWriter, concatenate, make_meta
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.operations import Dot, Input, rescale

TYPES = """\
input_type = "ap_fixed<10,6>"
weight_type = "ap_fixed<8,2>"
bias_type = "ap_fixed<8,3>"
activation_type = "ap_ufixed<10,5>"
latent_type = "ap_fixed<10,5>"
float_epochs = 3
quantised_epochs = 2
batch_size = 128
learning_rate = 2e-3
"""

STUDY = f"""\
name = "tiny"
seed = 1
csim_events = 300

[events]
train = "events/train.h5"
rate = "events/rate.h5"

[events.signals]
"A → 4ℓ" = "events/signal_a.h5"
"LQ → bτ" = "events/signal_b.h5"

[models.small_ae]
kind = "autoencoder"
hidden = [8]
latent = 2
{TYPES}
[models.small_vae]
kind = "vae"
hidden = [8]
latent = 3
{TYPES}beta = 0.02

[firmware]
clock_ns = 5.0

[rtl]
events = 300

[rate]
targets_khz = [10, 2000]
compared_khz = [10, 2000]
n_bootstrap = 20
"""
"""10 kHz of it is refused, 2000 kHz is not."""
SMALL_PLAN = """\
detector = "level1"
seed = 7
chunk = 10
menu = ""
qcd_edges_gev = [20.0]
photon_edges_gev = [20.0]

[pools]
all = { soft = 50, qcd_20 = 10 }

[files.mu]
process = "h_to_4mu"
events = 20
pool = "all"
pileup = { low = 20.0, high = 30.0 }
"""
"""Events that Pythia makes in seconds."""
RUN = 380_306
"""That of the rate sample, of which the second luminosity block has softer events."""


def random_trigger_events(schema: Schema, n_events: int, seed: int, hardness: float = 1.0) -> Events:
    """Admissible codes of falling pT; an absent object has zero in every column; weights 1 / n_events."""
    rng = np.random.default_rng(seed)
    columns = {}
    for collection in schema.collections:
        shape = (n_events, collection.slots)
        mean = 30 * hardness / (1 if collection.slots == 1 else 2)
        pt = -np.sort(-rng.exponential(mean, shape).astype(np.int64), axis=1)
        if collection.slots > 1:
            pt[np.arange(collection.slots) >= rng.integers(0, collection.slots + 1, n_events)[:, None]] = 0
        for column in collection.columns:
            codes = pt if column.name == "pt" else rng.integers(column.low, column.high, shape, endpoint=True)
            codes = np.where(pt > 0, np.clip(codes, column.low, column.high), 0)
            columns[f"{collection.name}.{column.name}"] = codes.astype(column.dtype)
    return Events(schema, columns, make_meta(n_events, weight=np.full(n_events, 1 / n_events)))


def write_events(path: Path, events: Events, **attrs: Any) -> Path:
    """An event file, simulated unless `attrs` says otherwise."""
    told = {"simulated": True, "sample": f"random numbers ({path.stem})", **attrs}
    with EventWriter(path, events.schema, told) as out:
        out.append(events)
    return path


def write_study(folder: Path, text: str = STUDY, n_events: int = 1500) -> Path:
    """``folder/tiny.toml`` and the event files that it names."""
    schema = load_schema()
    (folder / "events").mkdir(parents=True)
    for seed, (name, n, hardness) in enumerate(
        (("train", n_events, 1.0), ("rate", n_events, 1.0), ("signal_a", 400, 3.0), ("signal_b", 300, 1.5))
    ):
        events = random_trigger_events(schema, n, seed, hardness)
        if name == "rate":
            events = _two_blocks(events, random_trigger_events(schema, n // 3, seed, hardness / 2))
        write_events(folder / "events" / f"{name}.h5", events)
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _two_blocks(first: Events, second: Events) -> Events:
    """One sample of two luminosity blocks and five bunch crossings; as many events as the first."""
    n = len(first)
    both = concatenate([first[: n - len(second)], second])
    block = 1 + (np.arange(n) >= n - len(second))
    both.meta.update(weight=np.full(n, 1 / n), run=np.full(n, RUN), ls=block, bx=np.arange(n) % 5)
    return both


def command_line(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``python -m l1ad.cli`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "l1ad.cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def small_network(columns: tuple[InputColumn, ...]) -> Network:
    """A network without weights that reads `columns`: scaled, squared and summed."""
    low, high = (np.array([getattr(c, end) for c in columns]) for end in ("low", "high"))
    trigger = Input("trigger", tuple(c.name for c in columns), low, high, FixedPoint.holding(-1024, 4095, 0))
    scaled_type, score_type = FixedPoint(10, 4, True, "RND_CONV", "SAT"), FixedPoint(18, 4, False, "TRN", "SAT")
    shift = np.full(len(columns), 3)
    scaled = rescale("scaled", "trigger", trigger.out, np.zeros(len(columns), np.int64), shift, scaled_type)
    return Network((trigger, scaled, Dot("score", "scaled", "scaled", None, score_type)))
