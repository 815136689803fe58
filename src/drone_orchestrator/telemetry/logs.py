"""Log records with fields: which order, drone and epoch they are about, and in which trace.

Fields travel as ``extra`` of Python's logging. As text they are left out, for the sentence names what matters; as JSON,
which ``DRONE_ORCHESTRATOR_LOG_FORMAT=json`` chooses, every record is one object on one line. Either way the text goes
through ROS's logging, so that ``/rosout`` and rqt_console have the same.
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
#: A replica logs this when it hears the first drone.
HEARS_DRONES = "drones are heard"
#: A standby logs this at a leader's first heartbeat: from then on it notices when they stop.
STANDING_BY = "standing by for the leader of epoch {epoch}"
#: The fields that a record may have, in the order in which they are written.
FIELDS = ("order_id", "message_id", "drone", "attempt", "epoch", "status", "reason", "trace_id", "span_id")

#: Steps of an order that are no part of a delivery that goes well.
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
    """The environment asks for a format that there is not; the text is one line that says which there are."""


def wanted_format() -> str:
    """``text`` or ``json``, as the environment says. Raises :class:`LogFormatError`."""
    wanted = os.environ.get(FORMAT_VARIABLE, "").strip().lower() or FORMATS[0]
    if wanted not in FORMATS:
        raise LogFormatError(f"{FORMAT_VARIABLE}: {wanted!r} is not known; use {' or '.join(FORMATS)}")
    return wanted


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: ``time`` (UTC), ``level``, ``logger``, ``message``, then the fields it has.

    A record that says nothing of a trace gets the one of the request that is being answered, if there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        own = vars(record)
        said |= {name: own[name] for name in FIELDS if own.get(name) not in (None, "", 0)}
        ids = tracing.ids_of(tracing.current()) if "trace_id" not in said else None
        if ids is not None:
            said["trace_id"], said["span_id"] = ids
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


class FieldLogger(logging.LoggerAdapter):
    """``logger`` with ``fields`` on every record, to which a record may add its own as ``extra``."""

    def __init__(self, logger: logging.Logger, **fields: object) -> None:
        super().__init__(logger, fields)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


def order_fields(order: Order, attempt: int = 0, epoch: int = 0) -> dict[str, object]:
    """The fields of a record about ``order``."""
    said: dict[str, object] = {"order_id": order.order_id, "message_id": order.message_id}
    if attempt:
        said["attempt"] = attempt
    if epoch:
        said["epoch"] = epoch
    ids = tracing.ids_of(order.trace_context)
    if ids is not None:
        said["trace_id"], said["span_id"] = ids
    return said


class OrderLog:
    """Logs the steps of orders as they become durable; a listener of :class:`.replica.ReplicaTelemetry`.

    What goes well is logged for debugging only, where ``verbose()`` says that somebody wants that: at thousands of
    orders a second it would be most of the work.
    """

    def __init__(self, logger: logging.Logger, verbose: Callable[[], bool]) -> None:
        self._log = logger
        self._verbose = verbose

    def wants_all(self) -> bool:
        """See :class:`.replica.Listener`."""
        return self._verbose()

    def __call__(self, step: Committed) -> None:
        """See :class:`.replica.Listener`."""
        for event in step.events:
            self._tell(_NOTABLE.get(event.type, logging.DEBUG), event, step.order)

    def _tell(self, level: int, event: SagaEvent, order: Order) -> None:
        fields = order_fields(order, event.attempt, event.epoch)
        fields |= {"drone": event.drone_id, "status": event.to_status.value, "reason": event.reason}
        by = f" ({event.drone_id})" if event.drone_id else ""
        why = f": {event.reason}" if event.reason else ""
        self._log.log(
            level, "%s %s, now %s%s%s", order.order_id, event.type, event.to_status.value, by, why, extra=fields
        )
