"""The requests about the fleet and about the gateway itself."""

from __future__ import annotations

from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from ..core.ids import canonical_id
from ..telemetry.metrics import CONTENT_TYPE
from . import docs_page, schemas
from .handover import check_operator
from .problems import Problem
from .request_queue import Service, refuse_unknown_parameters
from .streams import revision_of

_EVENTS = """Events: `saga` (a step of an order), `leader` (who leads now), `fleet` (the body of `GET /fleet`, at most
twice a second), `reset` (what happened since the given id is not known any more, or the client is too slow: load
everything anew). The id is the store's revision; a client that comes back with it in `Last-Event-ID` misses nothing, at
any gateway of the region. Of events that happened together only the last has an id, so the others may come twice: an
order's events are told apart by `sequence`."""


def add_operations(app: FastAPI, gateway: Service) -> None:
    operators = anyio.CapacityLimiter(2)

    @app.get(
        "/fleet",
        summary="Who leads, where the drones are, what is wrong, how many orders stand where.",
        description="What the store knows, with what the drones say of themselves laid over it. Served from a copy "
        "that follows the store; stale_s says how old it is, heard_s how old a drone's own word.",
        responses={
            200: schemas.answer("The fleet.", schemas.FLEET),
            503: schemas.problem("The store was not reached since the gateway started.", 503),
        },
    )
    def fleet() -> Response:
        return JSONResponse(gateway.fleet_body())

    @app.get(
        "/events",
        summary="What happens, as it happens: server-sent events.",
        description=_EVENTS,
        response_class=Response,
        responses={
            200: schemas.text("A stream that does not end by itself.", "text/event-stream", schemas.EVENTS_EXAMPLE),
            422: schemas.problem("The id to resume from is not one that this stream gave.", 422),
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
        return gateway.streams.response(after, canonical_id(message_id))

    @app.post(
        "/leader/handover",
        status_code=202,
        summary="Make the leader hand over to a standby.",
        description="For operators: with the gateway's operator_token, or from its own machine where it has none. The "
        "old leader has stepped down when this is answered, and stands by again later; GET /events tells who leads.",
        openapi_extra={"security": [{}, {"operator": []}]},
        responses={
            202: schemas.answer("It has stepped down: this one, with this epoch.", schemas.HANDOVER),
            403: schemas.problem("Not an operator.", 403),
            409: schemas.problem("Nobody leads, or a handover is under way already.", 409),
            503: schemas.problem("The leader cannot be reached, or the store was not yet.", 503),
        },
    )
    async def hand_over(request: Request) -> Response:
        check_operator(request, gateway.settings.operator_token)
        holder, epoch = await anyio.to_thread.run_sync(gateway.handover.begin, limiter=operators)
        return JSONResponse({"holder": holder, "epoch": epoch}, 202)

    @app.get(
        "/healthz", summary="Whether the process lives.", responses={200: schemas.answer("It does.", schemas.STATE)}
    )
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        summary="Whether orders can be taken in.",
        responses={
            200: schemas.answer("They can.", schemas.STATE),
            503: schemas.problem("Not now; reasons says why.", 503),
        },
    )
    def readyz() -> Response:
        reasons = {}
        if store := gateway.probe.reason():
            reasons["store"] = store
        if not gateway.projection.freshness().loaded:
            reasons["view"] = "not loaded yet"
        if reasons:
            detail = "; ".join(f"{part}: {why}" for part, why in reasons.items())
            raise Problem(503, "not_ready", detail, retry_after_s=1.0, more={"reasons": reasons})
        return JSONResponse({"status": "ready"})

    @app.get(
        "/metrics",
        summary="Prometheus metrics.",
        response_class=Response,
        responses={200: schemas.text("The metrics.", "text/plain", schemas.METRICS_EXAMPLE)},
    )
    def metrics() -> Response:
        return Response(gateway.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return HTMLResponse(docs_page.render(app.openapi()), headers=docs_page.HEADERS)
