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
from l1ad.progress import console

PACKAGES = ("numpy", "tensorflow", "tf-keras", "qkeras", "hls4ml")
RECORD = "stages.json"
BY_PRODUCTS = (".so", ".o", ".log")


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
        Files and folders that `action` makes.
    action : callable

    Raises
    ------
    ValueError
        If the record is damaged; the text names it.
    """
    key = digest({"made_from": dict(made_from), "code": code_digest()})
    record = folder / RECORD
    stages = _read(record)
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


def _read(record: Path) -> dict[str, Any]:
    try:
        stages = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{record}: must be the record of finished stages ({error}); delete it") from error
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise ValueError(f"{record}: must be the record of finished stages; delete it")
    return stages


def path_digest(path: Path) -> str:
    """Digest of a file, or of all files of a folder but those that compilers and tools leave; empty for neither."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix not in BY_PRODUCTS)
        return digest({p.relative_to(path).as_posix(): file_digest(p) for p in files})
    return file_digest(path) if path.is_file() else ""


def _digests(outputs: tuple[Path, ...]) -> dict[str, str]:
    return {str(path): path_digest(path) for path in outputs}
