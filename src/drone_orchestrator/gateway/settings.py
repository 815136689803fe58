"""Limits of the HTTP interface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Limits of one gateway. ``rate_limit_per_s`` 0.0 means no limit; see :mod:`.rate_limit`."""

    max_body_bytes: int = 64 * 1024
    body_timeout_s: float = 10.0
    store_threads: int = 16
    max_waiting: int = 256
    probe_interval_s: float = 1.0
    max_streams: int = 64
    rate_limit_per_s: float = 0.0
    rate_limit_burst: int = 1000
    client_key_header: str = ""
    operator_token: str = ""
