"""The requests about the fleet and about the gateway itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from ..telemetry.metrics import CONTENT_TYPE
from . import docs_page, schemas
from .problems import Problem
from .service import Service, refuse_unknown_parameters
from .streams import revision_of

_EVENTS = """Events: `saga` (a step of an order), `leader` (who leads now), `fleet` (the body of `GET /fleet`, at most
twice a second), `reset` (what happened since the given id is not known any more, or the client is too slow: load
everything anew). The id is the store's revision; a client that comes back with it in `Last-Event-ID` misses nothing, at
any gateway of the region. Of events that happened together only the last has an id, so the others may come twice: an
order's events are told apart by `sequence`."""


def add_operations(app: FastAPI, gateway: Service) -> None:
    @app.get(
        "/fleet",
        summary="Who leads, where the drones are, what is wrong, how many orders stand where.",
        description="What the store knows, with what the drones say of themselves laid over it. Served from a copy "
        "that follows the store; stale_s says how old it is, heard_s how old a drone's own word.",
        responses={
            200: schemas.answer("The fleet.", schemas.FLEET),
            503: schemas.problem("The store was not reached since the gateway started."),
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
            200: schemas.event_stream("A stream that does not end by itself."),
            422: schemas.problem("The id to resume from is not one that this stream gave."),
            503: schemas.problem("Too many streams are open; try another gateway, or again after Retry-After seconds."),
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
        return gateway.streams.response(after, message_id)

    @app.get("/healthz", summary="Whether the process lives.")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        summary="Whether orders can be taken in.",
        responses={503: schemas.problem("Not now; reasons says why.")},
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

    @app.get("/metrics", summary="Prometheus metrics.")
    def metrics() -> Response:
        return Response(gateway.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return HTMLResponse(docs_page.render(app.openapi()))
