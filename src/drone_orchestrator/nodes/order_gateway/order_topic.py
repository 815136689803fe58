"""The topic ``orders``: signed envelopes of orders and cancellations, for clients that cannot wait for an answer.

:mod:`drone_orchestrator.security` checks an envelope, and its payload goes to the same intake as HTTP and the services.
There is no answer. The outcome is counted in ``orchestrator_requests_total{source="dds_topic"}``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from drone_interfaces.msg import OrderRequest
from rclpy.node import Node

from ...bringup.named_files import named_file
from ...core.admission import canonical_id
from ...intake.answers import Answer, Result
from ...intake.intake import Intake
from ...ros import names, qos
from ...ros.params import Param, ParameterError
from ...ros.qos_watch import QosWatch
from ...security.envelope import Envelope, Opener, Refusal, Refused
from ...security.keys import InvalidKeys, parse_keys, read_keys
from ...telemetry.metrics import Metrics

#: Comma-separated ``id:hex`` pairs, as an alternative to a file. A parameter would expose the keys to every node.
KEYS_VARIABLE = "DRONE_ORCHESTRATOR_ORDER_KEYS"

PARAMETERS = (
    Param("order_keys_file", "", f"Keys of signed orders, one ID:HEX per line. Empty: the pairs in ${KEYS_VARIABLE}."),
    Param(
        "replay_window_s",
        30.0,
        "Accept a signed order for this long before and after its timestamp.",
        unit="s",
        lo=1.0,
        hi=3600.0,
    ),
    Param(
        "allow_unsigned_orders",
        False,
        "Accept orders from the topic without a signature. Then anybody in the DDS domain can submit them.",
    ),
)
SOURCE = "dds_topic"
SUBMIT, CANCEL = "order.submit", "order.cancel"


class OrderTopic:
    """Subscription to ``orders``. It lives as long as ``node``."""

    def __init__(self, node: Node, opener: Opener, intake: Intake, metrics: Metrics, watch: QosWatch) -> None:
        self._opener = opener
        self._intake = intake
        self._metrics = metrics
        self._log = node.get_logger()
        if opener.allow_unsigned:
            self._log.warning("unsigned orders are accepted from the topic: anybody in this DDS domain can submit them")
        profile = qos.orders()
        node.create_subscription(
            OrderRequest, names.ORDERS, self._on_request, profile, **watch.subscribing(names.ORDERS, profile)
        )

    def _on_request(self, message: OrderRequest) -> None:
        envelope = Envelope(
            message.message_id,
            message.type,
            message.payload,
            message.timestamp.sec * 1_000_000_000 + message.timestamp.nanosec,
            message.key_id,
            message.signature,
        )
        try:
            payload = self._opener.open(envelope, time.time())
            answer = self._carry_out(envelope, payload)
        except Refused as error:
            self._metrics.requests(source=SOURCE, result=error.refusal.value).inc()
            self._log.warning(
                f"order from the topic refused ({error.refusal.value}): {error}", throttle_duration_sec=1.0
            )
            return
        if answer.result in (Result.STORE_UNAVAILABLE, Result.LANE_FULL):
            self._log.warning(f"{envelope.message_id}: {answer.reason}", throttle_duration_sec=1.0)

    def _carry_out(self, envelope: Envelope, payload: dict[str, Any]) -> Answer:
        if envelope.type == SUBMIT:
            stated = payload.get("message_id")
            stated = canonical_id(stated) if isinstance(stated, str) else stated
            if stated not in (None, canonical_id(envelope.message_id)):
                raise Refused(Refusal.MALFORMED, "message_id of payload and envelope differ")
            return self._intake.accept({**payload, "message_id": envelope.message_id}, SOURCE)
        if envelope.type == CANCEL:
            id_ = payload.get("id")
            if not isinstance(id_, str) or set(payload) != {"id"}:
                raise Refused(Refusal.MALFORMED, 'the payload of a cancellation must be {"id": "ORDER-OR-MESSAGE-ID"}')
            return self._intake.cancel(id_, SOURCE)
        raise Refused(Refusal.MALFORMED, f"type must be {SUBMIT} or {CANCEL}, got {envelope.type!r}")


def make_opener(values: Mapping[str, Any]) -> Opener:
    """Create the opener from the parameters. Raises :class:`.params.ParameterError` if the keys cannot be used."""
    path = values["order_keys_file"]
    try:
        if path:
            keys = read_keys(named_file("order_keys_file", path))
        else:
            keys = parse_keys(os.environ.get(KEYS_VARIABLE, ""), f"${KEYS_VARIABLE}")
    except InvalidKeys as error:
        raise ParameterError(f"parameter order_keys_file: {error}") from error
    return Opener(keys, window_s=values["replay_window_s"], allow_unsigned=values["allow_unsigned_orders"])
