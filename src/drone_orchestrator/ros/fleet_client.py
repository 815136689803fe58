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

from ..core.types import DroneReport, FleetIdentity
from ..telemetry.findings import HeardFindings, OpenFinding
from ..telemetry.strangers import is_foreign
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
    fleet_id: str
    epoch: int
    region: str
    skew_s: float


class FleetListener:
    """Listener for drones, the leader and diagnostics, on its own thread.

    A context manager; its data stays readable afterwards. Each method leaves out drones and leaders of other fleets,
    but not those without a fleet. :meth:`strangers` lists what is left out.
    """

    def __init__(self, namespace: str = "/") -> None:
        self._drones: dict[tuple[str, str], tuple[DroneReport, float]] = {}  # by fleet and id
        self._leaders: dict[str, tuple[HeardLeader, float]] = {}  # by fleet
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

    def drones(self, fleet: FleetIdentity | None) -> dict[str, tuple[DroneReport, float]]:
        """Return the latest report of each drone of ``fleet`` and its age (s). ``None``: of any fleet."""
        now_s = time.monotonic()
        with self._heard:
            heard = sorted(self._drones.items(), key=lambda each: each[1][1])  # when a drone joins, its latest counts
        return {id_: (report, now_s - at_s) for (its, id_), (report, at_s) in heard if not is_foreign(its, _id(fleet))}

    def leader(self, fleet: FleetIdentity | None) -> tuple[HeardLeader, float] | None:
        """Return the latest state of the leader of ``fleet`` and its age (s). ``None``: of any fleet."""
        with self._heard:
            heard = [each for its, each in self._leaders.items() if not is_foreign(its, _id(fleet))]
        if not heard:
            return None
        leader, at_s = max(heard, key=lambda each: each[1])
        return leader, time.monotonic() - at_s

    def strangers(self, fleet: FleetIdentity | None) -> dict[str, list[str]]:
        """Return the senders of each other fleet than ``fleet``, for people."""
        with self._heard:
            heard = [(its, f"leader {each[0].instance_id}") for its, each in self._leaders.items()]
            heard += [(its, f"drone {id_}") for its, id_ in self._drones]
        found: dict[str, list[str]] = {}
        for its, sender in sorted(heard):
            if is_foreign(its, _id(fleet)):
                found.setdefault(its, []).append(sender)
        return found

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
            return self._heard.wait_for(lambda: drone_ids <= {id_ for _, id_ in self._drones}, timeout_s)

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
        return len(self._drones) + len(self._leaders) + len(self._processes)

    def _more_than(self, known: int) -> bool:
        return self._voices() > known

    def _on_state(self, msg: DroneState) -> None:
        try:
            report = messages.report_from_msg(msg)
        except ValueError:
            return  # the drone cannot be shown; the orchestrator logs the reason
        with self._heard:
            self._drones[report.fleet_id, report.drone_id] = (report, time.monotonic())
            self._heard.notify_all()

    def _on_leader(self, msg: LeaderState) -> None:
        skew_s = messages.time_from_msg(msg.stamp) - time.time()
        leader = HeardLeader(msg.instance_id, msg.fleet_id, msg.epoch, msg.region, skew_s)
        with self._heard:
            self._leaders[msg.fleet_id] = (leader, time.monotonic())
            self._heard.notify_all()

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for process, finding in findings_in(msg, self._space, region=""):
            self._findings.hear(process, finding)
        with self._heard:
            # Every process of the fleet, and no other, reports on the quality of service of its topics.
            mine = (each for each in msg.status if each.name.endswith(": qos") and is_of(each, self._space))
            self._processes |= {process_of(each, self._space) for each in mine}
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


def _id(fleet: FleetIdentity | None) -> str:
    return fleet.fleet_id if fleet is not None else ""
