"""Link of a leader to the drones: goals that are sent or recalled more than once, and requests for clearance."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from drone_interfaces.action import ExecuteDelivery
from drone_interfaces.msg import DroneState
from drone_interfaces.srv import RequestClearance
from rclpy.action import ActionServer, CancelResponse
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.task import Future

from drone_orchestrator.core.leader.effects import AnswerClearance, RecallGoal, SendGoal
from drone_orchestrator.core.leader.events import ClearanceRequested, DroneHeard, Event, GoalAnswered
from drone_orchestrator.core.types import Verdict
from drone_orchestrator.nodes.orchestrator import drone_link
from drone_orchestrator.nodes.orchestrator.drone_link import (
    CLEARANCE_TIMEOUT_S,
    HELD_S,
    STANDBY_ANSWERS_S,
    DroneLink,
)
from drone_orchestrator.ros import messages, names, qos
from drone_orchestrator.ros.deferred_service import Reply
from drone_orchestrator.ros.qos_watch import QosWatch
from drone_orchestrator.telemetry.metrics import Metrics
from drone_orchestrator.telemetry.strangers import Strangers

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from world import make_order, make_report

pytestmark = pytest.mark.ros
DRONE = "drone_1"
FLEET_ID = "our-fleet"
EPOCH = 7
DEADLINE_S = 90.0


class Link(DroneLink):
    """Link that counts the requests for clearance it receives."""

    heard = 0

    def _on_clearance_request(self, reply: Reply) -> None:
        self.heard += 1
        super()._on_clearance_request(reply)


class Air:
    """A link and the drone that it talks to, on one executor. The test moves the link's clock."""

    def __init__(self, domain: int, monkeypatch: pytest.MonkeyPatch, *, leads: bool = True) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(drone_link, "_now_s", lambda: self.now_s)
        monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
        self.events: list[Event] = []
        self.recalled: list[object] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = LifecycleNode("orchestrator", context=self._context)
        self._drone = Node("drone", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._executor.add_node(self._drone)
        self.strangers = Strangers(Metrics("orchestrator", "sf"))
        self.strangers.fleet_id = FLEET_ID
        self.link = Link(self._node, self.events.append, "sf", QosWatch(self._node), self.strangers)
        self.link.begin("instance")
        if leads:
            self.link.start_leading(EPOCH)
        self._server: ActionServer | None = None
        self._asking: Client | None = None
        self._landed: Future = Future(executor=self._executor)  # never

    def start_drone(self) -> None:
        """Start a new process of the drone, as far as the leader can tell: it does not know earlier goals."""
        if self._server is not None:
            self._server.destroy()
        self._server = ActionServer(
            self._drone, ExecuteDelivery, names.drone_action(DRONE), self._fly, cancel_callback=self._cancel
        )

    def _cancel(self, handle: object) -> CancelResponse:
        self.recalled.append(handle)
        return CancelResponse.REJECT

    async def _fly(self, goal: object) -> ExecuteDelivery.Result:
        await self._landed
        return ExecuteDelivery.Result()

    def say_state(self, fleet_id: str = "") -> None:
        """Publish the drone's state once; late joiners get it, too."""
        self._state = self._drone.create_publisher(DroneState, names.DRONE_STATES, qos.state())
        self._state.publish(messages.report_to_msg(make_report(DRONE, fleet_id=fleet_id), time.time()))

    def ask_clearance(self, message_id: str, fleet_id: str = "") -> Future:
        """Request clearance as a drone does. Returns the future answer."""
        if self._asking is None:
            self._asking = self._drone.create_client(RequestClearance, names.REQUEST_CLEARANCE)
            self.spin_until(self._asking.service_is_ready)
        question = RequestClearance.Request(
            drone_id=DRONE, fleet_id=fleet_id, message_id=message_id, attempt=1, journal_id="j"
        )
        return self._asking.call_async(question)

    def asked(self) -> list[ClearanceRequested]:
        return [event for event in self.events if isinstance(event, ClearanceRequested)]

    def spin_until(self, seen: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not seen():
            assert time.monotonic() < end, self.events
            self._executor.spin_once(timeout_sec=0.05)
            self.link.tick()

    def close(self) -> None:
        self.link.end()
        if self._server is not None:
            self._server.destroy()
        self._executor.shutdown()
        self._node.destroy_node()
        self._drone.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def air(domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Air]:
    air = Air(domain, monkeypatch)
    yield air
    air.close()


@pytest.fixture
def standby(domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Air]:
    air = Air(domain, monkeypatch, leads=False)
    yield air
    air.close()


def test_a_goal_is_recalled_although_the_client_that_sent_it_was_released(air):
    air.start_drone()
    air.link.send_goal(SendGoal(DRONE, make_order(1), 1, EPOCH))
    air.spin_until(lambda: [e for e in air.events if isinstance(e, GoalAnswered)])
    air.link.run_on_ros(lambda: air.link._destroy_client(DRONE))  # as if many other drones had been used since
    air.link.recall(RecallGoal(DRONE, make_order(1).message_id, 1, EPOCH))  # a new client must discover the drone
    air.spin_until(lambda: bool(air.recalled))


def test_a_restarted_drone_may_accept_the_same_goal_again(air):
    goal = SendGoal(DRONE, make_order(1), 1, EPOCH)
    for time_ in (1, 2):
        air.start_drone()
        air.link.send_goal(goal)
        air.spin_until(lambda time_=time_: len([e for e in air.events if isinstance(e, GoalAnswered)]) == time_)
    assert all(event.accepted for event in air.events if isinstance(event, GoalAnswered))


def test_a_request_for_clearance_is_answered_once_the_core_has_decided(air):
    answer = air.ask_clearance("m1")
    air.spin_until(lambda: bool(air.asked()))
    [asked] = air.asked()
    assert (asked.drone_id, asked.message_id, asked.attempt, asked.journal_id) == (DRONE, "m1", 1, "j")
    assert not answer.done()
    air.link.answer_clearance(AnswerClearance(asked.request_id, Verdict.GRANTED, EPOCH, "m1", 1, "j"))
    air.spin_until(answer.done)
    assert (answer.result().verdict, answer.result().message_id) == (int(Verdict.GRANTED), "m1")


def test_a_drone_of_another_fleet_is_ignored_and_gets_no_answer(air: Air) -> None:
    """A refusal would reach the drone before the answer of its own leader."""
    air.say_state("their-fleet")
    air.spin_until(lambda: bool(air.strangers.found()))
    assert "drone drone_1" in air.strangers.found()["their-fleet"]
    foreign = air.ask_clearance("m1", "their-fleet")
    air.spin_until(lambda: air.link.heard == 1)
    own = air.ask_clearance("m2", FLEET_ID)
    air.spin_until(lambda: bool(air.asked()))
    assert [event.message_id for event in air.asked()] == ["m2"]
    assert not any(isinstance(event, DroneHeard) for event in air.events)
    air.link.stop_leading()
    air.spin_until(own.done)
    assert own.result().fleet_id == FLEET_ID
    assert not foreign.done()


def test_a_leader_that_steps_down_answers_open_requests_for_clearance(air):
    answer = air.ask_clearance("m1")
    air.spin_until(lambda: bool(air.asked()))
    air.link.stop_leading()
    air.spin_until(answer.done)
    assert answer.result().verdict == int(Verdict.NOT_LEADER)


def test_a_standby_that_is_elected_answers_recent_requests_only(standby):
    old = standby.ask_clearance("too_old")
    standby.spin_until(lambda: standby.link.heard == 1)
    standby.now_s += HELD_S
    young = standby.ask_clearance("just_now")
    standby.spin_until(lambda: standby.link.heard == 2)
    standby.now_s += HELD_S / 2
    assert not (old.done() or young.done() or standby.asked())
    standby.link.start_leading(EPOCH)
    standby.spin_until(lambda: bool(standby.asked()))
    [asked] = standby.asked()
    assert asked.message_id == "just_now"
    standby.link.answer_clearance(AnswerClearance(asked.request_id, Verdict.ASK_AGAIN, EPOCH, "just_now", 1, "j"))
    standby.spin_until(lambda: young.done() and old.done())
    assert old.result().verdict == int(Verdict.ASK_AGAIN)


def test_a_standby_says_that_it_does_not_lead_once_the_leader_must_have_answered(standby):
    answer = standby.ask_clearance("m1")
    standby.spin_until(lambda: standby.link.heard == 1)
    standby.now_s += CLEARANCE_TIMEOUT_S
    standby.link.tick()
    assert not answer.done()
    standby.now_s += STANDBY_ANSWERS_S - CLEARANCE_TIMEOUT_S
    standby.link.tick()
    standby.spin_until(answer.done)
    assert answer.result().verdict == int(Verdict.NOT_LEADER) and answer.result().message_id == "m1"


def test_a_cleaned_up_replica_takes_no_requests(standby):
    standby.link.end()
    answer = standby.ask_clearance("m1")
    standby.spin_until(lambda: standby.link.heard == 1)
    standby.link.begin("instance again")
    standby.link.start_leading(EPOCH)
    standby.ask_clearance("m2")
    standby.spin_until(lambda: bool(standby.asked()))
    assert [asked.message_id for asked in standby.asked()] == ["m2"]
    assert not answer.done()


@pytest.mark.parametrize("leads", [True, False])
def test_the_action_servers_of_drones_that_are_heard_are_discovered_in_advance(domain, monkeypatch, leads):
    monkeypatch.setattr("drone_orchestrator.ros.executors.is_classic", lambda executor: False)
    air = Air(domain, monkeypatch, leads=leads)
    try:
        air.start_drone()
        air.say_state()
        air.spin_until(lambda: DRONE in air.link._clients and air.link._clients[DRONE].is_ready)
    finally:
        air.close()


def test_a_drone_that_answered_counts_as_discovered_until_it_fails_to_answer(air, monkeypatch):
    air.start_drone()
    air.link.send_goal(SendGoal(DRONE, make_order(1), 1, EPOCH))
    air.spin_until(lambda: [e for e in air.events if isinstance(e, GoalAnswered)])
    client = air.link._clients[DRONE]
    monkeypatch.setattr(client._goals, "service_is_ready", lambda: False)
    air.spin_until(lambda: client.is_ready)
    client.send(ExecuteDelivery.Goal(), messages.goal_uuid("nobody answers yet", 1))
    assert not client.is_ready
