"""The first interrupt asks a command to stop; the second kills it, its processes and its temporary files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from drone_orchestrator.bringup import leftovers

#: A command whose cleanup never ends: its child ignores SIGTERM, and so does its grandchild.
STUBBORN = """
import subprocess, sys
from drone_orchestrator.bringup import leftovers
from drone_orchestrator.cli import interrupts

deaf = "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN); "
grandchild = [sys.executable, "-c", deaf + "print('deaf', flush=True); signal.pause()"]
child = deaf + f"subprocess.Popen({grandchild!r}); signal.pause()"
interrupts.install()
folder = leftovers.new_folder()
(folder / "file").touch()
process = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
try:
    while True:
        process.wait(1000)
except KeyboardInterrupt:
    process.terminate()
    while True:
        process.wait(1000)
"""


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_interrupt_ends_a_command_that_ignores_the_first(tmp_path: Path, second: int) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline() == "deaf\n"
        family = psutil.Process(running.pid).children(recursive=True)
        assert len(family) == 2 and len(list(tmp_path.iterdir())) == 1
        running.send_signal(signal.SIGINT)
        first = running.stderr.readline()
        assert "waiting for the processes that it started to end; once more ends at once" in first
        assert running.poll() is None
        running.send_signal(second)
        assert running.wait(60) == 130
        assert running.stderr.read() == "ended at once\n"
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == [] == list(tmp_path.iterdir())


def test_a_folder_is_removed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_made", {})  # not what other tests of this process still use
    with leftovers.temporary_folder(where=tmp_path) as folder:
        (folder / "file").touch()
        assert leftovers.noted()
    assert not folder.exists() and not leftovers.noted()
    leftovers.remove(folder)
    (tmp_path / "registry").mkdir()
    for name in ("mine", "theirs"):
        (tmp_path / "registry" / name).touch()
    leftovers.note(tmp_path / "registry" / "mine")
    leftovers.remove_all()
    assert [path.name for path in (tmp_path / "registry").iterdir()] == ["theirs"]
    leftovers.remove(tmp_path / "registry" / "theirs")
    assert list(tmp_path.iterdir()) == []
