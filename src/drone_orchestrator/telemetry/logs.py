"""Log records with fields: order, drone, epoch and trace.

Fields are passed as ``extra`` of Python's logging. The text format omits them, because the message names what matters.
With ``DRONE_ORCHESTRATOR_LOG_FORMAT=json`` each record is one JSON object per line. Both go through ROS logging, so
``/rosout`` and rqt_console show the same text.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, MutableMapping
from datetime import datetime, timezone
from typing import Any

from ..core import saga as sagas
from ..core.types import Order, SagaEvent
from . import tracing
from .replica_metrics import Committed

FORMAT_VARIABLE = "DRONE_ORCHESTRATOR_LOG_FORMAT"
FORMATS = ("text", "json")
#: Logged by a replica when it hears the first drone.
HEARS_DRONES = "drones are heard"
#: Logged by a standby at a leader's first heartbeat: from then on it detects the leader's silence.
STANDING_BY = "standing by for the leader of epoch {epoch}"
#: The possible fields of a record, in the order of output.
FIELDS = ("order_id", "message_id", "drone", "attempt", "epoch", "status", "reason", "trace_id", "span_id")

#: Log levels of steps that do not occur in a delivery without trouble.
_NOTABLE = {
    sagas.ABANDONED: logging.WARNING,
    sagas.COMPENSATED: logging.INFO,
    sagas.CANCELLED: logging.INFO,
    sagas.FAILED: logging.ERROR,
    sagas.PARKED: logging.ERROR,
    sagas.RETRIED: logging.INFO,
    sagas.RESOLVED: logging.INFO,
}


class LogFormatError(Exception):
    """The environment asks for an unknown log format. The text is one line that lists the known ones."""


def wanted_format() -> str:
    """Return the log format that the environment chooses: ``text`` or ``json``. Raises :class:`LogFormatError`."""
    wanted = os.environ.get(FORMAT_VARIABLE, "").strip().lower() or FORMATS[0]
    if wanted not in FORMATS:
        raise LogFormatError(f"{FORMAT_VARIABLE} must be {' or '.join(FORMATS)}, got {wanted!r}")
    return wanted


class JsonFormatter(logging.Formatter):
    """A formatter of one JSON object per record: ``time`` (UTC), ``level``, ``logger``, ``message``, then its fields.

    A record without trace fields gets those of the current request, if there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        own = vars(record)
        document |= {name: own[name] for name in FIELDS if own.get(name) not in (None, "", 0)}
        ids = tracing.ids_of(tracing.current()) if "trace_id" not in document else None
        if ids is not None:
            document["trace_id"], document["span_id"] = ids
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


class FieldLogger(logging.LoggerAdapter):
    """A logger that adds ``fields`` to every record; a record may add more as ``extra``."""

    def __init__(self, logger: logging.Logger, **fields: object) -> None:
        super().__init__(logger, fields)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


def order_fields(order: Order, attempt: int = 0, epoch: int = 0) -> dict[str, object]:
    """Return the fields of a record about ``order``."""
    fields: dict[str, object] = {"order_id": order.order_id, "message_id": order.message_id}
    if attempt:
        fields["attempt"] = attempt
    if epoch:
        fields["epoch"] = epoch
    ids = tracing.ids_of(order.trace_context)
    if ids is not None:
        fields["trace_id"], fields["span_id"] = ids
    return fields


class OrderLog:
    """Logs the steps of orders as they become durable; a listener of :class:`.replica_metrics.ReplicaTelemetry`.

    The steps of deliveries without trouble are logged at debug level, and only while ``verbose()``: at thousands of
    orders a second they would be most of the work.
    """

    def __init__(self, logger: logging.Logger, verbose: Callable[[], bool]) -> None:
        self._log = logger
        self._verbose = verbose

    def wants_all(self) -> bool:
        """See :class:`.replica_metrics.Listener`."""
        return self._verbose()

    def __call__(self, step: Committed) -> None:
        """See :class:`.replica_metrics.Listener`."""
        for event in step.events:
            self._log_step(_NOTABLE.get(event.type, logging.DEBUG), event, step.order)

    def _log_step(self, level: int, event: SagaEvent, order: Order) -> None:
        fields = order_fields(order, event.attempt, event.epoch)
        fields |= {"drone": event.drone_id, "status": event.to_status.value, "reason": event.reason}
        by = f" ({event.drone_id})" if event.drone_id else ""
        why = f": {event.reason}" if event.reason else ""
        self._log.log(
            level, "%s %s, now %s%s%s", order.order_id, event.type, event.to_status.value, by, why, extra=fields
        )
