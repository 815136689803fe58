"""How fast one client may ask: a token bucket each, before anything else is done for its request.

A client is its address, or what a header says where the operator trusts one (a key that a proxy has checked, or
``X-Forwarded-For`` of a proxy in front). The table of clients is bounded; the one that has been quiet for longest makes
room, and begins with a full bucket when it comes again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from .bulkheads import TokenBucket
from .problems import Problem

#: Clients remembered at most, some 300 bytes each.
MAX_CLIENTS = 4096
#: What supervisors and Prometheus ask, however often the same address asks for other things.
EXEMPT = frozenset({"/healthz", "/readyz", "/metrics"})
_MAX_KEY_BYTES = 256


class RateLimit:
    """ASGI middleware. For one event loop: it takes no lock."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        rate_per_s: float,
        burst: int,
        key_header: str = "",
        max_clients: int = MAX_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rate_per_s`` lasting and ``burst`` at once; 0.0: without a limit. ``key_header``: says who asks."""
        self._app = app
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._key_header = key_header.lower().encode("latin-1")
        self._max_clients = max_clients
        self._clock = clock
        self._clients: OrderedDict[bytes, TokenBucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._rate_per_s > 0.0 and scope["path"] not in EXEMPT:
            wait_s = self._take(self._key(scope))
            if wait_s > 0.0:
                detail = f"One client may ask {self._rate_per_s:g} times a second, {self._burst} times at once."
                response = Problem(429, "rate_limited", detail, retry_after_s=wait_s).response()
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._clients)

    def _key(self, scope: Scope) -> bytes:
        if self._key_header:
            for name, value in scope["headers"]:
                if name == self._key_header:
                    return b"k" + bytes(value[:_MAX_KEY_BYTES])
        client = scope.get("client")
        return b"a" + (client[0].encode() if client else b"")

    def _take(self, key: bytes) -> float:
        now_s = self._clock()
        bucket = self._clients.get(key)
        if bucket is None:
            bucket = self._clients[key] = TokenBucket(self._rate_per_s, self._burst, now_s)
            if len(self._clients) > self._max_clients:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(key)
        return bucket.take(now_s)
