"""Finds a planner by its entry point, so that other packages can add their own."""

from __future__ import annotations

from importlib.metadata import entry_points

from ..core.planner import Planner
from .process import ConfigurationError

PLANNER_GROUP = "drone_orchestrator.planners"


def load_planner(name: str) -> Planner:
    """Return the planner registered as ``name``. Raises :class:`ConfigurationError` that lists the known names."""
    known = {point.name: point for point in entry_points(group=PLANNER_GROUP)}
    if name not in known:
        raise ConfigurationError(f"planner {name!r} is not registered; known: {', '.join(sorted(known)) or 'none'}")
    planner: Planner = known[name].load()()
    return planner
