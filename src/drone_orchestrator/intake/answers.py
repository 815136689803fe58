"""Answers of the intake: the same for HTTP, services and the topic."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..core.admission import InvalidOrder
from ..core.types import SagaStatus


class Result(str, Enum):
    """Outcome of a request. The values are those of the metric's label ``result``."""

    ACCEPTED = "accepted"  # committed now
    ALREADY_ACCEPTED = "already_accepted"  # the same order was committed before
    CONFLICT = "conflict"  # the id belongs to another order
    INVALID = "invalid"  # the order breaks a rule: see field, code and reason
    LANE_FULL = "lane_full"  # nothing was written: the order's lane accepts no more at the moment
    STORE_UNAVAILABLE = "store_unavailable"  # may or may not have been written; the request can be repeated
    UNREADABLE = "unreadable"  # the record stored under that id cannot be read; an operator must check it

    CANCEL_REQUESTED = "cancel_requested"  # the cancellation is recorded, by this request or an earlier one
    ALREADY_CANCELLED = "already_cancelled"
    NOT_FOUND = "not_found"
    TOO_LATE = "too_late"  # the order is delivered or has failed already


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one request.

    ``field``, ``code`` and ``reason`` explain a refusal, ``retry_after_s`` says when to repeat it. ``repeated`` marks a
    cancellation that was requested before. ``status`` is the order's status as far as the intake knows it. For a
    submitted order it is always the initial one, so that a repeated request gets the same answer.
    """

    result: Result
    message_id: str = ""
    order_id: str = ""
    status: SagaStatus = SagaStatus.PENDING
    field: str = ""
    code: str = ""
    reason: str = ""
    retry_after_s: float = 0.0
    repeated: bool = False


def invalid(error: InvalidOrder) -> Answer:
    """Return the answer to an order that breaks a rule."""
    return Answer(Result.INVALID, field=error.field, code=error.code.value, reason=error.reason)
