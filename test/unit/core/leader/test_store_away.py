"""An unavailable store: the leader backs off and reports it once, then everything continues."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import carrying, dispatch, done, fly, reports, say, sound
from world import Replica, World, make_order, make_report

from drone_orchestrator.core.changes import Fate
from drone_orchestrator.core.leader.effects import AnswerClearance, Commit, Effect, KeepReservation, Report, SendGoal
from drone_orchestrator.core.leader.events import CommitDone
from drone_orchestrator.core.leader.usefulness import POWERLESS_S
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import Outcome, SagaStatus, Verdict

S = SagaStatus


class Outage(World):
    """A world whose leader keeps its lease while its commits end with ``fate``; ``asked`` has their times."""

    def __init__(self, **changes: object) -> None:
        self.fate: Fate | None = None
        self.asked: list[float] = []
        super().__init__(dispatch=replace(DispatchPolicy(), **changes))  # type: ignore[arg-type]

    def _carry_out(self, replica: Replica, effect: Effect) -> None:
        if isinstance(effect, Commit):
            self.asked.append(self.mono_s)
            if self.fate is not None:
                replica.inbox.append(CommitDone(effect, self.fate))
                return
        if isinstance(effect, KeepReservation) and self.fate is not None:
            return
        super()._carry_out(replica, effect)


def submit(world: World, count: int, first: int = 1) -> None:
    for number in range(first, first + count):
        world.intake.submit(make_order(number))


def test_an_unavailable_store_is_tried_with_growing_pauses_however_many_orders_wait() -> None:
    world = Outage(plan_orders=100, accept_orders=1)
    world.run()
    world.fate = Fate.UNAVAILABLE
    submit(world, 50)
    world.run()
    world.asked.clear()
    world.pass_time(POWERLESS_S - 1.0, hear=[make_report()], step_s=0.05)
    tries = sorted(set(world.asked))
    assert len(tries) <= 20, "a try about every 2 s at most, once the pauses have grown"
    assert tries[-1] - tries[-2] >= 0.9
    assert tries[1] - tries[0] <= 0.5


def test_an_outage_is_reported_once_and_its_end_once() -> None:
    world = Outage()
    world.run()
    world.fate = Fate.UNAVAILABLE
    submit(world, 5)
    world.pass_time(20.0, hear=[make_report()], step_s=0.25)
    assert len(reports(world, "warning")) == 1
    world.fate = None
    world.pass_time(5.0, hear=[make_report()], step_s=0.25)
    assert len(reports(world, "info")) == 1
    assert reports(world, "warning") == []
    world.fate = Fate.UNAVAILABLE
    submit(world, 1, first=9)
    world.pass_time(3.0, step_s=0.25)
    assert len(reports(world, "warning")) == 1, "the next outage is another one"


def test_after_an_outage_everything_continues_on_its_own() -> None:
    world = Outage()
    world.run()
    world.fate = Fate.UNAVAILABLE
    submit(world, 3)
    say(world, make_report("drone_1"), make_report("drone_2"), make_report("drone_3"))
    world.pass_time(20.0, hear=[make_report(f"drone_{n}") for n in (1, 2, 3)], step_s=0.5)
    assert world.intake.find("m1").saga is None  # type: ignore[union-attr]
    world.fate = None
    world.pass_time(3.0, hear=[make_report(f"drone_{n}") for n in (1, 2, 3)], step_s=0.25)
    assert {world.saga(make_order(n)).status for n in (1, 2, 3)} == {S.ASSIGNED}
    term = world.leader.core.dispatcher._state.term
    assert term is not None
    assert (term.accepting, term.reserving) == ({}, {})
    sound(world)


def test_an_outcome_reported_during_an_outage_is_recorded_afterwards() -> None:
    world = Outage()
    order = fly(world, make_order())
    world.fate = Fate.UNAVAILABLE
    world.pass_time(10.0, hear=[done(order, Outcome.DELIVERED)], step_s=0.25)
    assert world.saga(order).status is S.IN_TRANSIT
    world.fate = None
    world.pass_time(3.0, hear=[done(order, Outcome.DELIVERED)], step_s=0.25)
    assert world.saga(order).status is S.DELIVERED
    sound(world)


def test_a_goal_accepted_during_an_outage_is_recorded_afterwards() -> None:
    world = Outage()
    world.run()
    order = make_order()
    say(world, make_report())
    world.intake.submit(order)
    world.run()
    world.fate = Fate.UNAVAILABLE
    world.accept_goals()
    asked = len(world.asked)
    world.accept_goals()
    assert len(world.asked) == asked
    world.fate = None
    world.pass_time(2.0, hear=[carrying(order)], step_s=0.25)
    assert world.saga(order).status is S.DISPATCHED


def test_clearance_requested_during_an_outage_is_answered_ask_again_at_once() -> None:
    world = Outage()
    order = dispatch(world, make_order())
    world.fate = Fate.UNAVAILABLE
    world.leader.take(AnswerClearance)
    for request in (1, 2, 3):
        world.ask_clearance(request, "drone_1", order, 1)
    answers = world.leader.take(AnswerClearance)
    assert [(a.request_id, a.verdict) for a in answers] == [(n, Verdict.ASK_AGAIN) for n in (1, 2, 3)]
    world.fate = None
    world.pass_time(1.0, hear=[carrying(order)], step_s=0.25)
    world.ask_clearance(4, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.GRANTED]


def test_goals_are_not_repeated_during_an_outage() -> None:
    world = Outage()
    world.run()
    order = make_order()
    say(world, make_report())
    world.intake.submit(order)
    world.run()
    assert len(world.leader.take(SendGoal)) == 1
    world.fate = Fate.UNAVAILABLE
    submit(world, 1, first=2)
    world.run()
    world.pass_time(2.0, hear=[make_report()], step_s=0.1)
    world.leader.take(SendGoal)
    world.advance(0.01)
    assert world.leader.take(SendGoal) == []


def test_a_conflict_ends_an_outage() -> None:
    world = Outage()
    world.run()
    world.fate = Fate.UNAVAILABLE
    submit(world, 1)
    world.pass_time(1.0, step_s=0.1)
    world.fate = Fate.CONFLICT
    world.pass_time(5.0, step_s=0.1)
    assert any(isinstance(r, Report) and r.level == "info" for r in world.leader.sent)
    world.fate = None
    world.pass_time(4.0, step_s=0.1)
    assert world.saga(make_order()).status is S.PENDING


@pytest.mark.parametrize("fate", [Fate.UNKNOWN, Fate.CONFLICT])
def test_a_commit_that_keeps_failing_is_no_hot_loop(fate: Fate) -> None:
    world = Outage()
    world.run()
    world.fate = fate
    submit(world, 1)
    world.pass_time(30.0, step_s=0.05)
    assert 10 <= len(world.asked) <= 60
    world.fate = None
    world.pass_time(3.0, step_s=0.05)
    assert world.saga(make_order()).status is S.PENDING


def test_an_answer_to_a_commit_of_an_earlier_term_is_ignored() -> None:
    world = Outage()
    world.run()
    held: list[Effect] = []
    leader = world.leader
    world.intake.submit(make_order())
    world.backend.pump()
    events, leader.inbox = leader.inbox, []
    held = [e for e in leader.core.step(events, world.now) if isinstance(e, Commit)]
    assert held
    stale = replace(held[0], epoch=held[0].epoch - 1)
    leader.inbox.append(CommitDone(stale, Fate.SUCCEEDED, 99))
    world.step_once(leader)
    assert leader.core.view.sagas == {}
