"""Record of the times in which a leader of the simulated region was of no use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..core.leader.usefulness import USEFUL_S, Ailment
from ..core.types import SagaStatus
from ..verification.office_held_usefully import UselessTime
from .drone import SimulatedDrone
from .environment import Environment
from .leadership import Leadership
from .recorder import Recorder
from .replica import SimulatedReplica


@dataclass(slots=True)
class _Term:
    holder: str
    epoch: int
    ailment: Ailment | None
    is_other_better: bool
    from_s: float


class OfficeLog:
    """Implements :class:`~drone_orchestrator.verification.office_held_usefully.OfficeWitness`.

    It looks at the physical truth, not at what a replica thinks. Call ``sample`` at a regular interval.
    """

    def __init__(
        self,
        environment: Environment,
        recorder: Recorder,
        replicas: Mapping[str, SimulatedReplica],
        drones: Mapping[str, SimulatedDrone],
    ) -> None:
        self._environment = environment
        self._recorder = recorder
        self._replicas = replicas
        self._leadership = Leadership(environment, recorder, replicas)
        self._drones = drones
        self._now: _Term | None = None
        self._times: list[UselessTime] = []
        self._resigned = dict.fromkeys(replicas, 0)

    def sample(self) -> None:
        """Note who holds the office, and whether that is of any use."""
        now_s, found = self._environment.scheduler.now_s, self._look()
        before = self._now
        if before is not None and found is not None and self._same(before, found):
            return
        if before is not None:
            self._end(before, now_s, left=found is None or found.epoch != before.epoch)
        self._now = found

    def useless_times(self) -> Iterable[UselessTime]:
        """Return all times in which a leader was of no use although another replica would have been."""
        if self._now is not None:
            self._end(self._now, self._environment.scheduler.now_s, left=False)
            self._now = None
        return self._times

    @staticmethod
    def _same(one: _Term, other: _Term) -> bool:
        return (one.epoch, one.ailment, one.is_other_better) == (other.epoch, other.ailment, other.is_other_better)

    def _end(self, term: _Term, now_s: float, *, left: bool) -> None:
        if term.ailment is None:
            if now_s - term.from_s >= USEFUL_S:
                self._resigned[term.holder] = 0
            return
        resigned = self._resigned[term.holder]
        if term.is_other_better:
            self._times.append(UselessTime(term.holder, term.epoch, term.ailment, term.from_s, now_s, resigned))
        self._resigned[term.holder] += left

    def _look(self) -> _Term | None:
        """Return the term of now; ``None`` if no replica holds the office, or it does not run or reach the store."""
        found, backend = self._leadership.in_touch(), self._environment.backend
        if found is None:
            return None
        replica, epoch = found
        others = [other for other in self._replicas.values() if other is not replica and other.process.runs]
        ailment, better = None, False
        if backend.is_blind(replica.name):
            ailment, better = Ailment.BLIND, any(not backend.is_blind(other.name) for other in others)
        elif self._has_work() and not self._hears(replica):
            ailment, better = Ailment.DEAF, any(self._hears(other) for other in others)
        return _Term(replica.name, epoch, ailment, better, self._environment.scheduler.now_s)

    def _hears(self, replica: SimulatedReplica) -> bool:
        network = self._environment.network
        return any(d.process.runs and not network.is_cut(d.id, replica.name) for d in self._drones.values())

    def _has_work(self) -> bool:
        view = self._recorder.view
        waiting = any(stored.value.status is SagaStatus.PENDING for stored in view.sagas.values())
        return bool(view.reservations or view.inbox or waiting)
