import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from l1ad.errors import ToolNotFoundError
from l1ad.hardware.process import LateError, run


@pytest.fixture
def shell(tmp_path):
    """Function that runs a shell script in a folder, with a log beside it."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def running(script, timeout_s=50, **options):
        run(["sh", "-c", script], folder, tmp_path / "log", timeout_s, who="tool", **options)

    return running


def require_gone(child):
    """Wait until it is not there, or dead and waiting for the init of its container."""
    status, start = Path(f"/proc/{child.read_text().strip()}/stat"), time.monotonic()
    while status.exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() - start < 10
        time.sleep(0.01)


def test_all_that_is_said_is_logged_and_heard(shell, tmp_path):
    heard = []
    shell("pwd; echo one; echo two >&2; printf 'last \\377'", hear=heard.append)
    expected = [f"{tmp_path}/folder\n", "one\n", "two\n", "last \ufffd"]
    assert heard == expected
    assert (tmp_path / "log").read_text(encoding="utf-8") == "".join(expected)


def test_much_is_heard_in_order(shell):
    heard = []
    shell("seq 100000", hear=heard.append)
    assert heard == [f"{n}\n" for n in range(1, 100_001)]


def test_a_line_is_logged_and_heard_when_it_is_said(shell, tmp_path):
    def hear(line):
        assert (tmp_path / "log").read_text() == line
        (tmp_path / "folder" / "heard").touch()

    shell("echo one; while [ ! -e heard ]; do sleep 0.01; done", hear=hear)


def test_variables_are_added_to_those_of_this_process(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("MINE", "1")
    shell('echo "$MINE $ITS"', environment={"ITS": "2"})
    assert (tmp_path / "log").read_text() == "1 2\n"


def test_a_failure_names_tool_step_error_and_log(shell, tmp_path):
    with pytest.raises(RuntimeError) as e:
        shell("exit 3")
    assert str(e.value) == f"tool: step 'start' must end with status 0, not 3; see {tmp_path}/log"
    with pytest.raises(RuntimeError) as e:
        shell("echo A; echo ERROR: b; echo c; kill -SEGV $$", hear=lambda line: {"A\n": "a"}.get(line))
    assert str(e.value) == f"tool: step 'a' must end with status 0, not -11 (ERROR: b); see {tmp_path}/log"


def test_without_a_log(tmp_path):
    with pytest.raises(RuntimeError, match=r"^tool: step 'one' must end with status 0, not 1$"):
        run(["false"], tmp_path, None, 50, who="tool", step="one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ends", ["", ">&- 2>&-"])
def test_what_takes_too_long_is_killed_with_its_children(shell, tmp_path, ends):
    """Though it may have closed its output."""
    start = time.monotonic()
    with pytest.raises(LateError, match=r"^tool: must end within 0\.5 s, and did not in step 'x'; see .*; raise time"):
        shell(f"sleep 1000 {ends} & echo $! > child; echo said; exec {ends}; wait", 0.5, step="x")
    assert time.monotonic() - start < 20
    require_gone(tmp_path / "folder" / "child")
    assert (tmp_path / "log").read_text() == "said\n"


def test_what_never_stops_talking_is_killed(shell):
    with pytest.raises(LateError):
        shell("yes", 0.5)


def test_a_program_that_ends_is_not_waited_for_when_a_child_of_it_lives_on(shell, tmp_path):
    start = time.monotonic()
    try:
        shell("sleep 1000 & echo $! > child; echo said")
        assert time.monotonic() - start < 20
        assert (tmp_path / "log").read_text() == "said\n"
    finally:
        os.kill(int((tmp_path / "folder" / "child").read_text()), signal.SIGKILL)


def test_an_error_in_hearing_kills(shell, tmp_path):
    def hear(line):
        raise ValueError(line)

    with pytest.raises(ValueError, match="said"):
        shell("sleep 1000 & echo $! > child; echo said; wait", hear=hear)
    require_gone(tmp_path / "folder" / "child")


def test_an_interrupt_kills(shell, tmp_path):
    def hear(_):
        threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        shell("sleep 1000 & echo $! > child; echo said; wait", hear=hear)
    require_gone(tmp_path / "folder" / "child")


def test_what_cannot_be_started_is_said(tmp_path):
    with pytest.raises(ToolNotFoundError, match=r"^nowhere must be on the PATH, not missing \(.*No such file"):
        run(["nowhere"], tmp_path, None, 1, who="tool")
    with pytest.raises(FileNotFoundError, match="nowhere/log"):
        run([sys.executable, "-c", "open('made', 'w')"], tmp_path, tmp_path / "nowhere" / "log", 1, who="tool")
    assert list(tmp_path.iterdir()) == []
