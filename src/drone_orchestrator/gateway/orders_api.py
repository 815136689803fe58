"""The requests about orders: submit, show, list, cancel."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from ..core.types import SagaStatus
from ..intake.answers import Answer, Result
from . import representation, schemas
from .feed import saga_event_json
from .problems import Problem
from .request_bodies import read_object, refuse_unknown_parameters
from .request_queue import SOURCE
from .state import GatewayState, state_of

MAX_PAGE = 1000

_ORDER_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string"},
            "description": "Used as message_id if the body has none. If both are given they must agree.",
        }
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": schemas.ORDER_REQUEST}}},
}

router = APIRouter()


@router.post(
    "/orders",
    status_code=202,
    summary="Submit an order.",
    description="Idempotent by message_id (or the header Idempotency-Key), else by order_id: if the answer is lost, "
    "repeat the same request. Accepted means committed, whether or not a leader or a drone is available yet.",
    openapi_extra=_ORDER_BODY,
    responses={
        202: schemas.answer("Committed now.", schemas.ACCEPTED),
        200: schemas.answer("The same order was committed before.", schemas.ACCEPTED),
        409: schemas.problem("The id belongs to an order with different content.", 409),
        413: schemas.problem("The body is too large.", 413),
        415: schemas.problem("The body is not declared as application/json.", 415),
        422: schemas.problem("The order breaks a rule; field says which part.", 422),
        429: schemas.problem(
            "lane_full: the lane of the order's drone class is full. lane_rate: the lane takes no more orders at this "
            "rate. Nothing was written: repeat the same request after Retry-After seconds. Other lanes are not "
            "affected. rate_limited: this client sends too many requests.",
            429,
        ),
        503: schemas.problem("The store is unavailable: repeat the same request after Retry-After seconds.", 503),
    },
)
async def submit(request: Request) -> Response:
    gateway = state_of(request)
    document = await _read_order(request, gateway)
    key = _unquoted(request.headers.get("idempotency-key"))
    answer = await gateway.queue.accept(document, key)
    if answer.result not in (Result.ACCEPTED, Result.ALREADY_ACCEPTED):
        raise _refusal(answer)
    body = {"message_id": answer.message_id, "order_id": answer.order_id, "status": answer.status.value}
    status = 202 if answer.result is Result.ACCEPTED else 200
    return JSONResponse(body, status, headers={"Location": f"/orders/{answer.message_id}"})


@router.get(
    "/orders/{id}",
    summary="Show one order as stored now.",
    description="While it waits for a drone, waiting says since when and why. The reasons come from the drones that "
    "this gateway hears, and from its copy of the store.",
    responses={
        200: schemas.answer("The order.", schemas.SHOWN_ORDER),
        404: schemas.problem("There is no such order.", 404),
        503: schemas.problem("The store is unavailable.", 503),
    },
)
async def show(request: Request, id: str) -> Response:
    gateway = state_of(request)

    def read() -> dict[str, Any] | None:
        view = gateway.intake.find(id)
        return None if view is None else {**representation.order_json(view), "waiting": gateway.waiting(view)}

    body = await gateway.queue.on_thread(read)
    if body is None:
        raise _not_found(id)
    return JSONResponse(body)


@router.get(
    "/orders/{id}/events",
    summary="Show every step of one order so far.",
    description="Empty until a leader has started on the order. GET /events?message_id= continues from there.",
    responses={
        200: schemas.answer("The steps, oldest first.", schemas.EVENT_LIST),
        404: schemas.problem("There is no such order.", 404),
        503: schemas.problem("The store is unavailable.", 503),
    },
)
async def history(request: Request, id: str) -> Response:
    gateway = state_of(request)

    def read() -> dict[str, Any] | None:
        view = gateway.intake.find(id)
        if view is None:
            return None
        steps = gateway.intake.events(view.order.message_id)
        return {"events": [saga_event_json(step, view.order.order_id) for step in steps]}

    body = await gateway.queue.on_thread(read)
    if body is None:
        raise _not_found(id)
    return JSONResponse(body)


@router.get(
    "/orders",
    summary="List orders, page by page.",
    description="Served from a copy that follows the store within milliseconds and stays available without it; "
    "stale_s is its age. Only GET /orders/{id} is sure to show an order that was accepted just now.",
    responses={
        200: schemas.answer("A page.", schemas.ORDER_LIST),
        422: schemas.problem("A parameter is wrong; field names it.", 422),
        503: schemas.problem("The store was not reached since the gateway started.", 503),
    },
)
async def list_orders(
    request: Request,
    status: Annotated[list[SagaStatus] | None, Query(description="Only these; may be repeated.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Orders per page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=512, description="next_cursor of the previous page.")] = None,
    q: Annotated[str, Query(max_length=128, description="Part of the order_id or of the message_id.")] = "",
    newest: Annotated[bool, Query(description="The newest first.")] = False,
) -> Response:
    refuse_unknown_parameters(request, "status", "limit", "cursor", "q", "newest")
    gateway = state_of(request)
    after = representation.decode_cursor(cursor) if cursor else None
    select = representation.select_orders(status or (), q, after, limit, newest)

    def page() -> dict[str, Any]:
        found, freshness = gateway.read(select)
        return representation.page_json(found, limit, freshness)

    return JSONResponse(await gateway.queue.on_thread(page))


@router.delete(
    "/orders/{id}",
    status_code=202,
    summary="Cancel an order.",
    description="Records the cancellation request. A drone already carrying the package returns it. May be repeated.",
    responses={
        202: schemas.answer("The cancellation request is recorded.", schemas.CANCELLATION),
        200: schemas.answer("The order is cancelled.", schemas.CANCELLATION),
        404: schemas.problem("There is no such order.", 404),
        409: schemas.problem("The order is delivered or has failed.", 409),
        503: schemas.problem("The store is unavailable: repeat after Retry-After seconds.", 503),
    },
)
async def cancel(request: Request, id: str) -> Response:
    gateway = state_of(request)
    answer = await gateway.queue.on_thread(lambda: gateway.intake.cancel(id, SOURCE))
    if answer.result not in (Result.CANCEL_REQUESTED, Result.ALREADY_CANCELLED):
        raise _refusal(answer)
    body = {
        "message_id": answer.message_id,
        "order_id": answer.order_id,
        "status": answer.status.value,
        "cancel_requested": True,
    }
    return JSONResponse(body, 202 if answer.result is Result.CANCEL_REQUESTED else 200)


async def _read_order(request: Request, gateway: GatewayState) -> dict[str, Any]:
    """Read the body; one that cannot be read counts as an invalid order. Raises :class:`Problem`."""
    try:
        return await read_object(request, gateway.settings.max_body_bytes, gateway.settings.body_timeout_s)
    except Problem:
        gateway.intake.count(Answer(Result.INVALID), SOURCE)
        raise


def _refusal(answer: Answer) -> Problem:
    status = {
        Result.CONFLICT: 409,
        Result.TOO_LATE: 409,
        Result.INVALID: 422,
        Result.LANE_FULL: 429,
        Result.NOT_FOUND: 404,
        Result.STORE_UNAVAILABLE: 503,
        Result.UNREADABLE: 500,
    }[answer.result]
    retry_after_s = answer.retry_after_s or None
    return Problem(status, answer.code, answer.reason, field=answer.field, retry_after_s=retry_after_s)


def _not_found(id_: str) -> Problem:
    return Problem(404, "not_found", f"there is no order {id_}")


def _unquoted(key: str | None) -> str | None:
    """Return the key without quotes: the header's draft standard requires them, and most clients omit them."""
    if key is not None and len(key) > 2 and key[0] == key[-1] == '"':
        return key[1:-1]
    return key
