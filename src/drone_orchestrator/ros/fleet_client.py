"""Client of a running fleet over DDS, for programs that are not ROS nodes themselves."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from drone_interfaces.msg import DroneState, LeaderHeartbeat, LeaderState
from rclpy.exceptions import InvalidNamespaceException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from rclpy.validate_namespace import validate_namespace

from ..core.types import DroneReport
from ..telemetry.findings import HeardFindings, OpenFinding
from . import messages, names, qos
from .finding_listener import findings_in, is_of, process_of
from .lifecycle_client import LifecycleClient


def installation() -> str:
    """Describe the ROS 2 that this program runs on, for people."""
    return f"rclpy of {rclpy.__path__[0]}, {rclpy.get_rmw_implementation_identifier()}"


def full_namespace(namespace: str) -> str:
    """Return ``namespace`` with its leading slash. Raises ``ValueError`` if it is invalid."""
    full = "/" + namespace.strip("/")
    try:
        validate_namespace(full)
    except InvalidNamespaceException as error:
        raise ValueError(" ".join(str(error).split())) from error
    return full


class _Session:
    """Private rclpy context with one anonymous node."""

    def __init__(self, namespace: str) -> None:
        self._context = rclpy.Context()
        # No log files: a program that only queries the fleet may have neither a log folder nor a home.
        rclpy.init(args=["--ros-args", "--disable-external-lib-logs"], context=self._context)
        self.node = Node("fleetctl", context=self._context, namespace=namespace, enable_rosout=False)
        self.executor = SingleThreadedExecutor(context=self._context)
        self.executor.add_node(self.node)

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


def drones(*, namespace: str = "/", timeout_s: float = 2.0, expected: int | None = None) -> list[DroneReport]:
    """Return the drone reports received within ``timeout_s``, or as soon as ``expected`` drones have reported."""
    heard: dict[str, DroneReport] = {}

    def on_state(msg: DroneState) -> None:
        try:
            heard[msg.drone_id] = messages.report_from_msg(msg)
        except ValueError:
            return  # the drone cannot be shown; the orchestrator logs the reason

    with _Session(namespace) as session:
        session.node.create_subscription(DroneState, names.DRONE_STATES, on_state, qos.drone_states())
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and (expected is None or len(heard) < expected):
            session.executor.spin_once(timeout_sec=0.05)
    return [heard[drone_id] for drone_id in sorted(heard)]


class LifecycleSession:
    """Context manager that yields a :class:`LifecycleClient` with a private rclpy context."""

    def __init__(self, namespace: str = "/") -> None:
        self._namespace = namespace

    def __enter__(self) -> LifecycleClient:
        self._session = _Session(self._namespace)
        return LifecycleClient(self._session.node, self._wait)

    def __exit__(self, *_: object) -> None:
        self._session.__exit__()

    def _wait(self, future: Future, timeout_s: float) -> None:
        self._session.executor.spin_until_future_complete(future, timeout_sec=timeout_s)


class HeartbeatListener:
    """Listener for the leader's heartbeats, on its own thread. A context manager."""

    def __init__(self, namespace: str = "/") -> None:
        self._namespace = namespace
        self._heard_at_s: list[float] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="heartbeats", daemon=True)

    def __enter__(self) -> HeartbeatListener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def wait(self, timeout_s: float) -> bool:
        """Return whether a heartbeat arrives within ``timeout_s``."""
        end_s = time.monotonic() + timeout_s
        while not self._heard_at_s and time.monotonic() < end_s:
            time.sleep(0.02)
        return bool(self._heard_at_s)

    def gaps_s(self) -> list[float]:
        """Return the times (s) between consecutive heartbeats as they arrived, from any sender."""
        return [later - earlier for earlier, later in pairwise(list(self._heard_at_s))]

    def _listen(self) -> None:
        def hear(message: LeaderHeartbeat) -> None:
            self._heard_at_s.append(time.monotonic())

        with _Session(self._namespace) as session:
            session.node.create_subscription(LeaderHeartbeat, names.LEADER_HEARTBEAT, hear, 10)
            while not self._closing.is_set():
                session.executor.spin_once(timeout_sec=0.1)


@dataclass(frozen=True, slots=True)
class HeardLeader:
    """Latest ``LeaderState``. ``skew_s``: the leader's clock minus this machine's, transport time included."""

    instance_id: str
    epoch: int
    region: str
    skew_s: float


class FleetListener:
    """Listener for drones, the leader and diagnostics, on its own thread.

    A context manager; its data stays readable afterwards.
    """

    def __init__(self, namespace: str = "/") -> None:
        self._drones: dict[str, tuple[DroneReport, float]] = {}
        self._leader: tuple[HeardLeader, float] | None = None
        self._findings = HeardFindings()
        self._processes: set[str] = set()
        self._space = namespace.strip("/")
        self._heard = threading.Condition()
        self._closing = threading.Event()
        self._session = _Session(namespace)
        self._thread = threading.Thread(target=self._listen, name="fleet listener", daemon=True)

    def __enter__(self) -> FleetListener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def drones(self) -> dict[str, tuple[DroneReport, float]]:
        """Return each drone's latest report and its age (s)."""
        now_s = time.monotonic()
        with self._heard:
            return {name: (report, now_s - at_s) for name, (report, at_s) in self._drones.items()}

    def leader(self) -> tuple[HeardLeader, float] | None:
        """Return the leader's latest state and its age (s)."""
        with self._heard:
            return None if self._leader is None else (self._leader[0], time.monotonic() - self._leader[1])

    def findings(self) -> list[tuple[str, OpenFinding]]:
        """Return each process with what it reports to be wrong, of any region."""
        return self._findings.open()

    def processes(self) -> frozenset[str]:
        """Return the names of the processes whose diagnostics were heard."""
        with self._heard:
            return frozenset(self._processes)

    def wait_for(self, drone_ids: frozenset[str], timeout_s: float) -> bool:
        """Return whether all of these drones report within ``timeout_s``."""
        with self._heard:
            return self._heard.wait_for(lambda: drone_ids <= self._drones.keys(), timeout_s)

    def wait_quiet(self, timeout_s: float, quiet_s: float = 1.0) -> None:
        """Listen for ``timeout_s``, and longer while another drone or the leader appears within each ``quiet_s``."""
        deadline = time.monotonic() + timeout_s
        with self._heard:
            known = -1
            while known < self._voices():
                known = self._voices()
                remaining_s = max(deadline - time.monotonic(), quiet_s)
                self._heard.wait_for(partial(self._more_than, known), remaining_s)

    def _voices(self) -> int:
        return len(self._drones) + (self._leader is not None) + len(self._processes)

    def _more_than(self, known: int) -> bool:
        return self._voices() > known

    def _on_state(self, msg: DroneState) -> None:
        try:
            report = messages.report_from_msg(msg)
        except ValueError:
            return  # the drone cannot be shown; the orchestrator logs the reason
        with self._heard:
            self._drones[report.drone_id] = (report, time.monotonic())
            self._heard.notify_all()

    def _on_leader(self, msg: LeaderState) -> None:
        skew_s = messages.time_from_msg(msg.stamp) - time.time()
        with self._heard:
            self._leader = (HeardLeader(msg.instance_id, msg.epoch, msg.region, skew_s), time.monotonic())
            self._heard.notify_all()

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for process, finding in findings_in(msg, self._space, region=""):
            self._findings.hear(process, finding)
        with self._heard:
            self._processes |= {process_of(each, self._space) for each in msg.status if is_of(each, self._space)} - {""}
            self._heard.notify_all()

    def _listen(self) -> None:
        with self._session as session:
            session.node.create_subscription(
                DiagnosticArray, names.DIAGNOSTICS, self._on_diagnostics, qos.diagnostics()
            )
            session.node.create_subscription(DroneState, names.DRONE_STATES, self._on_state, qos.drone_states())
            session.node.create_subscription(LeaderState, names.LEADER, self._on_leader, qos.state())
            while not self._closing.is_set():
                session.executor.spin_once(timeout_sec=0.1)
