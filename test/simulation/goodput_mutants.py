"""Mutants of the pace at which a region works: they lose no order, and serve it late.

Importing this module adds them to :data:`mutants.MUTANTS`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mutants import Patch, mutant

from drone_orchestrator.core.changes import Fate, Reserve, Transition
from drone_orchestrator.core.leader.blame import Blame
from drone_orchestrator.core.leader.boots import Boots
from drone_orchestrator.core.leader.dispatch import Dispatcher
from drone_orchestrator.core.leader.effects import Effect
from drone_orchestrator.core.leader.events import CommitDone
from drone_orchestrator.core.leader.lane_sharing import LaneRound
from drone_orchestrator.core.leader.memory import Bench
from drone_orchestrator.core.leader.roster import Roster

FOREVER = float("inf")

# --- J7 goodput: the backlog after the last fault ---------------------------------------------------------------------


@mutant("J7")
def failed_drone_gets_no_more_work(patch: Patch) -> None:
    """A drone that has failed once gets no order until it has completed one."""

    def is_barred(honest: Any, roster: Roster, drone: Any, now: Any) -> bool:
        breaker = roster._view.breakers.get(drone.report.drone_id)
        return (breaker is not None and breaker.value.failures > 0) or bool(honest(roster, drone, now))

    patch.around(Roster, "_is_barred", is_barred)


@mutant("J7")
def benches_never_end(patch: Patch) -> None:
    """A drone that is benched for a moment gets no order for as long as the same leader is in office."""

    def bench(honest: Any, blame: Blame, drone_id: str, now: Any, pause_s: float | None = None) -> None:
        honest(blame, drone_id, now, pause_s)
        benched = blame._state.current_term.benched
        benched[drone_id] = Bench(benched[drone_id].times, FOREVER)

    patch.around(Blame, "_bench", bench)


@mutant("J7")
def next_leader_gives_one_order_at_a_time(patch: Patch) -> None:
    """A leader that takes over open orders gives a lane an order only when the one before has ended."""
    careful: set[int] = set()  # epochs

    def begin_term(honest: Any, dispatcher: Dispatcher, epoch: int, now: Any) -> list[Effect]:
        if dispatcher._view.sagas:
            careful.add(epoch)
        return list(honest(dispatcher, epoch, now))

    def lanes(honest: Any, roster: Roster, term: Any, now: Any) -> list[LaneRound]:
        found, in_flight = honest(roster, term, now), roster._ledger.in_flight
        if term.epoch not in careful:
            return list(found)
        return [replace(each, room=min(each.room, 1 - in_flight(each.drone_class.name))) for each in found]

    patch.around(Dispatcher, "begin_term", begin_term)
    patch.around(Roster, "lanes", lanes)


# --- J3 bounded_stay: an order waits although a drone is free --------------------------------------------------------


@mutant("J3")
def failed_commit_keeps_the_drone(patch: Patch) -> None:
    """A drone whose reservation could not be committed counts as taken for as long as the same leader is in office."""

    def commit_done(honest: Any, dispatcher: Dispatcher, event: CommitDone, now: Any) -> list[Effect]:
        effects, change, term = honest(dispatcher, event, now), event.commit.change, dispatcher._state.term
        wanted = change.reservation if isinstance(change, Transition) else None
        if term is not None and isinstance(wanted, Reserve) and event.fate is not Fate.SUCCEEDED:
            term.reserving.setdefault(wanted.drone_id, "")
        return list(effects)

    patch.around(Dispatcher, "commit_done", commit_done)


@mutant("J3")
def restarted_drone_stays_doubtful(patch: Patch) -> None:
    """A drone that has restarted once is taken for two drones with one id by every leader that heard it before."""
    patch.replace(Boots, "is_doubtful", lambda boots, now_s: True)
