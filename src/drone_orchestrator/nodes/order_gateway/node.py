"""The node ``order_gateway``: orders over HTTP, the services ``submit_order`` and ``cancel_order``, and a topic.

It writes only to the inbox and needs neither a leader nor drones. Any number of gateways can run side by side. A
gateway also starts without the store: it is then alive but not ready, and rejects orders until the store answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from drone_interfaces.srv import CancelOrder, SubmitOrder
from rclpy.node import Node

from ...bringup import fleet_config
from ...bringup.named_files import described_fleet
from ...core.view import held_in
from ...gateway.app import create_app
from ...gateway.feed import Feed
from ...gateway.fleet_counts import FleetCounts
from ...gateway.fleet_document import FleetDocument
from ...gateway.live_drones import LiveDrones
from ...gateway.settings import GatewaySettings
from ...gateway.state import GatewayParts
from ...gateway.tracing import TraceRequests
from ...gateway.waiting import WaitingReasons
from ...intake.bulkheads import Bulkheads
from ...intake.intake import Intake
from ...ros import command_line, executors, names, observability
from ...ros.diagnostics import Reporter
from ...ros.finding_listener import listen_to_findings
from ...ros.interface_watch import NetworkWatch, late_interfaces, usable_addresses
from ...ros.log_bridge import bridge
from ...ros.params import declare, keep_live
from ...ros.planner_plugins import load_planner
from ...ros.process import ConfigurationError, run_node, single_node
from ...ros.qos_watch import QosWatch
from ...runtime.breaker import StoreBreaker
from ...runtime.projection import Projection
from ...runtime.space import StoreSpace
from ...store import EtcdStore
from ...telemetry import findings
from ...telemetry.diagnostics import Status, intake_status
from ...telemetry.findings import Findings, HeardFindings
from ...telemetry.metrics import Metrics
from ...telemetry.strangers import Strangers
from . import order_topic
from .http_server import HttpServer, address_of, listen
from .leader_control import LifecycleControl
from .live_drones import listen_to_drones
from .order_services import OrderServices
from .parameters import ABOUT, PARAMETERS


class OrderGateway(Node):
    """The ROS node: parameters, services and topics, with the HTTP server beside them."""

    def __init__(self, network: NetworkWatch | None = None) -> None:
        super().__init__("order_gateway")
        values: dict[str, Any] = declare(self, PARAMETERS)
        log = bridge("drone_orchestrator", self.get_logger())
        bridge("uvicorn", self.get_logger())
        bridge("asyncio", self.get_logger())  # tasks and callbacks of the HTTP server's event loop that raised
        opener = order_topic.make_opener(values)
        try:
            fleet = replace(described_fleet(values["fleet_config"]), region=values["region"])
            listener = listen(values["http_host"], values["http_port"], values["client_timeout_s"])
            self._store = EtcdStore(
                values["etcd_endpoints"].split(","), values["region"], timeout_s=values["store_timeout_s"]
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        for caution in fleet_config.cautions(fleet):
            self.get_logger().warning(caution)
        metrics = Metrics("order_gateway", values["region"])
        breaker = StoreBreaker(
            fail_max=values["breaker_failures"],
            reset_s=values["breaker_reset_s"],
            on_state=metrics.show_breaker("etcd"),
        )
        keep_live(
            self, PARAMETERS, values, apply=lambda new: breaker.tune(new["breaker_failures"], new["breaker_reset_s"])
        )
        planner = load_planner(values["planner"])
        capable = planner.capable
        bulkheads = Bulkheads(fleet, capable)
        self._tracer = observability.tracer("order_gateway", self.get_fully_qualified_name(), values["region"])
        self._space = StoreSpace(self._store, values["store_quota_mib"] << 20)
        self._intake = Intake(
            self._store, fleet, capable, metrics, breaker, bulkheads, tracer=self._tracer, refusal=self._space.refusal
        )
        live, counts, feed = LiveDrones(), FleetCounts(), Feed()
        self._projection = Projection(self._store, folds=(bulkheads, counts, feed))
        self._projection.start()
        self._space.start()
        self._control = LifecycleControl(self)
        found, heard = Findings(self.get_name(), values["region"], metrics), HeardFindings()
        document = FleetDocument(fleet, counts, bulkheads, breaker, live, (found, heard))
        reasons = WaitingReasons(fleet, planner, live)
        parts = GatewayParts(
            self._intake, self._projection, fleet, metrics, _settings(values), document, feed, self._control, reasons
        )
        app = create_app(parts)
        if self._tracer.enabled:
            app.add_middleware(TraceRequests, tracer=self._tracer)
        watch = QosWatch(self)
        self._strangers = Strangers(metrics)
        listen_to_drones(self, live, watch, self._strangers)
        listen_to_findings(self, heard, values["region"])
        self._http = HttpServer(app, listener, values["shutdown_grace_s"])
        services = OrderServices(self._intake)
        self.create_service(SubmitOrder, names.SUBMIT_ORDER, services.submit)
        self.create_service(CancelOrder, names.CANCEL_ORDER, services.cancel)
        order_topic.OrderTopic(self, opener, self._intake, metrics, watch)
        self._watch_for_findings(found, breaker, watch, network)
        self._reporter = Reporter(self, [self._statuses, watch.statuses], findings=found)
        log.info("accepting orders at http://%s", address_of(listener))

    def _watch_for_findings(
        self, found: Findings, breaker: StoreBreaker, watch: QosWatch, network: NetworkWatch | None
    ) -> None:
        findings.watch_breaker(found, breaker)
        findings.watch_space(found, lambda: self._space.latest)
        found.watch(findings.STORE_NOT_FOLLOWED, findings.not_followed(self._projection.freshness))
        found.watch(findings.STORE_HELD, findings.held(lambda: self._projection.read(held_in)[0]))
        found.watch(findings.RECORDS_CORRUPT, findings.corrupt(self._corrupt))
        found.watch(findings.FOREIGN_FLEET, self._strangers.found)
        found.watch(findings.QOS_INCOMPATIBLE, watch.unfit)
        found.watch(findings.INTERFACE_MISSING, findings.about_self(partial(late_interfaces, self, network)))

    def _corrupt(self) -> list[str]:
        keys, _ = self._projection.read(lambda view: sorted(view.corrupt))
        return keys

    def _statuses(self) -> list[Status]:
        fleet, freshness = self._projection.read(lambda view: view.fleet)
        self._strangers.follow(fleet)
        return [intake_status(self._intake.breaker.state, freshness)]

    def destroy_node(self) -> None:
        self._control.close()
        self._http.close()
        self._projection.close()
        self._space.close()
        self._store.close()
        self._tracer.close()
        super().destroy_node()


def _settings(values: Mapping[str, Any]) -> GatewaySettings:
    return GatewaySettings(
        max_streams=values["max_streams"],
        rate_limit_per_s=values["rate_limit_per_s"],
        rate_limit_burst=values["rate_limit_burst"],
        client_key_header=values["client_key_header"],
        operator_token=values["operator_token"],
    )


def main() -> int:
    """Run the program; return its exit code, see :func:`~drone_orchestrator.ros.process.run_node`."""
    command_line.answer("order_gateway", ABOUT, PARAMETERS)
    network = NetworkWatch(usable_addresses(), time.monotonic())
    return run_node(single_node(partial(OrderGateway, network)), executor_type=executors.events)
