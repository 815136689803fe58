"""One span per HTTP request, in the client's trace if it has begun one (W3C ``traceparent``)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..telemetry.tracing import Tracer

#: Paths that are requested all the time, which are not worth a trace.
QUIET_PATHS = frozenset({"/metrics", "/healthz", "/readyz", "/events"})
QUIET_PREFIXES = ("/static/", "/assets/")


class TraceRequests:
    """ASGI middleware that traces requests. Add it only if ``tracer`` is enabled."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path in QUIET_PATHS or path.startswith(QUIET_PREFIXES):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        attributes = {"http.request.method": scope["method"], "url.path": path}
        status = 500

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracer.request(scope["method"], parent, attributes) as request:
            try:
                await self._app(scope, receive, noting_status)
            finally:
                if request is not None:
                    # Named by the route, not by the path: there should be few names of spans.
                    route = getattr(scope.get("route"), "path", "")
                    request.finish(f"{scope['method']} {route}".rstrip(), status)
