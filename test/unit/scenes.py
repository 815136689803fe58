"""Helpers for tests of the dispatcher: drones' reports, orders brought to a given state, lanes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import pytest
import world as world_module
from world import COURIER, FLEET, Replica, World, make_order, make_report

from drone_orchestrator.core.leader.effects import Commit, Effect, Report
from drone_orchestrator.core.leader.events import CommitDone
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import (
    CancelRequest,
    CommandAction,
    DeliveryOutcome,
    DroneClass,
    DroneReport,
    OperatorCommand,
    Order,
    Outcome,
    Phase,
    SagaStatus,
)
from drone_orchestrator.verification.checker import check

S = SagaStatus
LIGHT = replace(COURIER, name="light")
HEAVY = replace(COURIER, name="heavy", max_payload_kg=10.0)


def carrying(order: Order, drone_id: str = "drone_1", attempt: int = 1, **changes: object) -> DroneReport:
    """Return the report of a drone with the order's goal, on its way to the pickup."""
    changes = {"phase": Phase.TO_PICKUP, "message_id": order.message_id, "attempt": attempt, **changes}
    return make_report(drone_id, **changes)


def flying(order: Order, drone_id: str = "drone_1", attempt: int = 1, **changes: object) -> DroneReport:
    """Return the report of a drone with the package on board."""
    changes = {"phase": Phase.TO_DESTINATION, "package_on_board": True, **changes}
    return carrying(order, drone_id, attempt, **changes)


def done(order: Order, outcome: Outcome, drone_id: str = "drone_1", attempt: int = 1, **changes: object) -> DroneReport:
    """Return the report of a drone that has closed the goal with ``outcome``."""
    changes = {"phase": Phase.IDLE, "outcomes": (DeliveryOutcome(order.message_id, attempt, outcome),), **changes}
    return make_report(drone_id, **changes)


def assign(world: World, order: Order, drone_id: str = "drone_1") -> Order:
    world.hear(make_report(drone_id))
    world.run()
    world.intake.submit(order)
    world.run()
    assert world.saga(order).status is S.ASSIGNED
    return order


def dispatch(world: World, order: Order, drone_id: str = "drone_1") -> Order:
    assign(world, order, drone_id)
    world.accept_goals()
    world.hear(carrying(order, drone_id))
    world.run()
    assert world.saga(order).status is S.DISPATCHED
    return order


def load(world: World, order: Order, drone_id: str = "drone_1") -> Order:
    dispatch(world, order, drone_id)
    world.ask_clearance(1, drone_id, order, 1)
    assert world.saga(order).status is S.LOADING
    return order


def fly(world: World, order: Order, drone_id: str = "drone_1") -> Order:
    load(world, order, drone_id)
    say(world, flying(order, drone_id))
    assert world.saga(order).status is S.IN_TRANSIT
    return order


def say(world: World, *reports: DroneReport) -> None:
    world.hear(*reports)
    world.run()


def cancel(world: World, order: Order) -> None:
    world.intake.request_cancel(CancelRequest(order.message_id, world.now.wall_s))
    world.run()


def command(world: World, order: Order, action: CommandAction, by: str = "ops") -> None:
    world.intake.request_command(OperatorCommand(order.message_id, action, world.now.wall_s, by))
    world.run()


def reports(world: World, level: str) -> list[str]:
    """Return the leader's log lines since the last call."""
    sent = [r for r in world.leader.take(Report) if isinstance(r, Report)]
    world.leader.sent += [r for r in sent if r.level != level]
    return [r.text for r in sent if r.level == level]


def run_by_deadlines(world: World, until_s: float) -> int:
    """Step the leader only at its own deadlines, as a shell does without events. Return the number of steps."""
    steps = 0
    while world.mono_s < until_s:
        deadline = world.leader.core.next_deadline()
        assert deadline is not None, "the leader would never step again"
        world.advance(max(0.0, min(deadline, until_s) - world.mono_s))
        steps += 1
        assert steps < 100_000, "a hot loop: the next deadline does not move"
    return steps


def nothing_is_left(world: World, order: Order) -> None:
    """Assert that the order has ended, and that store and leader keep nothing but its record."""
    view = world.leader.core.view
    assert world.saga(order).status.is_terminal
    held = [e.value for e in view.reservations.values()]
    assert order.message_id not in [getattr(r, "message_id", None) for r in held]
    assert order.message_id not in {**view.inbox, **view.cancels, **view.commands}
    term = world.leader.core.dispatcher._state.term
    assert term is not None
    assert not any(order.message_id in held for held in (term.orders, term.waiting, term.accepting))
    assert term.reserving == {}


def sound(world: World) -> None:
    """Assert that the whole history keeps the invariants."""
    assert check(world.intake.history(), complete=False).violations == ()


class LaneWorld(World):
    """A world of several drone classes, whose store completes ``commits_per_step`` commits each time the clock moves.

    With ``commits_per_step`` 0 it completes all of them.
    """

    def __init__(
        self,
        classes: Sequence[DroneClass],
        dispatch: DispatchPolicy | None = None,
        *,
        commits_per_step: int = 0,
    ) -> None:
        self.commits_per_step = commits_per_step
        self.queued: deque[tuple[Replica, Commit]] = deque()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world_module, "FLEET", replace(FLEET, classes=tuple(classes)))
            super().__init__(dispatch=dispatch)

    def _carry_out(self, replica: Replica, effect: Effect) -> None:
        if isinstance(effect, Commit) and self.commits_per_step:
            self.queued.append((replica, effect))
            return
        super()._carry_out(replica, effect)

    def advance(self, seconds: float) -> None:
        """Let the store complete a part of its queue, then let time pass."""
        for _ in range(min(self.commits_per_step, len(self.queued))):
            replica, commit = self.queued.popleft()
            result = replica.store.commit(commit.epoch, [commit.change])[0]
            replica.inbox.append(CommitDone(commit, result.fate, result.revision))
        super().advance(seconds)


def light_order(number: int, **changes: object) -> Order:
    return make_order(number, package_weight_kg=1.0, **changes)


def heavy_order(number: int, **changes: object) -> Order:
    return make_order(number, package_weight_kg=5.0, **changes)


def drone(drone_class: DroneClass, number: int, **changes: object) -> DroneReport:
    return make_report(f"{drone_class.name}_{number}", drone_class=drone_class.name, **changes)
