"""What has been done already: a stage is skipped while everything that made its files is unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from l1ad.files import digest, file_digest, write_text
from l1ad.study.progress import console

PACKAGES = ("numpy", "tensorflow", "tf-keras", "qkeras", "hls4ml")
RECORD = "stages.json"


@cache
def code_digest() -> str:
    """Digest of l1ad's own sources and of the versions of the packages whose results could differ."""
    root = Path(__file__).parents[1]
    sources = sorted(p for p in root.rglob("*") if p.suffix in (".py", ".h", ".toml", ".html"))
    return digest(
        {str(p.relative_to(root)): file_digest(p) for p in sources} | {name: version(name) for name in PACKAGES}
    )


def run_stage(
    folder: Path, name: str, made_from: Mapping[str, Any], outputs: tuple[Path, ...], action: Callable[[], None]
) -> None:
    """Run `action` unless its outputs stand, unchanged since they were made from the same things by the same code.

    Parameters
    ----------
    folder : Path
        Keeps the record of its stages.
    name : str
    made_from : mapping
        JSON values that determine the outputs: settings, and digests of files.
    outputs : tuple of Path
        Files that `action` makes.
    action : callable
    """
    key = digest({"made_from": dict(made_from), "code": code_digest()})
    record = folder / RECORD
    stages = json.loads(record.read_text()) if record.is_file() else {}
    known = stages.get(name, {})
    label = f"{folder.name}: {name}"
    if known.get("key") == key and known.get("outputs") == _digests(outputs):
        console.print(f"{label}: up to date")
        return
    console.print(label)
    start = time.monotonic()
    action()
    stages[name] = {"key": key, "outputs": _digests(outputs)}
    write_text(record, json.dumps(stages, indent=1) + "\n")
    console.print(f"{label}: done in {time.monotonic() - start:.1f} s")


def _digests(outputs: tuple[Path, ...]) -> dict[str, str]:
    return {str(path): file_digest(path) if path.is_file() else "" for path in outputs}
