"""Files that appear whole or not at all, and digests of what made them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it to `path` on success, remove it on failure.

    Raises
    ------
    OSError
        If `path` is a folder, or its folder cannot be made or written to; the message names it.
    """
    final = Path(path)
    if final.is_dir():
        raise IsADirectoryError(f"{final}: must be a file to write, not a folder; name a file in it")
    aside = final.with_name(f".{final.name}.{platform.node()}.{os.getpid()}.part")  # machines may share the folder
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        aside.touch()
    except OSError as error:
        raise OSError(
            f"{final}: cannot write into folder {str(final.parent)!r} ({error.strerror}); choose a writable folder"
        ) from error
    try:
        yield aside
        aside.replace(final)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path, *, keep: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `path` to fill; put it in the place of `path` on success, remove it on failure.

    Parameters
    ----------
    path : path
        A folder that stands there goes with all that is in it.
    keep : bool
        Whether a folder that stands there by then stays: in a cache, a faster process made the same.

    Raises
    ------
    OSError
        If `path` is a file, or its folder cannot be made or written to.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=final.parent, prefix=f".{final.name}.", ignore_cleanup_errors=True) as scratch:
        aside = Path(scratch, "made")
        aside.mkdir()
        yield aside
        if final.is_dir():
            if keep:
                return
            final.rename(Path(scratch, "earlier"))
        aside.rename(final)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def canonical_json(document: Any) -> str:
    """One spelling per document: sorted keys, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(document: Any) -> str:
    """SHA-256 (hexadecimal) of a JSON document in its canonical spelling."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where compiled programs are kept from one run to the next: ``$XDG_CACHE_HOME/l1ad``, or ``~/.cache/l1ad``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l1ad"
