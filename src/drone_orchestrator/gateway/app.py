"""The HTTP application: routes, middleware and error handlers."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from . import fleet_api, orders_api
from .dashboard import FOLDER, add_dashboard
from .head import HeadRequests
from .headers import SecurityHeaders
from .openapi import describe
from .problems import Problem
from .rate_limit import Clients, RateLimit
from .state import GatewayParts, GatewayState


def create_app(parts: GatewayParts, dashboard: Path = FOLDER) -> FastAPI:
    """Create the application. The caller starts and closes ``parts.projection``.

    ``app.state.clients`` is the table of the rate limit. ``app.state.close()`` (thread-safe) ends long requests: event
    streams, a handover.
    """
    app = FastAPI(
        title="Drone orchestrator: orders",
        description=f"Submit, follow and cancel delivery orders of the region {parts.fleet.region}.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    state = GatewayState(parts)
    app.state.gateway = state
    app.state.close = state.close
    # Not by include_router: its second look-up of each request takes 4 % of the CPU time of an order.
    app.router.routes.extend([*orders_api.router.routes, *fleet_api.router.routes])
    add_dashboard(app, dashboard)
    _add_error_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(HeadRequests)
    settings = parts.settings
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
            headers["Allow"] = "GET, HEAD"  # HeadRequests answers HEAD
        return Problem(error.status_code, code, detail, headers=headers).response()

    @app.exception_handler(RequestValidationError)
    async def parameter(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = next((str(part) for part in first["loc"][1:]), "")
        return Problem(422, "bad_parameter", first["msg"], field=name).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Problem(400, "client_gone", "The client disconnected before it had sent its request.").response()

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> Response:
        # The server logs the exception with its traceback after this answer.
        return Problem(500, "internal_error", "Internal error of the gateway; see its log.").response()
