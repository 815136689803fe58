"""Leadership handover, for operators only."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import threading
import time
from itertools import count
from typing import Protocol
from urllib.parse import urlsplit

from fastapi import Request

from ..runtime.loops import Loop, describe
from ..runtime.projection import Projection
from .problems import Problem

log = logging.getLogger(__name__)

#: Longest wait (s) for a successor before the old leader is told to campaign again in any case.
SUCCESSOR_WITHIN_S = 30.0
#: Most attempts to tell it, with growing pauses.
MAX_ATTEMPTS = 8
_POLL_S = 0.02


class LeaderUnreachable(Exception):
    """The leading orchestrator did not answer in time."""


class LeaderControl(Protocol):
    """Control of the orchestrators' lifecycle. Thread-safe; both calls block for a few seconds at most."""

    def deactivate(self, holder: str) -> bool:
        """Make ``holder`` hand over, and return whether it did. Raises :class:`LeaderUnreachable`."""

    def activate(self, holder: str) -> None:
        """Tell ``holder`` to campaign again. Raises :class:`LeaderUnreachable`."""


class Handover:
    """Makes the leader of the region hand over and become a standby afterwards. Thread-safe."""

    def __init__(self, projection: Projection, control: LeaderControl, within_s: float = SUCCESSOR_WITHIN_S) -> None:
        self._projection = projection
        self._control = control
        self._within_s = within_s
        self._lock = threading.Lock()
        self._aftercare: Loop | None = None

    def begin(self) -> tuple[str, int]:
        """Make the leader step down, and return its name and epoch. Blocks until then. Raises :class:`Problem`.

        A separate thread waits for the successor and then lets the old leader campaign again.
        """
        if not self._lock.acquire(blocking=False):
            raise Problem(409, "handover_under_way", "A handover is under way already.", retry_after_s=1.0)
        handed_over = False
        try:
            if not self._projection.freshness().loaded:
                raise Problem(503, "not_loaded", "The store was not reached yet.", retry_after_s=1.0)
            holder, epoch = self._leader()
            if not holder:
                raise Problem(409, "no_leader", "There is no leader to hand over.")
            try:
                stepped_down = self._control.deactivate(holder)
            except LeaderUnreachable as error:
                raise Problem(503, "leader_unreachable", str(error), retry_after_s=5.0) from error
            if not stepped_down:
                raise Problem(503, "leader_refused", f"{holder} did not step down; see its log.", retry_after_s=5.0)
            log.info("asked %s to hand over", holder)
            self._aftercare = self._look_after(holder, epoch)
            self._aftercare.start()
            handed_over = True
            return holder, epoch
        finally:
            if not handed_over:
                self._lock.release()

    def close(self) -> None:
        """Finish a handover under way without waiting for the successor."""
        if self._aftercare is not None:
            self._aftercare.close()

    def _look_after(self, holder: str, epoch: int) -> Loop:
        """Return a loop that lets the old leader campaign again, even without a successor: it may be the only one."""
        until_s = time.monotonic() + self._within_s
        attempts = count(1)

        def step() -> bool:
            while time.monotonic() < until_s and self._leader()[1] in (0, epoch) and not loop.pause(_POLL_S):
                pass
            try:
                self._control.activate(holder)
            except Exception as error:
                if next(attempts) < MAX_ATTEMPTS and not loop.closing:
                    raise
                log.error("%s handed over and could not be told to campaign again: %s", holder, describe(error))
            else:
                log.info("%s handed over and campaigns again", holder)
            self._lock.release()
            return True

        loop = Loop("handover", step, expected=(LeaderUnreachable,))
        return loop

    def _leader(self) -> tuple[str, int]:
        """Return the leader's name and epoch; an empty name and 0 if there is no leader."""
        leader, _ = self._projection.read(lambda view: view.leadership)
        return (leader.holder, leader.epoch) if leader is not None else ("", 0)


def check_operator(request: Request, token: str) -> None:
    """Raise :class:`Problem` unless an operator asks.

    With a ``token``, an operator sends it as ``Authorization: Bearer``. Without, every request from this machine that
    did not pass a proxy comes from an operator. A page of another site in the operator's browser is always refused.
    """
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Problem(403, "cross_origin", "Refused for a page of another site.")
    if token:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise Problem(403, "operator_only", "Give the operator's token: Authorization: Bearer …")
        return
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
    here = request.client is not None and _is_loopback(request.client.host)
    # The name counts, too: a site can point its own name at this machine, and its page then sends requests from here.
    if forwarded or not here or not _is_loopback(urlsplit(f"//{host}").hostname or ""):
        detail = "Only from the gateway's own machine, unless the gateway has an operator_token."
        raise Problem(403, "operator_only", detail)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
