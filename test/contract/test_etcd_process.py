"""A private etcd leaves nothing behind, whatever happens to the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, EtcdProcess
from drone_orchestrator.bringup.local_fleet import dies_with_parent

pytestmark = [pytest.mark.etcd, pytest.mark.usefixtures("etcd_binary")]


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_stop_ends_the_process_and_removes_its_directory(etcd):
    with EtcdProcess() as process:
        [pid] = process.pids
        directory = Path(f"/proc/{pid}/cwd").resolve()
        assert _alive(pid) and directory.is_dir()
        assert os.getsid(pid) == pid, "Ctrl-C in the terminal would reach it"
    assert not _alive(pid) and not directory.exists()


def test_a_given_directory_is_kept(tmp_path):
    with EtcdProcess(data_dir=tmp_path):
        pass
    assert (tmp_path / "member0" / "data").is_dir()


def test_it_dies_with_a_killed_parent(make):
    program = (
        "import sys, time; from drone_orchestrator.bringup.etcd_process import EtcdProcess; e = EtcdProcess();"
        "print(e.pids[0], e._dir, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([*dies_with_parent(), sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid, directory = parent.stdout.readline().split()
    assert _alive(int(pid))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    make.eventually(lambda: not _alive(int(pid)), "etcd ends with its parent")
    for path in sorted(Path(directory).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(directory).rmdir()


def test_it_does_not_load_grpc():
    program = "import sys, drone_orchestrator.bringup.etcd_process; "
    program += "print('grpc' in sys.modules, 'etcd3' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_a_binary_that_cannot_run_gives_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("ETCD_BIN", str(tmp_path / "none"))
    with pytest.raises(EtcdNotStarted, match="ETCD_BIN"):
        EtcdProcess()
    monkeypatch.setenv("ETCD_BIN", "/bin/false")
    with pytest.raises(EtcdNotStarted, match="ended with code 1"):
        EtcdProcess()


_INTERRUPTED = """
import os, signal, subprocess, sys
from drone_orchestrator.bringup import etcd_process as process
started = []
class Popen(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        started.append(self)
        os.kill(os.getpid(), signal.SIGINT)  # the child runs, but its caller does not know it yet
process.subprocess.Popen = Popen
try:
    process.EtcdProcess()
except KeyboardInterrupt:
    print(len(started), started[0].poll() is not None)
"""


def test_ctrl_c_during_the_start_leaves_neither_process_nor_directory(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", _INTERRUPTED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout.split() == ["1", "True"], done.stderr
    assert list(tmp_path.iterdir()) == []
