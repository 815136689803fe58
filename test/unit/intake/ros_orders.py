"""The gateway's ROS interfaces for orders, without a running node."""

from __future__ import annotations

import json
import logging
import time
from typing import Any, cast

import pytest
from gateway_fixtures import Gateway

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from drone_interfaces.msg import GeoPosition, OrderRequest
from drone_interfaces.msg import Order as OrderMsg
from drone_interfaces.srv import CancelOrder, SubmitOrder

from drone_orchestrator.nodes.order_gateway.order_services import OrderServices
from drone_orchestrator.nodes.order_gateway.order_topic import OrderTopic
from drone_orchestrator.security.envelope import Opener


def order_msg(document: dict[str, Any]) -> OrderMsg:
    """Return the message of an order with an id, a destination and a weight."""
    point = document["destination"]
    destination = GeoPosition(latitude_deg=point["lat"], longitude_deg=point["lon"])
    return OrderMsg(
        order_id=document["order_id"], destination=destination, package_weight_kg=document["package_weight_kg"]
    )


def submit_by_service(gateway: Gateway, order: OrderMsg, message_id: str = "") -> SubmitOrder.Response:
    request = SubmitOrder.Request(message_id=message_id, order=order)
    return OrderServices(gateway.intake).submit(request, SubmitOrder.Response())


def cancel_by_service(gateway: Gateway, id_: str) -> CancelOrder.Response:
    return OrderServices(gateway.intake).cancel(CancelOrder.Request(id=id_), CancelOrder.Response())


def publish(gateway: Gateway, type_: str, payload: dict[str, Any], message_id: str) -> None:
    """Deliver an envelope to the gateway's subscription to the topic ``orders``."""
    node = _Node()
    opener = Opener({}, window_s=30.0, allow_unsigned=True)
    OrderTopic(cast(Any, node), opener, gateway.intake, gateway.metrics, cast(Any, _Watch()))
    stamp = Time(sec=int(time.time()))
    node.publish(OrderRequest(message_id=message_id, type=type_, payload=json.dumps(payload), timestamp=stamp))


class _Node:
    """A node whose only subscription receives what is passed to :meth:`publish`."""

    def create_subscription(self, _type: Any, _topic: str, callback: Any, _qos: Any, **_options: Any) -> None:
        self.publish = callback

    def get_logger(self) -> Any:
        return _Logger()


class _Logger:
    def warning(self, text: str, **_options: Any) -> None:
        logging.getLogger(__name__).warning(text)


class _Watch:
    def subscribing(self, _topic: str, _qos: Any) -> dict[str, Any]:
        return {}
