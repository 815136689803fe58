"""Findings of ``fleetctl doctor``."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. ``level`` is ``ok``, ``warning`` (works for now) or ``error``; ``hint`` says what to do."""

    name: str
    level: str
    detail: str
    hint: str = ""


def ok(name: str, detail: str) -> Finding:
    return Finding(name, OK, detail)


def warning(name: str, detail: str, hint: str) -> Finding:
    return Finding(name, WARNING, detail, hint)


def error(name: str, detail: str, hint: str) -> Finding:
    return Finding(name, ERROR, detail, hint)
