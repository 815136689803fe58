"""Two processes with one drone id: both get nothing, and people are told. A restart is not taken for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import assign, carrying, dispatch, load, say
from world import World, make_order, make_report

from drone_orchestrator.core.leader.boots import GONE_AFTER_S, SETTLE_S, Boots
from drone_orchestrator.core.leader.effects import AnswerClearance, RecallGoal, SendGoal
from drone_orchestrator.core.types import Order, SagaStatus, Verdict


class Listener:
    """Hears messages of processes, by their boot ids, half a second apart."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.boots = Boots("A")
        self.last = "A"

    def hear(self, *boot_ids: str, every_s: float = 0.5) -> Listener:
        for boot_id in boot_ids:
            self.now_s += every_s
            if boot_id != self.last:
                self.boots.changed(boot_id, self.now_s)
            self.last = boot_id
        return self

    @property
    def are_two(self) -> bool:
        return self.boots.are_two(self.now_s)


def test_two_processes_that_alternate_are_two() -> None:
    assert Listener().hear("B", "A", "B", "A", "B").are_two


def test_their_order_does_not_matter() -> None:
    assert Listener().hear("B", "B", "A", "B", "A", "A", "B", "B").are_two


@pytest.mark.parametrize("later", ["B" * 20, "BCDEF", "BAB" + "B" * 20, "BBABBB"])
def test_restarts_and_late_messages_of_the_old_process_are_not_two(later: str) -> None:
    listener = Listener()
    for boot_id in later:
        assert not listener.hear(boot_id).are_two


def test_a_burst_of_late_messages_is_not_two() -> None:
    assert not Listener().hear("B", "A", "B", "A", "B", "A", "B", every_s=0.05).are_two


def test_after_a_restart_nothing_is_given_until_the_old_process_would_have_been_heard() -> None:
    listener = Listener().hear("B")
    assert listener.boots.is_doubtful(listener.now_s + SETTLE_S)
    assert not listener.boots.is_doubtful(listener.now_s + SETTLE_S + 0.1)


def test_they_are_one_again_once_one_is_silent() -> None:
    listener = Listener().hear("B", "A", "B", "A", "B")
    assert listener.boots.is_doubtful(listener.now_s + GONE_AFTER_S)
    assert not listener.boots.is_doubtful(listener.now_s + GONE_AFTER_S + 0.1)
    listener.now_s += GONE_AFTER_S
    assert not listener.hear("C", "C", "D").are_two


# --- the leader -------------------------------------------------------------------------------------------------------


def hear_two(world: World, order: Order | None = None, times: int = 8) -> None:
    """Let two processes of drone_1 report alternately, half a second apart."""
    for number in range(times):
        world.advance(0.5)
        report = carrying(order) if order is not None else make_report()
        say(world, replace(report, boot_id="AB"[number % 2]))


@pytest.fixture
def world() -> World:
    return World()


def test_a_drone_that_speaks_twice_gets_no_order(world: World) -> None:
    world.run()
    hear_two(world)
    order = make_order()
    world.intake.submit(order)
    hear_two(world)
    assert world.intake.find(order.message_id).status is SagaStatus.PENDING
    assert world.leader.core.dispatcher.doubled(world.mono_s) == ("drone_1",)
    say(world, make_report("drone_2"))
    world.advance(1.0)
    assert world.saga(order).drone_id == "drone_2"


def test_it_gets_orders_again_once_one_of_the_two_is_silent(world: World) -> None:
    world.run()
    hear_two(world)
    order = make_order()
    world.intake.submit(order)
    world.pass_time(GONE_AFTER_S + 2.0, hear=[make_report(boot_id="B")])
    assert world.leader.core.dispatcher.doubled(world.mono_s) == ()
    assert world.saga(order).drone_id == "drone_1"


def test_two_drones_with_one_id_do_not_load_the_order_that_they_have(world: World) -> None:
    order = dispatch(world, make_order())
    hear_two(world, order, times=2)
    world.ask_clearance(1, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.ASK_AGAIN]
    world.leader.take(RecallGoal)
    hear_two(world, order)
    assert world.saga(order).reason == "drone_twice"
    assert world.leader.take(RecallGoal)
    assert world.saga(order).status is SagaStatus.PENDING


def test_an_order_that_was_cleared_is_not_cleared_again_for_the_clone(world: World) -> None:
    """The clone has the same journal, so only its boot id shows that it is another drone."""
    order = load(world, make_order())
    world.leader.take(AnswerClearance)
    hear_two(world, order, times=3)
    world.ask_clearance(2, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.ASK_AGAIN]


def test_a_drone_that_was_restarted_is_cleared_after_a_moment(world: World) -> None:
    order = dispatch(world, make_order())
    world.pass_time(SETTLE_S + 1.0, hear=[carrying(order, boot_id="B")])
    world.ask_clearance(1, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.GRANTED]


def test_no_goal_is_sent_while_it_is_open_who_speaks(world: World) -> None:
    order = assign(world, make_order())
    assert world.leader.take(SendGoal)
    world.pass_time(SETTLE_S, hear=[make_report(boot_id="B")])
    assert not world.leader.take(SendGoal)
    world.pass_time(2.0, hear=[make_report(boot_id="B")])
    assert world.leader.take(SendGoal)
    assert world.saga(order).drone_id == "drone_1"
