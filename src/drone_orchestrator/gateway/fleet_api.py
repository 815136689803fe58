"""The requests about the fleet and about the gateway itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from ..core.admission import canonical_id
from ..telemetry.metrics import CONTENT_TYPE
from . import docs_page, schemas
from .handover import check_operator
from .problems import Problem
from .request_bodies import refuse_unknown_parameters
from .state import state_of
from .streams import revision_of

_EVENTS = """Events: `saga` (a step of an order), `leader` (a change of leader), `fleet` (the body of `GET /fleet`, at
most twice a second), `reset` (events since the given id are no longer available, or the client is too slow: load
everything again). The id is the store's revision. A client that reconnects with it in `Last-Event-ID` misses nothing,
at any gateway of the region. Of events at the same revision only the last has an id, so the others may arrive twice:
tell an order's events apart by `sequence`."""

router = APIRouter()


@router.get(
    "/fleet",
    summary="Show the leader, the drones, the alerts and how many orders are in each state.",
    description="The stored state, merged with the drones' own reports. Served from a copy that follows the "
    "store; stale_s is its age, heard_s the age of a drone's report.",
    responses={
        200: schemas.answer("The fleet.", schemas.FLEET),
        503: schemas.problem("The store was not reached since the gateway started.", 503),
    },
)
def fleet(request: Request) -> Response:
    return JSONResponse(state_of(request).fleet_body())


@router.get(
    "/events",
    summary="Follow events as they happen: server-sent events.",
    description=_EVENTS,
    response_class=Response,
    responses={
        200: schemas.text("A stream without an end.", "text/event-stream", schemas.EVENTS_EXAMPLE),
        422: schemas.problem("The id to resume from did not come from this stream.", 422),
        503: schemas.problem("Too many streams are open: try again after Retry-After seconds.", 503),
    },
)
async def events(
    request: Request,
    last_event_id: Annotated[
        str | None, Query(description="Resume after this event; for clients that cannot set Last-Event-ID.")
    ] = None,
    message_id: Annotated[str, Query(max_length=128, description="Only the events of this order.")] = "",
) -> Response:
    refuse_unknown_parameters(request, "last_event_id", "message_id")
    after = revision_of(request.headers.get("last-event-id"), last_event_id)
    return state_of(request).streams.response(after, canonical_id(message_id))


@router.post(
    "/leader/handover",
    status_code=202,
    summary="Make the leader hand over to a standby.",
    description="For operators: requires the gateway's operator_token, or a request from the gateway's own machine if "
    "it has none. Answered when the old leader has stepped down; it becomes a standby again later. GET /events shows "
    "the new leader.",
    openapi_extra={"security": [{}, {"operator": []}]},
    responses={
        202: schemas.answer("The leader with this epoch has stepped down.", schemas.HANDOVER),
        403: schemas.problem("Not an operator.", 403),
        409: schemas.problem("There is no leader, or a handover is under way already.", 409),
        503: schemas.problem("The leader cannot be reached, or the store was not reached yet.", 503),
    },
)
async def hand_over(request: Request) -> Response:
    gateway = state_of(request)
    check_operator(request, gateway.settings.operator_token)
    holder, epoch = await gateway.hand_over()
    return JSONResponse({"holder": holder, "epoch": epoch}, 202)


@router.get("/healthz", summary="Liveness probe.", responses={200: schemas.answer("Alive.", schemas.STATE)})
async def healthz() -> Response:
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Readiness probe: can orders be accepted?",
    responses={
        200: schemas.answer("Ready.", schemas.STATE),
        503: schemas.problem("Not ready; reasons says why.", 503),
    },
)
def readyz(request: Request) -> Response:
    reasons = state_of(request).not_ready()
    if reasons:
        detail = "; ".join(f"{part}: {why}" for part, why in reasons.items())
        raise Problem(503, "not_ready", detail, retry_after_s=1.0, more={"reasons": reasons})
    return JSONResponse({"status": "ready"})


@router.get(
    "/metrics",
    summary="Prometheus metrics.",
    response_class=Response,
    responses={200: schemas.text("The metrics.", "text/plain", schemas.METRICS_EXAMPLE)},
)
def metrics(request: Request) -> Response:
    return Response(state_of(request).parts.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> Response:
    return HTMLResponse(docs_page.render(request.app.openapi()), headers=docs_page.HEADERS)
