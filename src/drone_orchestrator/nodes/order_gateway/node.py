"""``order_gateway``: takes orders in over HTTP and over the services ``submit_order`` and ``cancel_order``.

It only writes the inbox, and needs neither a leader nor drones. Any number may run beside each other. It starts without
the store too: it is alive then, not ready, and turns orders away until the store is there.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from typing import Any

import uvicorn
from drone_interfaces.srv import CancelOrder, SubmitOrder
from fastapi import FastAPI
from rclpy.node import Node

from ...bringup import fleet_config
from ...gateway.app import create_app
from ...gateway.connections import ACCEPT_AT_A_TIME, BACKLOG, Server, guarded
from ...gateway.feed import Feed
from ...gateway.fleet_counts import FleetBook
from ...gateway.fleet_document import FleetPicture
from ...gateway.live_drones import LivePicture
from ...gateway.settings import GatewaySettings
from ...gateway.state import GatewayParts
from ...gateway.tracing import TraceRequests
from ...intake.bulkheads import Bulkheads
from ...intake.intake import Intake
from ...ros import command_line, executors, names, observability
from ...ros.diagnostics import Reporter
from ...ros.log_bridge import bridge
from ...ros.params import declare, keep_live
from ...ros.planner_plugins import load_planner
from ...ros.process import ConfigurationError, run_node, single_node
from ...ros.qos_watch import QosWatch
from ...runtime.breaker import StoreBreaker
from ...runtime.projection import Projection
from ...store import EtcdStore
from ...telemetry.diagnostics import Status, intake_status
from ...telemetry.metrics import Metrics
from . import order_topic
from .leader_control import LifecycleControl
from .live_drones import listen_to_drones
from .order_services import OrderServices
from .parameters import ABOUT, PARAMETERS

#: Longer than a load balancer's usual 60 s: who closes first must be the client, or its next request can get lost.
KEEP_ALIVE_S = 75


class OrderGateway(Node):
    """The ROS side: parameters, the two services, and the HTTP server's life beside them."""

    def __init__(self) -> None:
        super().__init__("order_gateway")
        values: dict[str, Any] = declare(self, PARAMETERS)
        log = bridge("drone_orchestrator", self.get_logger())
        bridge("uvicorn", self.get_logger())
        opener = order_topic.make_opener(values)
        try:
            fleet = replace(fleet_config.load(values["fleet_config"]), region=values["region"])
            listener = _listen(values["http_host"], values["http_port"], values["client_timeout_s"])
            self._store = EtcdStore(
                values["etcd_endpoints"].split(","), values["region"], timeout_s=values["store_timeout_s"]
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        metrics = Metrics("order_gateway", values["region"])
        breaker = StoreBreaker(
            fail_max=values["breaker_failures"],
            reset_s=values["breaker_reset_s"],
            on_state=metrics.show_breaker("etcd"),
        )
        keep_live(
            self, PARAMETERS, values, apply=lambda new: breaker.tune(new["breaker_failures"], new["breaker_reset_s"])
        )
        capable = load_planner(values["planner"]).capable
        bulkheads = Bulkheads(fleet, capable)
        self._tracer = observability.tracer("order_gateway", self.get_fully_qualified_name(), values["region"])
        self._intake = Intake(self._store, fleet, capable, metrics, breaker, bulkheads, tracer=self._tracer)
        live, book, feed = LivePicture(), FleetBook(), Feed()
        self._projection = Projection(self._store, folds=(bulkheads, book, feed))
        self._projection.start()
        settings = GatewaySettings(
            max_streams=values["max_streams"],
            rate_limit_per_s=values["rate_limit_per_s"],
            rate_limit_burst=values["rate_limit_burst"],
            client_key_header=values["client_key_header"],
            operator_token=values["operator_token"],
        )
        self._control = LifecycleControl(self)
        picture = FleetPicture(fleet, book, bulkheads, breaker, live)
        parts = GatewayParts(self._intake, self._projection, fleet, metrics, settings, picture, feed, self._control)
        app = create_app(parts)
        if self._tracer.enabled:
            app.add_middleware(TraceRequests, tracer=self._tracer)
        watch = QosWatch(self)
        listen_to_drones(self, live, watch)
        self._http = _HttpServer(self, app, listener, values["shutdown_grace_s"])
        services = OrderServices(self._intake)
        self.create_service(SubmitOrder, names.SUBMIT_ORDER, services.submit)
        self.create_service(CancelOrder, names.CANCEL_ORDER, services.cancel)
        order_topic.OrderTopic(self, opener, self._intake, metrics, watch)
        self._reporter = Reporter(self, own=[self._statuses, watch.statuses])
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        log.info("orders are taken in at http://%s:%d", shown, port)

    def _statuses(self) -> list[Status]:
        _, freshness = self._projection.read(lambda view: None)
        return [intake_status(self._intake.breaker.state, freshness)]

    def destroy_node(self) -> None:
        self._control.close()
        self._http.close()
        self._projection.close()
        self._store.close()
        self._tracer.close()
        super().destroy_node()


class _HttpServer:
    """uvicorn on a thread of its own: the main thread spins ROS and gets the signals."""

    def __init__(self, node: Node, app: FastAPI, listener: socket.socket, grace_s: float) -> None:
        self._app = app
        self._listener = listener
        self._failure: BaseException | None = None
        self._node = node
        self._closing = threading.Event()
        config = uvicorn.Config(
            app,
            http=guarded(app.state.clients),
            backlog=ACCEPT_AT_A_TIME,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(grace_s),
        )
        self._server = Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, end the streams, finish the requests under way, end the thread."""
        self._closing.set()
        self._app.state.close()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except BaseException as error:  # uvicorn ends itself by SystemExit
            self._failure = error
            while not executors.call_soon(self._node, self._raise) and not self._closing.wait(0.01):
                pass  # it is not spun yet

    def _raise(self) -> None:
        """On the thread that spins: a gateway without HTTP must not look alive."""
        raise RuntimeError("the HTTP server ended") from self._failure


def _listen(host: str, port: int, client_timeout_s: float) -> socket.socket:
    """A listening socket. A client that takes nothing for ``client_timeout_s`` is cut off by the kernel: no buffer of
    ours waits for it. Raises :class:`ConfigurationError` where there cannot be one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        # Only lets a restarted gateway have the port at once; another one that listens there still keeps it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(client_timeout_s * 1000))
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on http_host {host}, http_port {port}: {error.strerror}") from error
    return listener


def main() -> None:
    command_line.answer("order_gateway", ABOUT, PARAMETERS)
    raise SystemExit(run_node(single_node(OrderGateway), executor_type=executors.events))
