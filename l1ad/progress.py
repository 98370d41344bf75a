"""Progress of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Task as Row
from rich.text import Text

# no markup: a name may hold brackets
console = Console(highlight=False, soft_wrap=True, markup=False)


class _Speed(ProgressColumn):
    """Units done in a second."""

    def render(self, task: Row) -> Text:
        """Nothing before there is a speed."""
        return Text("" if task.speed is None else f"{task.speed:.0f}/s")


class Task:
    """One piece of work of known length; `advance` may be called often."""

    def __init__(self, label: str, total: int, bar: Progress | None) -> None:
        self._label, self._total, self._bar = label, total, bar
        self._done, self._said, self._start = 0, 0, time.monotonic()
        self._id = bar.add_task(label, total=total) if bar else None

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Report `amount` more done."""
        self._done += amount
        if self._bar is not None and self._id is not None:
            self._bar.update(self._id, advance=amount, description=f"{self._label} {note}")
        elif 5 * self._done // self._total > self._said:
            self._said = 5 * self._done // self._total
            seconds = time.monotonic() - self._start
            speed = self._done / max(seconds, 1e-3)
            console.print(f"  {self._label}: {self._done}/{self._total} {note} ({seconds:.0f} s, {speed:.0f}/s)")


@contextmanager
def task(label: str, total: int) -> Iterator[Task]:
    """Show progress of `total` units under `label`."""
    if not console.is_terminal:
        yield Task(label, total, None)
        return
    columns = TextColumn("  {task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Speed()
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        yield Task(label, total, bar)
