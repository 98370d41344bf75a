import io
import re

import pytest
from rich.console import Console

from l1ad import progress


@pytest.fixture
def written(monkeypatch):
    """Function that runs a task on a terminal or not, and returns what was written."""

    def writing(terminal, label="emulate rate", total=1000, step=10, note="loss 0.1"):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=100, markup=False, highlight=False)
        monkeypatch.setattr(progress, "console", console)
        with progress.task(label, total) as task:
            for _ in range(0, total, step):
                task.advance(step, note)
        return out.getvalue()

    return writing


def test_a_log_gets_a_few_plain_lines(written):
    lines = written(terminal=False).splitlines()
    assert [line.split(" loss")[0] for line in lines] == [
        f"  emulate rate: {done}/1000" for done in (200, 400, 600, 800, 1000)
    ]
    assert all(re.fullmatch(r"  emulate rate: \d+/1000 loss 0\.1 \(\d+ s, \d+/s\)", line) for line in lines)


@pytest.mark.parametrize(("total", "step", "lines"), [(1, 1, 1), (3, 1, 3), (7, 7, 1), (5, 1, 5)])
def test_short_work_says_what_there_is_to_say(written, total, step, lines):
    out = written(terminal=False, total=total, step=step)
    assert "\x1b" not in out
    assert len(out.splitlines()) == lines


def test_a_terminal_gets_a_bar(written):
    out = written(terminal=True)
    assert "\x1b[" in out
    assert "━" in out
    assert "1000/1000" in out


@pytest.mark.parametrize("terminal", [True, False])
def test_brackets_in_a_name_are_no_markup(written, terminal):
    assert "emulate h[/x] → [red]" in written(terminal, label="emulate h[/x] → [red]", note="")


def test_the_shared_console_takes_names_as_they_are(capsys):
    progress.console.print("h[/x] → [red]: up to date")
    assert capsys.readouterr().out == "h[/x] → [red]: up to date\n"
