"""Runs a whole fleet on one machine as plain processes: etcd, orchestrators, drones, monitor, gateway.

It is the supervisor that ``ros2 launch`` is elsewhere: it starts the processes of :mod:`.plan` in order, restarts those
that die, and stops them in reverse. Each run has its own DDS domain, ports, etcd and temporary folder, so concurrent
runs do not disturb each other. No process outlives its runner.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..runtime.loops import describe, vital
from . import dds, leftovers
from .etcd_process import EtcdProcess
from .plan import REFUSED, STOP_ORDER, FleetOptions, ProcessSpec, etcd_settings, processes

#: Fast DDS derives its UDP ports from the domain. Above 101 they would be in the ephemeral range of Linux.
_DOMAINS = range(10, 102)
_STOP_LEAST_S = 0.5
_ETCD_RESPAWN_S = 1.0


class FleetError(RuntimeError):
    """The fleet cannot run. The text is one line that says why."""


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    restart_at_s: float = 0.0
    starts: int = 0


class Wiring(Protocol):
    """Network of a fleet's processes, if it is not this machine's loopback."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment of DDS instead of the loopback's; empty: the loopback's."""

    def endpoints(self, process: str, members: Sequence[str]) -> Sequence[str]:
        """Return the etcd endpoints for ``process`` instead of ``members``."""

    def prefix(self, spec: ProcessSpec) -> Sequence[str]:
        """Return a prefix for the command line of a process."""


class DomainReservation:
    """DDS domain that no other run on this machine uses.

    It is held as a socket in Linux's abstract namespace, which leaves no file and disappears with the process.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        start = os.getpid() % len(_DOMAINS)
        for offset in range(len(_DOMAINS)):
            domain = _DOMAINS[(start + offset) % len(_DOMAINS)]
            try:
                self._socket.bind(f"\0drone_orchestrator/domain/{domain}")
            except OSError:
                continue
            self.domain = domain
            return
        raise FleetError("every DDS domain is in use by other fleets on this machine")

    def release(self) -> None:
        self._socket.close()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _free_block(domain: int, size: int) -> int:
    """Return the first of ``size`` consecutive TCP ports that are free now, for processes that start later.

    The ports are below the ephemeral range, so that no outgoing connection takes one meanwhile, and in a block that
    belongs to the domain, so that no other fleet does.
    """
    for offset in range(len(_DOMAINS)):
        first = 20_000 + 100 * ((domain - _DOMAINS.start + offset) % len(_DOMAINS))
        if all(_is_free(port) for port in range(first, first + size)):
            return first
    raise FleetError(f"no {size} consecutive free TCP ports from 20000 on, for the metrics of the processes")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class LocalFleet:
    """Fleet of processes on this machine. Use it as a context manager; :meth:`stop` is idempotent.

    The run sets ``options.etcd_endpoints``, and ``data_dir`` if that is empty. ``on_exit(name, returncode)`` is called
    for every process that dies. Without ``etcd`` the run starts, supervises and stops one of its own. After
    :meth:`stop`, ``told_to_end`` lists the processes that it ended, in this order, with their exit codes.
    """

    #: Shutdown timeouts (s): per role, and for all roles together.
    stop_role_s = 3.0
    stop_all_s = 7.0

    def __init__(
        self,
        options: FleetOptions,
        *,
        etcd: EtcdProcess | None = None,
        wiring: Wiring | None = None,
        on_exit: Callable[[str, int], None] | None = None,
    ) -> None:
        self.workdir = leftovers.new_folder()
        self.log_dir = self.workdir / "log"
        self.log_dir.mkdir()
        self._own_etcd = etcd is None
        self._etcd = etcd
        self._etcd_delays_s: dict[int, float] = {}
        self._etcd_restarts_s: dict[int, float] = {}
        self._wiring = wiring
        self._reservation: DomainReservation | None = None
        self._options = options
        self._on_exit = on_exit
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None
        self._failure = ""  # why the supervisor ended without being asked to
        self.told_to_end: list[tuple[ProcessSpec, int]] = []

    def __enter__(self) -> LocalFleet:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def options(self) -> FleetOptions:
        return self._options

    @property
    def url(self) -> str:
        """URL of the gateway."""
        return f"http://{self._options.http_host}:{self._options.http_port}"

    @property
    def targets_file(self) -> Path:
        """File that lists the metrics endpoints for Prometheus (``file_sd_configs``)."""
        return self.workdir / "prometheus_targets.json"

    def metrics_targets(self) -> list[dict[str, Any]]:
        """Return the content of :attr:`targets_file`: ``host:port`` and name of every process."""
        targets: list[dict[str, Any]] = []
        for name, child in self._children.items():
            where = f"127.0.0.1:{child.spec.parameters.get('metrics_port')}"
            if child.spec.role == "gateway":
                where = f"{self._options.http_host}:{self._options.http_port}"
            targets.append({"targets": [where], "labels": {"process": name}})
        return targets

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which a ROS program sees this fleet."""
        assert self._reservation is not None
        return {
            "ROS_DOMAIN_ID": str(self._reservation.domain),
            **((self._wiring.environment if self._wiring else {}) or dds.loopback()),
        }

    @property
    def etcd(self) -> EtcdProcess:
        """The fleet's etcd."""
        assert self._etcd is not None
        return self._etcd

    def start(self) -> None:
        """Start etcd, then the supervisor, which starts the rest. Nothing is started if the description is refused."""
        try:
            processes(self._options)
        except ValueError as error:
            raise FleetError(str(error)) from error
        self._reservation = DomainReservation()
        if self._etcd is None:
            self._etcd = EtcdProcess(**etcd_settings(self._options))
        port = self._options.http_port or free_port(self._options.http_host)
        self._options = replace(
            self._options,
            etcd_endpoints=",".join(self._etcd.endpoints),
            data_dir=self._options.data_dir or str(self.workdir / "drones"),
            http_port=port,
            metrics_port=_free_block(self._reservation.domain, len(processes(self._options))),
        )
        self._children = {spec.name: _Child(self._wired(spec)) for spec in processes(self._options)}
        self.targets_file.write_text(json.dumps(self.metrics_targets(), indent=1) + "\n")
        self._supervisor = vital("supervisor", self._supervise, may_end=lambda: True)
        self._supervisor.start()

    def _wired(self, spec: ProcessSpec) -> ProcessSpec:
        if self._wiring is None or "etcd_endpoints" not in spec.parameters:
            return spec
        endpoints = ",".join(self._wiring.endpoints(spec.name, self.etcd.endpoints))
        return replace(spec, parameters={**spec.parameters, "etcd_endpoints": endpoints})

    def names(self, role: str | None = None) -> list[str]:
        return [name for name, child in self._children.items() if role in (None, child.spec.role)]

    def spec(self, name: str) -> ProcessSpec:
        return self._children[name].spec

    def pid(self, name: str) -> int | None:
        """Return the process id, ``None`` while the process is down."""
        with self._lock:
            process = self._children[name].process
            return process.pid if process is not None and process.poll() is None else None

    def signal(self, name: str, number: int) -> bool:
        """Send a signal to one process; return ``False`` if it is not running."""
        pid = self.pid(name)
        if pid is None:
            return False
        os.kill(pid, number)
        return True

    def kill(self, name: str, *, respawn_delay_s: float | None = None) -> bool:
        """Send ``SIGKILL`` to one process. It restarts after ``respawn_delay_s`` (default: that of its spec)."""
        return self._end(name, signal.SIGKILL, respawn_delay_s)

    def terminate(self, name: str, *, respawn_delay_s: float | None = None) -> bool:
        """Send ``SIGTERM`` to one process, which ends in order. It restarts as after :meth:`kill`."""
        return self._end(name, signal.SIGTERM, respawn_delay_s)

    def _end(self, name: str, number: int, respawn_delay_s: float | None) -> bool:
        with self._lock:
            child = self._children[name]
            if respawn_delay_s is not None:
                child.spec = replace(child.spec, respawn_delay_s=respawn_delay_s)
        return self.signal(name, number)

    def kill_etcd(self, index: int, *, respawn_delay_s: float = _ETCD_RESPAWN_S) -> None:
        """Send ``SIGKILL`` to one member of the run's own etcd. It restarts with its data after ``respawn_delay_s``."""
        self._etcd_delays_s[index] = respawn_delay_s
        self.etcd.kill_member(index)

    def check(self) -> None:
        """Raise :class:`FleetError` if a process could not be started or refused its settings."""
        if self._failure:
            raise FleetError(self._failure)
        for name, child in self._children.items():
            if child.process is not None and child.process.poll() == REFUSED and not self._stopping.is_set():
                raise FleetError(f"{name} refused to start: {self.last_line(name)}")

    def last_line(self, name: str) -> str:
        """Return the last line that a process has printed."""
        lines = (self.log_dir / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def stop(self) -> None:
        """Stop the processes in reverse order, and remove the run's files."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.join()
        if self._own_etcd and self._etcd is not None:
            self._etcd.stop()
        if self._reservation is not None:
            self._reservation.release()
        leftovers.remove(self.workdir)

    # --- the supervisor's thread --------------------------------------------------------------------------------

    def _supervise(self) -> None:
        # Only this thread starts processes: their parent-death signal is tied to the thread that started them.
        try:
            while not self._stopping.wait(0.05):
                if self._own_etcd:
                    self._look_after_etcd()
                for child in self._children.values():
                    self._look_after(child)
        except OSError as error:
            self._failure = f"cannot start a process: {error}"
        except Exception as error:
            self._failure = f"the supervisor failed: {describe(error)}"
            raise
        finally:
            self._shut_down()

    def _look_after(self, child: _Child) -> None:
        code = None if child.process is None else child.process.poll()
        now = time.monotonic()
        if child.process is not None and code is None:
            return
        if child.process is not None and child.restart_at_s == 0.0:
            child.restart_at_s = now + child.spec.respawn_delay_s
            if self._on_exit:
                self._on_exit(child.spec.name, code or 0)
        if code == REFUSED:
            return
        if now >= child.restart_at_s:
            process = self._spawn(child.spec)
            with self._lock:
                child.process, child.restart_at_s = process, 0.0
                child.starts += 1

    def _look_after_etcd(self) -> None:
        now = time.monotonic()
        for index, code in self.etcd.ended.items():
            if index not in self._etcd_restarts_s:
                self._etcd_restarts_s[index] = now + self._etcd_delays_s.pop(index, _ETCD_RESPAWN_S)
                if self._on_exit:
                    self._on_exit(f"etcd_{index}", code)
            if now >= self._etcd_restarts_s[index]:
                del self._etcd_restarts_s[index]
                self.etcd.start_member(index)

    def _spawn(self, spec: ProcessSpec) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"drone_orchestrator.nodes.{spec.executable}", *spec.arguments()]
        environment = {**os.environ, **self.environment, "PYTHONUNBUFFERED": "1", "ROS_LOG_DIR": str(self.log_dir)}
        with (self.log_dir / f"{spec.name}.log").open("ab") as log:
            return subprocess.Popen(
                [*(self._wiring.prefix(spec) if self._wiring else ()), *dies_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C in the terminal is for the runner, which then stops its processes in order.
                start_new_session=True,
            )

    def _shut_down(self) -> None:
        end = time.monotonic() + self.stop_all_s
        for role in STOP_ORDER:
            children = [(child.spec, child.process) for child in self._children.values() if child.spec.role == role]
            running = [(spec, each) for spec, each in children if each is not None and each.poll() is None]
            for _, process in running:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            now = time.monotonic()
            deadline = now + min(self.stop_role_s, max(end - now, _STOP_LEAST_S))
            for spec, process in running:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                self.told_to_end.append((spec, process.returncode))


def dies_with_parent() -> list[str]:
    """Return a command prefix that ends the process with its parent, even if the parent is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
