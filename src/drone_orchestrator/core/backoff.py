"""Exponential back-off with jitter as a pure function: the same seed and attempt give the same delay."""

from __future__ import annotations

from zlib import crc32


def delay_s(attempt: int, *, base_s: float, cap_s: float, seed: str) -> float:
    """Return the delay before try ``attempt`` (1, 2, …): half fixed, half spread by ``seed``, never above ``cap_s``."""
    full = min(cap_s, base_s * 2.0 ** min(attempt - 1, 30))
    spread = crc32(f"{seed}/{attempt}".encode()) / 0xFFFFFFFF
    return full * (0.5 + 0.5 * spread)
