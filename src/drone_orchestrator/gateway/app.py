"""The HTTP interface put together: the requests, and how errors look."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..core.types import FleetSpec
from ..intake.intake import Intake
from ..runtime.projection import Projection
from ..telemetry.metrics import Metrics
from .dashboard import FOLDER, add_dashboard
from .feed import Feed
from .fleet_api import add_operations
from .fleet_document import FleetPicture
from .handover import LeaderControl
from .head import HeadRequests
from .headers import SecurityHeaders
from .openapi import describe
from .orders_api import add_orders
from .problems import Problem
from .rate_limit import Clients, RateLimit
from .request_queue import GatewaySettings, Service

__all__ = ["GatewaySettings", "create_app"]


def create_app(
    intake: Intake,
    projection: Projection,
    fleet: FleetSpec,
    metrics: Metrics,
    settings: GatewaySettings,
    *,
    picture: FleetPicture,
    feed: Feed,
    control: LeaderControl,
    dashboard: Path = FOLDER,
) -> FastAPI:
    """The application. The caller starts and closes ``projection``, whose folds ``feed`` and the picture's are.

    ``app.state.clients`` is the table of the rate limit. ``app.state.close()`` ends, from any thread, what would go on
    for ever or long: streams of events, a handover.
    """
    app = FastAPI(
        title="Drone orchestrator: orders",
        description=f"Hand in, follow and cancel delivery orders of the region {fleet.region}.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    service = Service(intake, projection, fleet, metrics, settings, picture, feed, control)
    app.state.close = service.close
    add_orders(app, service)
    add_operations(app, service)
    add_dashboard(app, dashboard)
    _add_error_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(HeadRequests)
    clients = Clients(settings.rate_limit_per_s, settings.rate_limit_burst, settings.client_key_header)
    app.state.clients = clients
    app.add_middleware(RateLimit, clients=clients)
    app.add_middleware(SecurityHeaders)
    describe(app)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        detail = f"{request.method} {request.url.path}: {error.detail}"
        code = {404: "no_such_path", 405: "method_not_allowed"}.get(error.status_code, f"http_{error.status_code}")
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"  # by HeadRequests
        return Problem(error.status_code, code, detail, headers=headers).response()

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
