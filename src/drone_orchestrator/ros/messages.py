"""Conversion between core types and ``drone_interfaces`` messages.

Messages are untrusted input: an invalid field raises :class:`InvalidMessage`, which names the field. An unset position
(NaN latitude) becomes ``None``.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Time
from drone_interfaces.action import ExecuteDelivery
from drone_interfaces.msg import BackPressure, DroneState, GeoPosition, OutcomeAck
from drone_interfaces.msg import DeliveryOutcome as DeliveryOutcomeMsg
from drone_interfaces.msg import GoalRefusal as GoalRefusalMsg
from drone_interfaces.msg import Order as OrderMsg
from drone_interfaces.srv import RequestClearance
from unique_identifier_msgs.msg import UUID

from ..core.admission import rounded_to_float32
from ..core.lanes import Pressure
from ..core.leader.effects import AnswerClearance
from ..core.reasons import RefusalCause, RefusedGoal
from ..core.types import (
    AcknowledgeOutcome,
    DeliveryOutcome,
    DroneReport,
    GeoPoint,
    Order,
    Outcome,
    Phase,
    Priority,
)

#: Namespace of goal ids. It must never change: drones recognise a repeated goal by its id.
_GOAL_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:drone_orchestrator:goal")

#: A drone's reason for a refusal is kept with the order; a longer one is cut.
MAX_REASON_CHARS = 64

#: Names of a point's fields in a document, and in ``GeoPosition.msg``.
_POINT_FIELDS = {"lat": "latitude_deg", "lon": "longitude_deg"}


class InvalidMessage(ValueError):
    """A message has an invalid field. ``field`` is its path, ``reason`` says what is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def goal_uuid(message_id: str, attempt: int) -> UUID:
    """Return the id of an action goal. Every leader derives the same id from message id and attempt."""
    return UUID(uuid=list(uuid.uuid5(_GOAL_NAMESPACE, f"{message_id}/{attempt}").bytes))


def time_to_msg(seconds: float) -> Time:
    """Convert seconds since the Unix epoch; 0 is unset."""
    whole, fraction = divmod(seconds, 1.0)
    nanoseconds = min(round(fraction * 1e9), 999_999_999)
    return Time(sec=int(whole), nanosec=nanoseconds)


def time_from_msg(msg: Time) -> float:
    """Return seconds since the Unix epoch; 0.0 is unset."""
    return float(msg.sec) + msg.nanosec * 1e-9


def pressure_to_msg(pressure: Pressure, stamp: Time) -> BackPressure:
    return BackPressure(
        stamp=stamp,
        drone_class=pressure.lane,
        level=int(pressure.level),
        waiting=pressure.waiting,
        waiting_bound=pressure.bound,
        in_flight=pressure.in_flight,
        retry_after_s=pressure.retry_after_s,
    )


def position_to_msg(point: GeoPoint | None, altitude_m: float = math.nan) -> GeoPosition:
    """Convert a position; ``None`` becomes unset. ``altitude_m``: height above the depot's ground, NaN if unknown."""
    if point is None:
        return GeoPosition(latitude_deg=math.nan, longitude_deg=math.nan, altitude_m=math.nan)
    return GeoPosition(latitude_deg=point.lat_deg, longitude_deg=point.lon_deg, altitude_m=altitude_m)


def position_from_msg(msg: GeoPosition, field: str = "position") -> GeoPoint | None:
    """Return the position, ``None`` if it is unset. Raises :class:`InvalidMessage` if it is out of range."""
    if math.isnan(msg.latitude_deg):
        return None
    if not -90.0 <= msg.latitude_deg <= 90.0:
        raise InvalidMessage(f"{field}.latitude_deg", f"must be from -90 to 90, got {msg.latitude_deg}")
    if not -180.0 <= msg.longitude_deg <= 180.0:
        raise InvalidMessage(f"{field}.longitude_deg", f"must be from -180 to 180, got {msg.longitude_deg}")
    return GeoPoint(msg.latitude_deg, msg.longitude_deg)


def order_to_msg(order: Order) -> OrderMsg:
    """Convert an order without message id, time and trace, which travel beside it."""
    return OrderMsg(
        order_id=order.order_id,
        pickup=position_to_msg(order.pickup),
        has_pickup=order.pickup is not None,
        destination=position_to_msg(order.destination),
        package_weight_kg=order.package_weight_kg,
        priority=int(order.priority),
        deadline_s=order.deadline_s or 0.0,
        drone_class=order.drone_class or "",
    )


def order_document(msg: OrderMsg, message_id: str = "") -> dict[str, Any]:
    """Return the order as the JSON document of ``POST /orders``. The order is not checked here; admission does that.

    Unset fields of the message are left out.
    """
    document: dict[str, Any] = {
        "message_id": message_id or None,
        "order_id": msg.order_id,
        "package_weight_kg": rounded_to_float32(msg.package_weight_kg),
        "priority": msg.priority or None,
        "deadline_s": rounded_to_float32(msg.deadline_s) or None,
        "drone_class": msg.drone_class or None,
    }
    if not math.isnan(msg.destination.latitude_deg):
        document["destination"] = _point(msg.destination)
    if msg.has_pickup:
        document["pickup"] = _point(msg.pickup)
    return document


def message_field(field: str) -> str:
    """Return the path in ``Order.msg`` that corresponds to a field of :func:`order_document`."""
    name, _, part = field.partition(".")
    return f"{name}.{_POINT_FIELDS[part]}" if part in _POINT_FIELDS else field


def order_from_msg(msg: OrderMsg, message_id: str, trace_context: str = "") -> Order:
    """Return the order of a goal. Raises :class:`InvalidMessage` if a drone could not fly it.

    The intake checked the order before. A drone checks these rules again rather than trust the sender.
    """
    if not message_id:
        raise InvalidMessage("message_id", "is empty")
    destination = position_from_msg(msg.destination, "destination")
    if destination is None:
        raise InvalidMessage("destination", "is not set")
    pickup = position_from_msg(msg.pickup, "pickup") if msg.has_pickup else None
    if msg.has_pickup and pickup is None:
        raise InvalidMessage("pickup", "must be set if has_pickup is true")
    if not (math.isfinite(msg.package_weight_kg) and msg.package_weight_kg > 0):
        raise InvalidMessage("package_weight_kg", "must be greater than 0")
    if not (math.isfinite(msg.deadline_s) and msg.deadline_s >= 0):
        raise InvalidMessage("deadline_s", "must not be negative")
    return Order(
        message_id=message_id,
        order_id=msg.order_id,
        destination=destination,
        package_weight_kg=rounded_to_float32(msg.package_weight_kg),
        submitted_at=0.0,
        pickup=pickup,
        priority=_priority(msg.priority),
        deadline_s=rounded_to_float32(msg.deadline_s) or None,
        drone_class=msg.drone_class or None,
        trace_context=trace_context,
    )


def goal_to_msg(order: Order, attempt: int, epoch: int, instance_id: str, fleet_id: str = "") -> ExecuteDelivery.Goal:
    """Return the action goal for one attempt at an order; send it with :func:`goal_uuid`."""
    return ExecuteDelivery.Goal(
        message_id=order.message_id,
        attempt=attempt,
        epoch=epoch,
        fleet_id=fleet_id,
        instance_id=instance_id,
        order=order_to_msg(order),
        trace_context=order.trace_context,
    )


def outcome_to_msg(outcome: DeliveryOutcome) -> DeliveryOutcomeMsg:
    return DeliveryOutcomeMsg(
        message_id=outcome.message_id,
        attempt=outcome.attempt,
        outcome=int(outcome.outcome),
        at=time_to_msg(outcome.at),
        reason=outcome.reason,
    )


def outcome_from_msg(msg: DeliveryOutcomeMsg) -> DeliveryOutcome | None:
    """Return the outcome, ``None`` if the message is marked to be ignored, or has an outcome of a newer version."""
    known = msg.outcome in Outcome.__members__.values()
    if not msg.message_id or not msg.attempt or not known or msg.outcome == DeliveryOutcomeMsg.UNSPECIFIED:
        return None
    return DeliveryOutcome(
        msg.message_id, msg.attempt, Outcome(msg.outcome), at=time_from_msg(msg.at), reason=msg.reason
    )


def phase_from_msg(number: int) -> Phase:
    """Return the phase; ``UNSPECIFIED`` for one of a newer version."""
    return Phase(number) if number in Phase.__members__.values() else Phase.UNSPECIFIED


def refusal_to_msg(refused: RefusedGoal) -> GoalRefusalMsg:
    return GoalRefusalMsg(
        message_id=refused.message_id,
        attempt=refused.attempt,
        epoch=refused.epoch,
        cause=int(refused.cause),
        reason=refused.reason,
    )


def refusals_from_msg(msgs: Sequence[GoalRefusalMsg]) -> tuple[RefusedGoal, ...]:
    """Return the refusals that name a goal. A cause that this version does not know counts as unspecified."""
    causes = RefusalCause._value2member_map_
    return tuple(
        RefusedGoal(
            msg.message_id,
            msg.attempt,
            msg.epoch,
            RefusalCause(msg.cause) if msg.cause in causes else RefusalCause.UNSPECIFIED,
            msg.reason[:MAX_REASON_CHARS],
        )
        for msg in msgs
        if msg.message_id and msg.attempt
    )


def report_to_msg(report: DroneReport, stamp_s: float, altitude_m: float = math.nan) -> DroneState:
    """Convert the drone's latched state. ``stamp_s`` is the drone's clock time, for display only."""
    return DroneState(
        stamp=time_to_msg(stamp_s),
        drone_id=report.drone_id,
        fleet_id=report.fleet_id,
        boot_id=report.boot_id,
        drone_class=report.drone_class,
        journal_id=report.journal_id,
        highest_epoch=report.highest_epoch,
        phase=int(report.phase),
        message_id=report.message_id or "",
        attempt=report.attempt,
        package_on_board=report.package_on_board,
        position=position_to_msg(report.position, altitude_m),
        energy_wh=report.energy_wh,
        outcomes=[outcome_to_msg(outcome) for outcome in report.outcomes],
        refusals=[refusal_to_msg(refused) for refused in report.refusals],
        grounded_reason=report.grounded_reason,
    )


def report_from_msg(msg: DroneState) -> DroneReport:
    """Return the drone's report. Raises :class:`InvalidMessage` if the message cannot be used.

    A phase or an outcome of a newer version leaves the drone known: in an unspecified phase it gets no goals, and an
    outcome that is not understood is neither recorded nor acknowledged, so that a newer leader still finds it. Unknown
    energy (NaN) counts as an empty battery, so that the drone gets no orders.
    """
    if not msg.drone_id or not msg.journal_id:
        raise InvalidMessage("journal_id" if msg.drone_id else "drone_id", "is empty")
    position = position_from_msg(msg.position)
    if position is None:
        raise InvalidMessage("position", "is not set: the drone has no position fix")
    outcomes = (outcome_from_msg(outcome) for outcome in msg.outcomes)
    return DroneReport(
        drone_id=msg.drone_id,
        drone_class=msg.drone_class,
        journal_id=msg.journal_id,
        highest_epoch=msg.highest_epoch,
        phase=phase_from_msg(msg.phase),
        position=position,
        energy_wh=0.0 if math.isnan(msg.energy_wh) else msg.energy_wh,
        message_id=msg.message_id or None,
        attempt=msg.attempt,
        package_on_board=msg.package_on_board,
        outcomes=tuple(outcome for outcome in outcomes if outcome is not None),
        fleet_id=msg.fleet_id,
        boot_id=msg.boot_id,
        refusals=refusals_from_msg(msg.refusals) if msg.refusals else (),
        grounded_reason=msg.grounded_reason,
    )


def ack_to_msg(ack: AcknowledgeOutcome) -> OutcomeAck:
    return OutcomeAck(
        drone_id=ack.drone_id,
        journal_id=ack.journal_id,
        message_id=ack.message_id,
        attempt=ack.attempt,
        outcome=int(ack.outcome),
    )


def ack_from_msg(msg: OutcomeAck) -> AcknowledgeOutcome | None:
    """Return the acknowledgement, ``None`` if the message is marked to be ignored, or is of no outcome known here."""
    named = msg.drone_id and msg.journal_id and msg.message_id and msg.attempt
    known = msg.outcome in Outcome.__members__.values()
    if not named or not known or msg.outcome == DeliveryOutcomeMsg.UNSPECIFIED:
        return None
    return AcknowledgeOutcome(msg.drone_id, msg.journal_id, msg.message_id, msg.attempt, Outcome(msg.outcome))


def clearance_to_msg(answer: AnswerClearance) -> RequestClearance.Response:
    """Convert the leader's answer, addressed to the goal and journal that requested clearance."""
    return RequestClearance.Response(
        verdict=int(answer.verdict),
        reason=answer.reason,
        epoch=answer.epoch,
        message_id=answer.message_id,
        attempt=answer.attempt,
        journal_id=answer.journal_id,
    )


def _point(msg: GeoPosition) -> dict[str, float]:
    return {"lat": msg.latitude_deg, "lon": msg.longitude_deg}


def _priority(value: int) -> Priority:
    """Return the priority; ``NORMAL`` if it is unset or of a newer version, because a drone does not act on it."""
    return Priority(value) if value in Priority.__members__.values() else Priority.NORMAL
