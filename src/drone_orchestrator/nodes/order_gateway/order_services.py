"""The services ``submit_order`` and ``cancel_order``: requests to the intake, and its answers as messages."""

from __future__ import annotations

from drone_interfaces.srv import CancelOrder, SubmitOrder

from ...intake.answers import Result
from ...intake.intake import Intake
from ...ros import messages

SOURCE = "dds"

_SUBMIT_RESULTS = {
    Result.ACCEPTED: SubmitOrder.Response.ACCEPTED,
    Result.ALREADY_ACCEPTED: SubmitOrder.Response.ALREADY_ACCEPTED,
    Result.CONFLICT: SubmitOrder.Response.CONFLICT,
    Result.INVALID: SubmitOrder.Response.INVALID,
    Result.LANE_FULL: SubmitOrder.Response.LANE_FULL,
    Result.STORE_UNAVAILABLE: SubmitOrder.Response.STORE_UNAVAILABLE,
    Result.UNREADABLE: SubmitOrder.Response.STORE_UNAVAILABLE,
}
_CANCEL_RESULTS = {
    Result.ALREADY_CANCELLED: CancelOrder.Response.ALREADY_REQUESTED,
    Result.NOT_FOUND: CancelOrder.Response.NOT_FOUND,
    Result.TOO_LATE: CancelOrder.Response.TOO_LATE,
    Result.STORE_UNAVAILABLE: CancelOrder.Response.STORE_UNAVAILABLE,
    Result.UNREADABLE: CancelOrder.Response.STORE_UNAVAILABLE,
}


class OrderServices:
    """Callbacks of the two services. They block until the store answers, for a bounded time."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def submit(self, request: SubmitOrder.Request, response: SubmitOrder.Response) -> SubmitOrder.Response:
        """Accept an order."""
        answer = self._intake.accept(messages.order_document(request.order, request.message_id), SOURCE)
        response.result = _SUBMIT_RESULTS[answer.result]
        response.message_id = answer.message_id
        response.order_id = request.order.order_id
        response.field = messages.message_field(answer.field)
        response.reason = answer.reason
        response.retry_after_s = answer.retry_after_s
        return response

    def cancel(self, request: CancelOrder.Request, response: CancelOrder.Response) -> CancelOrder.Response:
        """Record the request to cancel an order."""
        answer = self._intake.cancel(request.id, SOURCE)
        if answer.result is Result.CANCEL_REQUESTED:
            asked_before = CancelOrder.Response.ALREADY_REQUESTED
            response.result = asked_before if answer.repeated else CancelOrder.Response.REQUESTED
        else:
            response.result = _CANCEL_RESULTS[answer.result]
        response.message_id = answer.message_id
        response.reason = answer.reason
        return response
