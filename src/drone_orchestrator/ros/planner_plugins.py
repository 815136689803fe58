"""Finds the planner that a parameter names: an entry point, so that another package can bring its own."""

from __future__ import annotations

from importlib.metadata import entry_points

from ..core.planner import Planner
from .process import ConfigurationError

PLANNER_GROUP = "drone_orchestrator.planners"


def load_planner(name: str) -> Planner:
    """The planner that is registered as ``name``. Raises :class:`ConfigurationError` naming the known ones."""
    known = {point.name: point for point in entry_points(group=PLANNER_GROUP)}
    if name not in known:
        raise ConfigurationError(f"planner {name!r} is not registered; known: {', '.join(sorted(known)) or 'none'}")
    planner: Planner = known[name].load()()
    return planner
