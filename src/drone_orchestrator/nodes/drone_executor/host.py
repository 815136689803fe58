"""The process ``drone_executor``: flies one or many drones, each a lifecycle node named after it.

A drone's decisions are in :mod:`drone_orchestrator.core.drone.machine`. The executor turns DDS messages and sensor data
into events of that machine, and its effects into calls. Everything runs on one thread, so a journal entry is on disk
before the next effect begins. One host node per process owns what the drones share: the parameters, the ``leader``
subscription, the clearance client and the timer. Sharing matters because the cost of an rclpy executor grows with the
number of its entities.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from drone_interfaces.msg import LeaderState
from drone_interfaces.srv import RequestClearance
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future

from ...bringup.named_files import described_fleet
from ...core.drone.events import LeaderHeard
from ...core.types import AcknowledgeOutcome
from ...ros import command_line, executors, messages, names, observability, qos
from ...ros.diagnostics import Reporter, of_node
from ...ros.interface_watch import NetworkWatch, usable_addresses
from ...ros.log_bridge import bridge
from ...ros.params import declare, keep_live
from ...ros.process import StartAgain, run_node
from ...ros.qos_watch import QosWatch
from ...telemetry import findings
from ...telemetry.diagnostics import Status
from ...telemetry.drone_metrics import HostTelemetry
from ...telemetry.findings import Findings
from ...telemetry.metrics import Metrics
from ...telemetry.strangers import Strangers
from .drone_node import DroneExecutor
from .flight_plugins import load_flight
from .parameters import (
    ABOUT,
    OWN_PARAMETERS,
    PARAMETERS,
    TICK_S,
    Settings,
    checked_ids,
    checked_region,
    configured_class,
    drone_settings,
    offers_services,
)

#: Spread the drones of a process over at most this many slots of a tick.
SHARES = 10
NETWORK_PERIOD_S = 0.5
#: Skip service discovery if the leader answered within this time (s).
ANSWERED_RECENTLY_S = 1.0


class DroneHost(Node):
    """Node that owns what the drones of a process share. Raises :class:`ParameterError`."""

    def __init__(self, network: NetworkWatch) -> None:
        super().__init__("drone_executor")
        self._network = network
        values = declare(self, PARAMETERS)
        bridge("drone_orchestrator", self.get_logger())
        self._region = checked_region(values["region"])
        fleet = described_fleet(values["fleet_config"])
        drone_class = configured_class(fleet, values["drone_class"])
        make_flight = load_flight(values["flight"])
        region = self._region or fleet.region
        metrics = Metrics("drone_executor", region)
        self._tracer = observability.tracer("drone_executor", self.get_fully_qualified_name(), region)
        self._telemetry = HostTelemetry(metrics, drone_class, self._tracer, TICK_S)

        boot_id = uuid.uuid4().hex

        def settings(values: Mapping[str, Any]) -> Settings:
            return drone_settings(values, drone_class, fleet.depot, boot_id, make_flight, self._telemetry)

        ids = checked_ids(values["drone_ids"])
        services = offers_services(values["drone_parameter_services"], len(ids))
        self._endpoint = observability.serve(metrics, values)
        watch = QosWatch(self)
        self.drones = [
            DroneExecutor(each, self.get_namespace(), values, settings, self._ask_leader, watch, has_services=services)
            for each in ids
        ]
        if values["autostart"]:
            for drone in self.drones:
                drone.bring_up()
        self._passed_on = dict(values)
        keep_live(self, PARAMETERS, values, apply=self._pass_on)
        self._client = self.create_client(RequestClearance, names.REQUEST_CLEARANCE)
        profile = qos.state()
        self.create_subscription(
            LeaderState, names.LEADER, self._leader_heard, profile, **watch.subscribing(names.LEADER, profile)
        )
        self._leader_heard_at_s: float | None = None
        self._answered_at_s = float("-inf")
        self._strangers = Strangers(metrics)
        found = Findings(self.get_name(), region, metrics)
        found.watch(findings.JOURNAL_UNWRITABLE, self._suspended, is_logged=True)
        found.watch(findings.DRONE_OUT_OF_SERVICE, self._out_of_service, is_logged=True)
        found.watch(findings.QOS_INCOMPATIBLE, watch.unfit)
        found.watch(findings.FOREIGN_FLEET, self._strangers.found)
        found.watch(findings.LOOP_FAILING, findings.about_self(partial(observability.trouble, self._endpoint)))
        self._reporter = Reporter(self, [self._statuses, watch.statuses], findings=found)
        # Real time even in simulation: drones and leaders must keep communicating while the world is paused.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # The drones take turns within a tick. Stepping all at once would block a core for the whole batch.
        self._shares = min(SHARES, len(self.drones))
        self._turn = 0
        group = MutuallyExclusiveCallbackGroup()
        self.create_timer(TICK_S / self._shares, self._tick, callback_group=group, clock=steady)
        self.create_timer(NETWORK_PERIOD_S, self._check_network, clock=steady)

    @property
    def nodes(self) -> Sequence[Node]:
        return (self, *self.drones)

    def close(self) -> None:
        for drone in self.drones:
            drone.destroy_node()
        if self._endpoint is not None:
            self._endpoint.close()
        self._tracer.close()
        self.destroy_node()

    def _pass_on(self, values: Mapping[str, Any]) -> None:
        """Set what has changed on every drone, and leave alone what has been set on a single one."""
        changed = [each for each in OWN_PARAMETERS if values[each.name] != self._passed_on[each.name]]
        self._passed_on = dict(values)
        parameters = [Parameter(each.name, each.ros_type, values[each.name]) for each in changed]
        if parameters:
            for drone in self.drones:
                drone.set_parameters(parameters)

    def _tick(self) -> None:
        self._turn = (self._turn + 1) % self._shares
        if self._turn == 0:
            self._telemetry.ticked()
        for drone in self.drones[self._turn :: self._shares]:
            drone.tick()

    def _check_network(self) -> None:
        """Restart the process if it misses a network. Safe in flight, because the journals are on disk."""
        missing = self._network.missing(usable_addresses(), time.monotonic())
        if missing:
            found = ", ".join(f"{address} on {interface}" for interface, address in missing)
            raise StartAgain(f"no leader is heard, and DDS does not use {found}, which came up after the start")

    def _suspended(self) -> dict[str, str]:
        return {drone.drone_id: drone.suspended for drone in self.drones if drone.suspended}

    def _out_of_service(self) -> dict[str, str]:
        return {drone.drone_id: drone.trouble for drone in self.drones if drone.trouble}

    def _statuses(self) -> list[Status]:
        heard_at_s = self._leader_heard_at_s
        silent_s = None if heard_at_s is None else time.monotonic() - heard_at_s
        return [of_node(drone.drone_id, drone.status(silent_s)) for drone in self.drones]

    def _ask_leader(self, request: RequestClearance.Request) -> Future | None:
        # The check for the service is expensive, so it is skipped while the leader answers.
        now_s = time.monotonic()
        if now_s >= self._answered_at_s + ANSWERED_RECENTLY_S and not self._client.service_is_ready():
            return None
        sent = self._client.call_async(request)
        sent.add_done_callback(self._leader_answered)
        return sent

    def _leader_answered(self, future: Future) -> None:
        if not future.cancelled() and future.exception() is None:
            self._answered_at_s = time.monotonic()

    def _leader_heard(self, message: LeaderState) -> None:
        self._network.heard(time.monotonic())
        fleet_id = message.fleet_id
        if self._region and message.region != self._region:
            self._strangers.hear(_name(message), fleet_id, f"region {self._region}", topic=names.LEADER)
            return
        foreign = {drone.fleet_id for drone in self.drones} - {"", fleet_id}
        for own in foreign:
            self._strangers.hear(_name(message), fleet_id, f"fleet {own}", topic=names.LEADER)
        followers = [drone for drone in self.drones if drone.fleet_id not in foreign] if foreign else self.drones
        if not followers or message.epoch == 0:
            return
        self._leader_heard_at_s = time.monotonic()
        self._telemetry.leader_heard(message.epoch)
        acks = self._acknowledgements(message)
        # A leader publishes on every acknowledgement, so most messages concern one drone or none.
        for drone in followers:
            mine = acks.get(drone.drone_id, ())
            if mine or drone.highest_epoch < message.epoch or drone.fleet_id != fleet_id:
                drone.leader_heard(LeaderHeard(message.epoch, tuple(mine), fleet_id))

    def _acknowledgements(self, message: LeaderState) -> dict[str, list[AcknowledgeOutcome]]:
        """Return the valid acknowledgements of the message by drone."""
        acks: dict[str, list[AcknowledgeOutcome]] = {}
        for each in message.acknowledged:
            try:
                ack = messages.ack_from_msg(each)
            except messages.InvalidMessage as error:
                self.get_logger().error(f"acknowledgement of {message.instance_id} ignored: {error}")
                continue
            if ack is not None:
                acks.setdefault(ack.drone_id, []).append(ack)
        return acks


def _name(message: LeaderState) -> str:
    """Return the name of the leader for people."""
    return f"leader {message.holder or message.instance_id} of region {message.region}"


def main() -> int:
    """Run the program; return its exit code, see :func:`~drone_orchestrator.ros.process.run_node`."""
    command_line.answer("drone_executor", ABOUT, PARAMETERS)
    at_start = usable_addresses()
    return run_node(
        lambda: DroneHost(NetworkWatch(at_start, time.monotonic())),
        executor_type=executors.events,  # a process of many drones has hundreds of entities
    )
