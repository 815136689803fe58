"""Request rate limit per client, checked before anything else is done for a request.

Each client has a token bucket. A request takes one token. A request that fails by the client's fault (4xx) takes
twenty, and so does one that is rejected because the bucket is empty: a client that does not slow down stays rejected.
Rejections are delayed. That holds back a flood at its source and costs the gateway almost nothing, since a client of
HTTP/1.1 waits for the answer before its next request.

A client is identified by its address, or by a header if the operator trusts one (a key that a proxy has checked, or
``X-Forwarded-For`` of a proxy in front). The table of clients is bounded. The client that has been quiet longest is
dropped first, and starts with a full bucket when it returns.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..intake.token_bucket import TokenBucket
from .problems import Problem

#: Most clients in the table, about 300 bytes each.
MAX_CLIENTS = 4096
#: Paths without a limit, for supervisors and Prometheus.
EXEMPT = frozenset({"/healthz", "/readyz", "/metrics"})
#: Tokens taken by a request that fails by the client's fault.
FAULT_TOKENS = 20.0
#: Longest delay (s) of a rejection, and most rejections delayed at a time.
HOLD_S = 1.0
MAX_HELD = 1024
_MAX_KEY_BYTES = 256


class Clients:
    """The bounded table of clients. Only one event loop may use it: there is no lock."""

    def __init__(
        self,
        rate_per_s: float,
        burst: int,
        key_header: str = "",
        max_clients: int = MAX_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rate_per_s`` is the sustained rate, 0.0 for no limit. ``key_header`` identifies a client."""
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._key_header = key_header.lower().encode("latin-1")
        self._max_clients = max_clients
        self._clock = clock
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of clients in the table."""
        return len(self._buckets)

    def now_s(self) -> float:
        return self._clock()

    def bucket(self, scope: Scope) -> TokenBucket:
        """Return the bucket of the client that sent the request of ``scope``."""
        if self._key_header:
            for name, value in scope["headers"]:
                if name == self._key_header:
                    return self._bucket(b"k" + bytes(value[:_MAX_KEY_BYTES]))
        client = scope.get("client")
        return self._bucket(b"a" + (client[0].encode() if client else b""))

    def shut_out(self, address: str) -> bool:
        """Return whether to drop a connection from ``address``, because its client ignores many rejections.

        Never if a header identifies the clients: many of them may then share an address.
        """
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
    """ASGI middleware that rejects clients with an empty bucket, delayed by ``hold_s`` at most."""

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
            await self._reject(wait_s, scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and 400 <= message["status"] < 500:
                bucket.charge(FAULT_TOKENS - 1.0)
            await send(message)

        await self._app(scope, receive, watched)

    async def _reject(self, wait_s: float, scope: Scope, receive: Receive, send: Send) -> None:
        if self._held < MAX_HELD:
            self._held += 1
            try:
                await anyio.sleep(min(wait_s, self._hold_s))
            finally:
                self._held -= 1
        detail = f"A client may send {self._clients.rate_per_s:g} requests per second, {self._clients.burst} at once."
        await Problem(429, "rate_limited", detail, retry_after_s=wait_s).response()(scope, receive, send)
