"""The HTTP interface: what each request does, and how errors look.

The store's calls block, so they run on threads, at most ``store_threads`` at a time; past ``max_waiting`` requests in
line a further one is turned away at once, because a queue that nobody sees the end of helps nobody. Orders of one drone
class get three quarters of that line at most, so that a flood of them leaves room for the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..core.types import FleetSpec, SagaStatus
from ..core.view import FleetView
from ..ports import StoreError
from ..runtime.breaker import FAILURES
from ..runtime.projection import Freshness, Projection
from ..telemetry.metrics import CONTENT_TYPE, Metrics
from . import docs_page, representation, schemas
from .documents import parse_object
from .intake import Answer, Intake, Result
from .problems import Problem

T = TypeVar("T")

log = logging.getLogger(__name__)

SOURCE = "http"
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Bounds of the HTTP interface."""

    max_body_bytes: int = 64 * 1024
    body_timeout_s: float = 10.0
    store_threads: int = 16
    max_waiting: int = 256
    probe_interval_s: float = 1.0


def create_app(
    intake: Intake, projection: Projection, fleet: FleetSpec, metrics: Metrics, settings: GatewaySettings
) -> FastAPI:
    """The application. The caller starts and closes ``projection``."""
    app = FastAPI(
        title="Drone orchestrator: orders",
        description=f"Hand in, follow and cancel delivery orders of the region {fleet.region}.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    gateway = _Gateway(intake, projection, fleet, metrics, settings)
    _add_orders(app, gateway)
    _add_operations(app, gateway)
    _add_error_handlers(app)
    return app


class _Gateway:
    """What the requests share."""

    def __init__(
        self, intake: Intake, projection: Projection, fleet: FleetSpec, metrics: Metrics, settings: GatewaySettings
    ) -> None:
        self.intake = intake
        self.projection = projection
        self.fleet = fleet
        self.metrics = metrics
        self.settings = settings
        self.probe = _StoreProbe(intake, settings.probe_interval_s)
        self._threads = anyio.CapacityLimiter(settings.store_threads)
        # Requests on a thread or waiting for one, and orders among them by class; only the event loop touches these.
        self._in_line = 0
        self._orders_in_line: Counter[str] = Counter()

    async def accept(self, document: dict[str, Any], key: str | None) -> Answer:
        """``Intake.accept`` on a thread, as :meth:`on_thread`; a class may take up three quarters of the line."""
        named = document.get("drone_class")
        lane = named if isinstance(named, str) and self.fleet.drone_class(named) else ""
        line = self.settings.store_threads + self.settings.max_waiting
        if self._orders_in_line[lane] >= line - line // 4:
            detail = f"Too many orders for {lane or 'no class in particular'} wait for the store."
            raise Problem(503, "overloaded", detail, retry_after_s=1.0)
        self._orders_in_line[lane] += 1
        try:
            return await self.on_thread(lambda: self.intake.accept(document, SOURCE, key))
        finally:
            self._orders_in_line[lane] -= 1

    async def on_thread(self, call: Callable[[], T]) -> T:
        """``call()`` on a thread; a :class:`Problem` where too many wait already, or where the store is away."""
        if self._in_line >= self.settings.store_threads + self.settings.max_waiting:
            raise Problem(503, "overloaded", "Too many requests wait for the store.", retry_after_s=1.0)
        self._in_line += 1
        try:
            return await anyio.to_thread.run_sync(call, limiter=self._threads)
        except FAILURES as error:
            retry_after_s = self.intake.breaker.reset_s
            detail = f"The store cannot be reached: {error}"
            raise Problem(503, "store_unavailable", detail, retry_after_s=retry_after_s) from error
        except StoreError as error:
            log.error("asking the store again will not help: %s", error)
            raise Problem(500, "unreadable", str(error)) from error
        finally:
            self._in_line -= 1

    def read(self, select: Callable[[FleetView], T]) -> tuple[T, Freshness]:
        """What the projection shows; a :class:`Problem` where it has never been loaded: nothing is not an answer."""
        selected, freshness = self.projection.read(select)
        if not freshness.loaded:
            raise Problem(503, "not_loaded", "The store was not reached yet.", retry_after_s=1.0)
        return selected, freshness

    async def read_order(self, request: Request) -> dict[str, Any]:
        """The JSON object of the body; a refusal counts as an invalid order."""
        try:
            _check_content_type(request)
            return parse_object(await self._read_body(request))
        except Problem:
            self.intake.count(Answer(Result.INVALID), SOURCE)
            raise

    async def _read_body(self, request: Request) -> bytes:
        limit = self.settings.max_body_bytes
        too_large = Problem(413, "body_too_large", f"The body may have {limit} bytes at most.")
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            raise too_large
        body = bytearray()
        try:
            with anyio.fail_after(self.settings.body_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            raise Problem(408, "body_too_slow", "The body did not arrive in time.") from None
        return bytes(body)


class _StoreProbe:
    """Asks the store for a sign of life at most once in a while, however many ask for the answer."""

    def __init__(self, intake: Intake, interval_s: float) -> None:
        self._intake = intake
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._asked_at_s = float("-inf")
        self._reason = ""

    def reason(self) -> str:
        """Why the store cannot be used, ``""`` if it can. Blocks for the store's deadline at most."""
        with self._lock:
            if time.monotonic() - self._asked_at_s >= self._interval_s:
                try:
                    self._intake.check_store()
                    self._reason = ""
                except StoreError as error:
                    self._reason = str(error) or type(error).__name__
                self._asked_at_s = time.monotonic()
            return self._reason


def _add_orders(app: FastAPI, gateway: _Gateway) -> None:
    @app.post(
        "/orders",
        status_code=202,
        summary="Hand in an order.",
        description="Idempotent by message_id (or the header Idempotency-Key), else by order_id: after a lost answer "
        "repeat the same request. Accepted means committed, whether or not anybody is there to carry it out yet.",
        openapi_extra=_ORDER_BODY,
        responses={
            202: schemas.answer("Committed now.", schemas.ACCEPTED),
            200: schemas.answer("The same order was committed before.", schemas.ACCEPTED),
            409: schemas.problem("The id belongs to an order with another content."),
            413: schemas.problem("The body is too large."),
            415: schemas.problem("The body is not declared as application/json."),
            422: schemas.problem("A rule is broken; field names where."),
            429: schemas.problem(
                "The lane of the order's drone class is full (lane_full) or takes no more at this speed (lane_rate). "
                "Nothing was written: repeat the same request after Retry-After seconds. Other lanes are not concerned."
            ),
            503: schemas.problem("The store is away: repeat the same request after Retry-After seconds."),
        },
    )
    async def submit(request: Request) -> Response:
        document = await gateway.read_order(request)
        key = _unquoted(request.headers.get("idempotency-key"))
        answer = await gateway.accept(document, key)
        if answer.result not in (Result.ACCEPTED, Result.ALREADY_ACCEPTED):
            raise _refusal(answer)
        body = {"message_id": answer.message_id, "order_id": answer.order_id, "status": answer.status.value}
        status = 202 if answer.result is Result.ACCEPTED else 200
        return JSONResponse(body, status, headers={"Location": f"/orders/{answer.message_id}"})

    @app.get(
        "/orders/{id}",
        summary="One order, as the store has it now.",
        responses={
            200: schemas.answer("The order.", schemas.ORDER),
            404: schemas.problem("There is no such order."),
            503: schemas.problem("The store is away."),
        },
    )
    async def show(id: str) -> Response:
        view = await gateway.on_thread(lambda: gateway.intake.find(id))
        if view is None:
            raise Problem(404, "not_found", f"there is no order {id}")
        return JSONResponse(representation.order_json(view))

    @app.get(
        "/orders",
        summary="All orders, oldest first, page by page.",
        description="Served from a copy that follows the store by milliseconds and outlives it; stale_s says how old "
        "it is. Only GET /orders/{id} is sure to show an order that was accepted just now.",
        responses={
            200: schemas.answer("A page.", schemas.ORDER_LIST),
            422: schemas.problem("A parameter is wrong; field names it."),
            503: schemas.problem("The store was not reached since the gateway started."),
        },
    )
    async def list_orders(
        request: Request,
        status: Annotated[list[SagaStatus] | None, Query(description="Only these; may be repeated.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Orders per page.")] = 100,
        cursor: Annotated[str | None, Query(max_length=512, description="next_cursor of the page before.")] = None,
    ) -> Response:
        _refuse_unknown_parameters(request, "status", "limit", "cursor")
        after = representation.decode_cursor(cursor) if cursor else None
        select = representation.select_orders(status or (), after, limit)

        def page() -> dict[str, Any]:
            found, freshness = gateway.read(select)
            return representation.page_json(found, limit, freshness)

        return JSONResponse(await gateway.on_thread(page))

    @app.delete(
        "/orders/{id}",
        status_code=202,
        summary="Cancel an order.",
        description="Puts the wish on record. A drone that has the package already brings it back. May be repeated.",
        responses={
            202: schemas.answer("The wish is on record.", schemas.CANCELLATION),
            200: schemas.answer("The order is cancelled.", schemas.CANCELLATION),
            404: schemas.problem("There is no such order."),
            409: schemas.problem("The order is delivered or has failed."),
            503: schemas.problem("The store is away: repeat after Retry-After seconds."),
        },
    )
    async def cancel(id: str) -> Response:
        answer = await gateway.on_thread(lambda: gateway.intake.cancel(id, SOURCE))
        if answer.result not in (Result.CANCEL_REQUESTED, Result.ALREADY_CANCELLED):
            raise _refusal(answer)
        body = {
            "message_id": answer.message_id,
            "order_id": answer.order_id,
            "status": answer.status.value,
            "cancel_requested": True,
        }
        return JSONResponse(body, 202 if answer.result is Result.CANCEL_REQUESTED else 200)


def _add_operations(app: FastAPI, gateway: _Gateway) -> None:
    @app.get(
        "/fleet",
        summary="Who leads, which drones are taken, how many orders stand where.",
        responses={
            200: schemas.answer("The fleet as the store has it.", schemas.FLEET),
            503: schemas.problem("The store was not reached since the gateway started."),
        },
    )
    def fleet() -> Response:
        body, freshness = gateway.read(representation.fleet_json)
        region = {"region": gateway.fleet.region}
        return JSONResponse({**region, **body, **representation.freshness_json(freshness)})

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


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        detail = f"{request.method} {request.url.path}: {error.detail}"
        code = {404: "no_such_path", 405: "method_not_allowed"}.get(error.status_code, f"http_{error.status_code}")
        return Problem(error.status_code, code, detail, headers=error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def parameter(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = next((str(part) for part in first["loc"][1:]), "")
        return Problem(422, "bad_parameter", first["msg"], field=name).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Problem(400, "client_gone", "The client left before it had sent its request.").response()

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> Response:
        # The server logs the exception with its traceback after this answer.
        return Problem(500, "internal_error", "An error of the gateway; it is in its log.").response()


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


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "not_json", "Send the order with Content-Type: application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "encoded", "Send the order without Content-Encoding.")


def _unquoted(key: str | None) -> str | None:
    """The draft standard of the header wants quotes around the key, and most clients leave them out."""
    if key is not None and len(key) > 2 and key[0] == key[-1] == '"':
        return key[1:-1]
    return key


def _refuse_unknown_parameters(request: Request, *known: str) -> None:
    """A misspelt filter would otherwise give everything, and look like an answer."""
    for name in request.query_params:
        if name not in known:
            raise Problem(422, "unknown_parameter", f"known are {', '.join(known)}", field=name)


_ORDER_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string"},
            "description": "Stands for message_id where the body has none; if both are there they must agree.",
        }
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": schemas.ORDER_REQUEST}}},
}
