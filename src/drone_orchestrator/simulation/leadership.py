"""Leader of a simulated region, by the physical truth, as the parts that sample a run see it."""

from __future__ import annotations

from collections.abc import Mapping

from .environment import Environment
from .recorder import Recorder
from .replica import SimulatedReplica


class Leadership:
    """Tells which replica holds the office, and whether it can do its work."""

    def __init__(
        self, environment: Environment, recorder: Recorder, replicas: Mapping[str, SimulatedReplica]
    ) -> None:
        self._backend = environment.backend
        self._recorder = recorder
        self._replicas = replicas

    @property
    def holder(self) -> str:
        """The name of the replica in office, ``""`` if there is none."""
        held = self._recorder.view.leadership
        return held.holder if held is not None else ""

    def in_touch(self) -> tuple[SimulatedReplica, int] | None:
        """Return the replica in office with its epoch, if it runs and reaches the store."""
        held = self._recorder.view.leadership
        replica = self._replicas.get(held.holder) if held is not None else None
        if held is None or replica is None or not replica.process.runs or not self._backend.reachable(replica.name):
            return None
        return replica, held.epoch

    def acting(self) -> SimulatedReplica | None:
        """Return the replica in office if it also knows that, and no transaction in flight can hold it up."""
        found = self.in_touch()
        if found is None or found[0].epoch != found[1] or self._backend.has_late():
            return None
        return found[0]
