"""How fast one client may ask, before anything else is done for its request.

Each client has a bucket of tokens. A request takes one. One that is refused for the client's own fault (4xx) takes
twenty, and so does one that is turned away because the bucket is empty: whoever goes on regardless stays turned away
until it slows down. Being turned away is said late, not at once. That holds a flood up at its source, since a client of
HTTP/1.1 waits for an answer before its next request, and so costs next to nothing here.

A client is its address, or what a header says where the operator trusts one (a key that a proxy has checked, or
``X-Forwarded-For`` of a proxy in front). The table of clients is bounded; the one that has been quiet for longest makes
room, and begins with a full bucket when it comes again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..intake.token_bucket import TokenBucket
from .problems import Problem

#: Clients remembered at most, some 300 bytes each.
MAX_CLIENTS = 4096
#: What supervisors and Prometheus ask, however often the same address asks for other things.
EXEMPT = frozenset({"/healthz", "/readyz", "/metrics"})
#: Tokens that a request takes which was refused for the client's own fault.
FAULT_TOKENS = 20.0
#: How late (s) at most a client is told that it was turned away, and how many are kept waiting so at a time.
HOLD_S = 1.0
MAX_HELD = 1024
_MAX_KEY_BYTES = 256


class Clients:
    """The bounded table of clients. For one event loop: it takes no lock."""

    def __init__(
        self,
        rate_per_s: float,
        burst: int,
        key_header: str = "",
        max_clients: int = MAX_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rate_per_s`` lasting and ``burst`` at once; 0.0: without a limit. ``key_header``: says who asks."""
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._key_header = key_header.lower().encode("latin-1")
        self._max_clients = max_clients
        self._clock = clock
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    def now_s(self) -> float:
        return self._clock()

    def bucket(self, scope: Scope) -> TokenBucket:
        """The bucket of the client that makes the request of ``scope``."""
        if self._key_header:
            for name, value in scope["headers"]:
                if name == self._key_header:
                    return self._bucket(b"k" + bytes(value[:_MAX_KEY_BYTES]))
        client = scope.get("client")
        return self._bucket(b"a" + (client[0].encode() if client else b""))

    def shut_out(self, address: str) -> bool:
        """Whether a connection from ``address`` is not worth taking: it has been turned away again and again, and goes
        on. Says no where clients are told apart by a header, since many may share an address then."""
        if self.rate_per_s <= 0.0 or self._key_header:
            return False
        bucket = self._buckets.get(b"a" + address.encode())
        if bucket is None or bucket.wait_s(self._clock()) * self.rate_per_s < self.burst / 4.0:
            return False
        bucket.charge(FAULT_TOKENS)
        return True

    def _bucket(self, key: bytes) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self.rate_per_s, self.burst, self._clock())
            if len(self._buckets) > self._max_clients:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket


class RateLimit:
    """ASGI middleware: turns away clients of ``clients`` whose buckets are empty, ``hold_s`` late at most."""

    def __init__(self, app: ASGIApp, *, clients: Clients, hold_s: float = HOLD_S) -> None:
        self._app = app
        self._clients = clients
        self._hold_s = hold_s
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._clients.rate_per_s <= 0.0 or scope["path"] in EXEMPT:
            await self._app(scope, receive, send)
            return
        bucket = self._clients.bucket(scope)
        wait_s = bucket.take(self._clients.now_s())
        if wait_s > 0.0:
            bucket.charge(FAULT_TOKENS)
            await self._turn_away(wait_s, scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and 400 <= message["status"] < 500:
                bucket.charge(FAULT_TOKENS - 1.0)
            await send(message)

        await self._app(scope, receive, watched)

    async def _turn_away(self, wait_s: float, scope: Scope, receive: Receive, send: Send) -> None:
        if self._held < MAX_HELD:
            self._held += 1
            try:
                await anyio.sleep(min(wait_s, self._hold_s))
            finally:
                self._held -= 1
        detail = f"One client may ask {self._clients.rate_per_s:g} times a second, {self._clients.burst} times at once."
        await Problem(429, "rate_limited", detail, retry_after_s=wait_s).response()(scope, receive, send)
