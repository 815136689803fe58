"""The node of one replica. Its lifecycle says whether it is in service: ``active`` means that it leads or stands by.

``configure`` connects to the store and follows it without campaigning. ``activate`` makes the replica a candidate, and
``deactivate`` ends that: a leader hands over. Winning or losing an election does not change the lifecycle, so a
lifecycle manager can bring replicas up like any other node. Who leads is on the topic ``leader``.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ...bringup import fleet_config
from ...bringup.named_files import data_folder, described_fleet
from ...bringup.plan import ARCHIVE_FOLDER
from ...core.leader.effects import AnswerClearance, Heartbeat, RecallGoal, SendGoal
from ...core.leader.events import (
    DroneHeard,
    Event,
    LeaderAlive,
    OperatorCampaign,
    OperatorResign,
    PoliciesChanged,
    SpaceSeen,
)
from ...core.leader.orchestrator import Orchestrator
from ...core.types import AcknowledgeOutcome, LeaderRecord
from ...ros import command_line, executors, observability
from ...ros.diagnostics import Reporter
from ...ros.interface_watch import NetworkWatch, late_interfaces, usable_addresses
from ...ros.lifecycle_node import refuse_unfit_transitions
from ...ros.log_bridge import bridge, debugs
from ...ros.params import declare, keep_live
from ...ros.planner_plugins import load_planner
from ...ros.process import ConfigurationError, run_node, single_node
from ...ros.qos_watch import QosWatch
from ...runtime.driver import Driver
from ...runtime.space import Space, StoreSpace
from ...runtime.vitals import Vitals
from ...store import EtcdStore
from ...store.archive import ArchiveWriter
from ...telemetry import findings
from ...telemetry.diagnostics import Status, replica_status
from ...telemetry.findings import Findings
from ...telemetry.logs import HEARS_DRONES, OrderLog
from ...telemetry.metrics import Metrics
from ...telemetry.order_traces import OrderTraces
from ...telemetry.replica_metrics import ReplicaTelemetry, TimedPlanner
from ...telemetry.strangers import Strangers
from .drone_link import DroneLink
from .heartbeat import HeartbeatLink
from .parameters import ABOUT, PARAMETERS, election_policy, policies

#: Text of the finding ``drone_heard_twice``.
TWICE = "two processes speak for this drone: it gets no orders, and may not load"


class OrchestratorNode(LifecycleNode):
    """The ROS side of one replica; everything that decides is in :mod:`drone_orchestrator.core`."""

    def __init__(self, network: NetworkWatch | None = None) -> None:
        super().__init__("orchestrator")
        self._network = network
        refuse_unfit_transitions(self)
        self.values: dict[str, Any] = declare(self, PARAMETERS)
        keep_live(self, PARAMETERS, self.values, check=policies, apply=self._set_policies)
        bridge("drone_orchestrator", self.get_logger())
        self._log = bridge(f"drone_orchestrator.{self.get_name()}", self.get_logger())
        self._metrics = Metrics("orchestrator", self.values["region"])
        self._tracer = observability.tracer("orchestrator", self.get_fully_qualified_name(), self.values["region"])
        self._traces = OrderTraces(self._tracer, self.get_name()) if self._tracer.enabled else None
        told = OrderLog(self._log, lambda: debugs(self.get_logger()))
        self._telemetry = ReplicaTelemetry(self._metrics, listeners=(told, self._traces) if self._traces else (told,))
        self._telemetry.show(
            self._known_epoch,
            lambda: self._driver is not None and self._driver.store_fails,
            lambda: len(self._driver.vitals().set_aside) if self._driver is not None else 0,
        )
        self._endpoint = observability.serve(self._metrics, self.values)
        self._driver: Driver | None = None
        self._store: EtcdStore | None = None
        self._archive: ArchiveWriter | None = None
        self._space: StoreSpace | None = None
        self._watch = QosWatch(self)
        self._strangers = Strangers(self._metrics)
        self._link = DroneLink(self, self._heard, self.values["region"], self._watch, self._strangers)
        self._heartbeat = HeartbeatLink(
            self, self._heard, self.values["heartbeat_timeout_s"], self._watch, self._strangers
        )
        self._reporter = Reporter(self, [self._statuses, self._watch.statuses], findings=self._make_findings())
        # Housekeeping continues while simulated time is paused.
        self._timer = self.create_timer(0.1, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._epoch = 0  # of the term in which this node speaks as the leader
        self._is_active = False
        self._hears_drones = False  # logged once
        self.failure = ""  # why the last attempt to configure failed

    # --- lifecycle ----------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._start()
        except (ConfigurationError, ValueError) as error:
            self.failure = str(error)
            self._log.error("cannot configure: %s", error)
            self._release()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            # rclpy would turn it into a failed transition without logging it.
            self.failure = f"unexpected {type(error).__name__}: {error}"
            self._log.critical("cannot configure: %s", self.failure, exc_info=error)
            self._release()
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_active = True
        self._log.info("campaigning from now on")
        if self._driver is not None:
            self._driver.post(OperatorCampaign())
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_active = False
        handed_over = "handing over" if self._epoch else "no longer campaigning"
        self._log.info("%s on an operator's request", handed_over)
        if self._driver is not None:
            self._driver.post(OperatorResign())
        self._stop_speaking()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS

    # --- the fleet, as the driver sees it (its thread) ----------------------------------------------------------

    def send_goal(self, effect: SendGoal) -> None:
        self._link.send_goal(effect)

    def recall(self, effect: RecallGoal) -> None:
        self._link.recall(effect)

    def answer_clearance(self, effect: AnswerClearance) -> None:
        self._link.answer_clearance(effect)

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        self._link.acknowledge(effect)

    def heartbeat(self, effect: Heartbeat) -> None:
        self._heartbeat.send(effect)

    def start_leading(self, epoch: int) -> None:
        self._telemetry.started_leading()
        if self._traces is not None and self._driver is not None:
            self._traces.take_over(self._driver.core.view)
        self._link.run_on_ros(lambda: self._enter_office(epoch))

    def stop_leading(self, epoch: int, reason: str) -> None:
        self._telemetry.stopped_leading()
        self._link.run_on_ros(lambda: self._leave_office(epoch, reason))

    # --- inside -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        values = self.values
        election = election_policy(values)
        dispatch, retention = policies(values)
        record = LeaderRecord(self.get_name(), uuid.uuid4().hex, 0.0)
        fleet = described_fleet(values["fleet_config"])
        for caution in fleet_config.cautions(fleet):
            self.get_logger().warning(caution)
        core = Orchestrator(
            record,
            fleet,
            TimedPlanner(load_planner(values["planner"]), self._metrics),
            election=election,
            dispatch=dispatch,
            retention=retention,
            configuration=fleet_config.configuration(values["fleet_config"], values["reservation_ttl_s"]),
            campaigns=False,  # until the node is activated
        )
        self._store = EtcdStore(
            values["etcd_endpoints"].split(","),
            values["region"],
            reservation_ttl_s=values["reservation_ttl_s"],
            timeout_s=min(values["store_timeout_s"], election.lease_ttl_s / 2.0),
        )
        archive_dir = data_folder("archive_dir", values["archive_dir"], ARCHIVE_FOLDER)
        self._archive = ArchiveWriter(archive_dir, values["region"], self.get_fully_qualified_name())
        self._driver = Driver(core, self._store, self, self._log, archive=self._archive, observer=self._telemetry)
        self._hears_drones = False
        self._link.begin(record.instance_id)
        self._heartbeat.begin(record.instance_id)
        self._driver.start()
        self._space = StoreSpace(self._store, values["store_quota_mib"] << 20, self._measured)
        self._space.start()

    def _objection(self) -> str:
        return self._driver.core.agreement.objection if self._driver is not None else ""

    def _measured(self, space: Space) -> None:
        self._metrics.store_used_bytes().set(space.used_bytes)
        self._metrics.store_quota_bytes().set(space.quota_bytes)
        if self._driver is not None:
            self._driver.post(SpaceSeen(space.share))

    def _make_findings(self) -> Findings:
        def vitals() -> Vitals | None:
            return self._driver.vitals() if self._driver is not None else None

        found = Findings(self.get_name(), self.values["region"], self._metrics)
        # The core logs it, once, when it begins.
        archive = findings.about_self(lambda: self._telemetry.archive_trouble)
        found.watch(findings.ARCHIVE_UNWRITABLE, archive, is_logged=True)
        findings.watch_space(found, lambda: self._space.latest if self._space is not None else None)
        found.watch(findings.STORE_DENIED, findings.about_self(lambda: now.denied if (now := vitals()) else ""))
        found.watch(findings.DRONE_HEARD_TWICE, lambda: dict.fromkeys(now.doubled, TWICE) if (now := vitals()) else {})
        silent = findings.silent_watch(lambda: now.silent_s if (now := vitals()) else 0.0)
        found.watch(findings.STORE_NOT_FOLLOWED, silent)
        found.watch(findings.STORE_HELD, findings.held(lambda: now.held if (now := vitals()) else ""))
        found.watch(findings.CONFIGURATION_OUTDATED, findings.about_self(self._objection), is_logged=True)
        found.watch(findings.CLOCK_SKEW, findings.about_self(lambda: now.clock_trouble if (now := vitals()) else ""))
        found.watch(findings.FOREIGN_FLEET, self._strangers.found)
        findings.watch_drones(found, lambda: now.troubles if (now := vitals()) else {})
        found.watch(findings.QOS_INCOMPATIBLE, self._watch.unfit)
        found.watch(findings.INTERFACE_MISSING, findings.about_self(partial(late_interfaces, self, self._network)))
        found.watch(findings.LOOP_FAILING, findings.about_self(partial(observability.trouble, self._endpoint)))
        return found

    def _statuses(self) -> Sequence[Status]:
        vitals = self._driver.vitals() if self._driver is not None else None
        return [replica_status(vitals, time.monotonic())]

    def _set_policies(self, values: Mapping[str, Any]) -> None:
        """Pass new parameters to the core, as an event on the deciding thread."""
        if self._driver is not None:
            dispatch, retention = policies(values)
            self._driver.post(PoliciesChanged(dispatch, retention))

    def _heard(self, event: Event) -> None:
        """Pass an event from DDS to the core, and count some kinds."""
        if isinstance(event, DroneHeard):
            if not self._hears_drones:
                self._hears_drones = True
                self._log.info(HEARS_DRONES)
            self._telemetry.drone_heard(event.report)
        elif isinstance(event, LeaderAlive):
            self._telemetry.leader_alive()
        if self._driver is not None:
            self._driver.post(event)

    def _known_epoch(self) -> int:
        return self._driver.core.view.leader_epoch if self._driver is not None else 0

    def _release(self) -> None:
        """Stop everything that ``_start`` created, leadership first."""
        self._epoch, self._is_active = 0, False
        self._telemetry.stopped_leading()
        if self._space is not None:
            self._space.close()
            self._space = None
        self._heartbeat.end()  # lets standbys notice at once, even if the store is unavailable
        if self._driver is not None:
            self._driver.stop()
            self._driver = None
        if self._archive is not None:
            self._archive.close()
            self._archive = None
        self._link.end()
        if self._store is not None:
            self._store.close()
            self._store = None

    def _tick(self) -> None:
        if self._driver is not None and self._driver.crash is not None:
            # This is a defect: end the process, so that a supervisor restarts it.
            raise RuntimeError("a thread of the orchestrator died") from self._driver.crash
        self._recognise_fleet()
        self._link.tick()
        self._heartbeat.tick()

    def _recognise_fleet(self) -> None:
        self._strangers.follow(self._driver.core.view.fleet if self._driver is not None else None)

    def _enter_office(self, epoch: int) -> None:
        if not self._is_active:
            return  # deactivated meanwhile: the core resigns next
        self._epoch = epoch
        self._recognise_fleet()
        # An exception ends the process, so that a standby takes over: a leader without a voice is worse than none.
        self._link.start_leading(epoch)
        self._heartbeat.open()
        self._log.info("leading with epoch %d", epoch, extra={"epoch": epoch})

    def _leave_office(self, epoch: int, reason: str) -> None:
        unasked = self._epoch == epoch  # else an operator deactivated the node
        level = logging.WARNING if unasked else logging.INFO
        extra = {"epoch": epoch, "reason": reason}
        self._log.log(level, "no longer leading (epoch %d): %s", epoch, reason, extra=extra)
        if unasked:
            self._stop_speaking()

    def _stop_speaking(self) -> None:
        """Stop acting as the leader on DDS."""
        self._epoch = 0
        self._heartbeat.close()
        self._link.stop_leading()

    def destroy_node(self) -> None:
        self._release()
        if self._endpoint is not None:
            self._endpoint.close()
        self._tracer.close()
        super().destroy_node()


def started(network: NetworkWatch | None = None) -> OrchestratorNode:
    """Create the node; configure and activate it unless ``autostart`` is off. Raises :class:`ConfigurationError`."""
    node = OrchestratorNode(network)
    if not node.values["autostart"]:
        return node
    if node.trigger_configure() is not TransitionCallbackReturn.SUCCESS:
        node.destroy_node()
        raise ConfigurationError(f"cannot configure: {node.failure}")
    node.trigger_activate()
    return node


def main() -> int:
    """Run the program; return its exit code, see :func:`~drone_orchestrator.ros.process.run_node`."""
    command_line.answer("orchestrator", ABOUT, PARAMETERS)
    network = NetworkWatch(usable_addresses(), time.monotonic())
    # The leader of many drones has hundreds of entities.
    return run_node(single_node(partial(started, network)), executor_type=executors.events)
