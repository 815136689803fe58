"""Link of an orchestrator to the drones: goals, recalls, clearance, acknowledgements.

All ROS calls happen on the executor's thread. The deciding thread passes work to it through a queue and an executor
task. So the deciding thread never waits for DDS, and no entity is used from two threads.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from dataclasses import dataclass

from drone_interfaces.msg import DroneState, LeaderState
from drone_interfaces.srv import RequestClearance
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.task import Future

from ...core.leader.effects import AnswerClearance, RecallGoal, SendGoal
from ...core.leader.events import ClearanceRequested, ClockHeard, DroneHeard, Event, GoalAnswered, GoalUnreachable
from ...core.policies import STATE_PERIOD_S
from ...core.types import AcknowledgeOutcome, Verdict
from ...ros import executors, messages, names, qos
from ...ros.deferred_service import DeferredService, Reply
from ...ros.goal_client import GoalClient
from ...ros.qos_watch import QosWatch
from ...runtime.acknowledgements import Acknowledgements
from ...telemetry.strangers import Strangers

GOAL_TIMEOUT_S = 3.0
CLEARANCE_TIMEOUT_S = 5.0
#: A standby that becomes the leader asks the core about requests that are at most this old (s).
HELD_S = 1.0
#: A standby answers *not the leader* after this time (s), for clients that have not discovered the leader. By then the
#: leader has answered: a drone takes the first answer, and the standby's must not be that.
STANDBY_ANSWERS_S = CLEARANCE_TIMEOUT_S + 1.0
HELD_AT_MOST = 2000
#: Action clients kept, the most recently used ones. The classic executor visits every entity whenever it wakes. A new
#: client must discover its drone first, which takes longer than everything else.
CLIENTS_KEPT = 128
#: Action clients created in advance per tick. There are ten ticks a second.
NEW_CLIENTS_PER_TICK = 2
#: The core hears each drone's wall clock this often (s).
CLOCK_PERIOD_S = 10.0


@dataclass(slots=True)
class _PendingGoal:
    effect: SendGoal
    give_up_at_s: float


@dataclass(slots=True)
class _PendingRecall:
    effect: RecallGoal
    give_up_at_s: float


@dataclass(slots=True)
class _PendingClearance:
    reply: Reply
    give_up_at_s: float


class DroneLink:
    """The drone part of :class:`~drone_orchestrator.ports.Fleet`, on ROS 2.

    It lives as long as its node. ``begin`` and ``end`` delimit the life of one replica, ``start_leading`` and
    ``stop_leading`` its term as leader. Only the leader publishes ``leader`` and answers ``request_clearance``: if all
    replicas answered at once, a standby's *not the leader* would often arrive first. A standby keeps the requests for a
    moment instead, in case it becomes the leader. ``strangers`` knows the fleet; drones of other fleets are ignored.
    """

    def __init__(
        self,
        node: LifecycleNode,
        post: Callable[[Event], None],
        region: str,
        watch: QosWatch,
        strangers: Strangers,
    ) -> None:
        self._node = node
        self._post = post
        self._instance_id = ""
        self._region = region
        self._strangers = strangers
        self._epoch = 0
        self._work: collections.deque[Callable[[], None]] = collections.deque()
        self._clients: dict[str, GoalClient] = {}
        self._waiting: list[_PendingGoal] = []
        self._recalls: list[_PendingRecall] = []
        self._asked: dict[int, _PendingClearance] = {}
        self._held: collections.deque[_PendingClearance] = collections.deque(maxlen=HELD_AT_MOST)
        self._next_request_id = 1
        self._without_client: dict[str, None] = {}
        self._clock_heard_at_s: dict[str, float] = {}
        self._acks = Acknowledgements()
        self._acks_published = True
        self._leader_pub: Publisher | None = None
        self._published_at_s = 0.0
        self._watch = watch
        profile = qos.drone_states()
        node.create_subscription(
            DroneState,
            names.DRONE_STATES,
            self._on_state,
            profile,
            **watch.subscribing(names.DRONE_STATES, profile),
        )
        DeferredService(node, RequestClearance, names.REQUEST_CLEARANCE, self._on_clearance_request)

    # --- called from the deciding thread ------------------------------------------------------------------------

    def run_on_ros(self, work: Callable[[], None]) -> None:
        """Run ``work`` on the executor's thread."""
        self._work.append(work)
        executors.call_soon(self._node, self._drain)  # before the node spins, the first tick does it

    def send_goal(self, effect: SendGoal) -> None:
        self.run_on_ros(lambda: self._send_goal(_PendingGoal(effect, _now_s() + GOAL_TIMEOUT_S)))

    def recall(self, effect: RecallGoal) -> None:
        self.run_on_ros(lambda: self._recall(_PendingRecall(effect, _now_s() + GOAL_TIMEOUT_S)))

    def answer_clearance(self, effect: AnswerClearance) -> None:
        self.run_on_ros(lambda: self._answer(effect))

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        self.run_on_ros(lambda: self._acknowledge(effect))

    # --- on the executor's thread -------------------------------------------------------------------------------

    def begin(self, instance_id: str) -> None:
        """Stand by as the replica ``instance_id``."""
        self._instance_id = instance_id

    def end(self) -> None:
        """Stop standing by; ignore all messages from now on."""
        self.stop_leading()
        self._held.clear()
        self._work.clear()
        self._instance_id = ""

    def start_leading(self, epoch: int) -> None:
        self._epoch = epoch
        profile = qos.state()
        self._leader_pub = self._node.create_publisher(
            LeaderState, names.LEADER, profile, **self._watch.announcing(names.LEADER, profile)
        )
        self._publish_leader()
        now = _now_s()
        while self._held:
            held = self._held.popleft()
            if now < held.give_up_at_s - STANDBY_ANSWERS_S + HELD_S:
                self._ask(held.reply)
            else:
                self._send(held.reply, RequestClearance.Response(verdict=int(Verdict.ASK_AGAIN), epoch=epoch))

    def stop_leading(self) -> None:
        self._epoch = 0
        for request_id in list(self._asked):
            self._reply(request_id, RequestClearance.Response(verdict=int(Verdict.NOT_LEADER)))
        self._acks.clear()
        self._waiting.clear()
        self._recalls.clear()
        if self._leader_pub is not None:
            self._node.destroy_publisher(self._leader_pub)
            self._leader_pub = None
            self._watch.withdrawn(names.LEADER)

    def tick(self) -> None:
        """Retry goals and recalls, and time out requests. Call it about ten times a second."""
        now = _now_s()
        self._drain()
        waiting, self._waiting = self._waiting, []
        for pending in waiting:
            self._send_goal(pending)
        recalls, self._recalls = self._recalls, []
        for recall in recalls:
            self._recall(recall)
        self._create_clients()
        if len(self._clients) > CLIENTS_KEPT and executors.is_classic(self._node.executor):
            self._destroy_idle_clients()
        while self._held and now >= self._held[0].give_up_at_s:
            not_leader = RequestClearance.Response(verdict=int(Verdict.NOT_LEADER))
            self._send(self._held.popleft().reply, not_leader)
        for request_id in [i for i, pending in self._asked.items() if now >= pending.give_up_at_s]:
            self._reply(request_id, RequestClearance.Response(verdict=int(Verdict.ASK_AGAIN), epoch=self._epoch))
        if self._leader_pub is not None and now - self._published_at_s >= STATE_PERIOD_S:
            self._publish_leader()

    def _drain(self) -> None:
        while self._work:
            self._work.popleft()()
        if not self._acks_published:
            self._publish_leader()  # one message for many acknowledgements

    def _send_goal(self, pending: _PendingGoal) -> None:
        effect = pending.effect
        if effect.epoch != self._epoch:
            return  # decided in another epoch
        client = self._client(effect.drone_id)
        if not client.is_ready:
            if _now_s() < pending.give_up_at_s:
                self._waiting.append(pending)
            else:
                self._post(GoalUnreachable(effect.drone_id, effect.order.message_id, effect.attempt))
            return
        order, fleet_id = effect.order, self._strangers.fleet_id
        goal = messages.goal_to_msg(order, effect.attempt, effect.epoch, self._instance_id, fleet_id)
        sent = client.send(goal, messages.goal_uuid(effect.order.message_id, effect.attempt))
        sent.add_done_callback(lambda done: self._on_goal_answer(effect, done))

    def _on_goal_answer(self, effect: SendGoal, done: Future) -> None:
        if effect.epoch != self._epoch:
            return  # the current leader sends its own goals
        if done.cancelled() or done.exception() is not None:
            self._post(GoalUnreachable(effect.drone_id, effect.order.message_id, effect.attempt))
            return
        accepted = bool(done.result().accepted)
        self._post(GoalAnswered(effect.drone_id, effect.order.message_id, effect.attempt, accepted))

    def _recall(self, pending: _PendingRecall) -> None:
        """Cancel the goal, whichever leader sent it: its id is derived from order and attempt."""
        effect = pending.effect
        try:
            client = self._client(effect.drone_id)
        except names.InvalidDroneId as error:  # a record in the store says so; no drone that is heard is called that
            self._node.get_logger().error(f"{effect.message_id} cannot be recalled: {error}")
            return
        sent = client.recall(messages.goal_uuid(effect.message_id, effect.attempt))
        if not sent and _now_s() < pending.give_up_at_s:
            self._recalls.append(pending)

    def _client(self, drone_id: str) -> GoalClient:
        self._without_client.pop(drone_id, None)
        client = self._clients.pop(drone_id, None)
        if client is None:
            client = GoalClient(self._node, names.drone_action(drone_id))
        self._clients[drone_id] = client  # last in the dict: used last
        return client

    def _create_clients(self) -> None:
        """Create clients for known drones before there is a goal to send, even while standing by, because discovery is
        slow. Few per tick, because each takes milliseconds of the executor's time."""
        if not self._without_client or executors.is_classic(self._node.executor):
            return
        for drone_id in list(self._without_client)[:NEW_CLIENTS_PER_TICK]:
            del self._without_client[drone_id]
            self._client(drone_id)

    def _destroy_idle_clients(self) -> None:
        """Destroy the least recently used clients, except those waiting for discovery or for an answer."""
        asked = {goal.effect.drone_id for goal in self._waiting} | {each.effect.drone_id for each in self._recalls}
        spare = [d for d, client in self._clients.items() if d not in asked and not client.is_waiting]
        for drone_id in spare[: max(0, len(self._clients) - CLIENTS_KEPT)]:
            self._destroy_client(drone_id)

    def _destroy_client(self, drone_id: str) -> None:
        client = self._clients.pop(drone_id, None)
        if client is not None:
            client.destroy()

    def _on_state(self, msg: DroneState) -> None:
        if not self._instance_id:
            return
        if self._strangers.ignores("drone", msg.drone_id, msg.fleet_id, topic=names.DRONE_STATES):
            return
        try:
            report = messages.report_from_msg(msg)
            names.check_drone_id(report.drone_id)
        except ValueError as error:
            self._node.get_logger().warning(f"drone state dropped: {error}", throttle_duration_sec=10.0)
            return
        if report.drone_id not in self._clients:
            self._without_client[report.drone_id] = None
        self._acks.heard(report)
        self._post(DroneHeard(report))
        if _now_s() >= self._clock_heard_at_s.get(report.drone_id, 0.0) + CLOCK_PERIOD_S:
            self._clock_heard_at_s[report.drone_id] = _now_s()
            if msg.stamp.sec:
                self._post(ClockHeard(report.drone_id, messages.time_from_msg(msg.stamp)))

    def _acknowledge(self, effect: AcknowledgeOutcome) -> None:
        if self._acks.add(effect):
            self._acks_published = False

    def _publish_leader(self) -> None:
        self._acks_published = True
        if self._leader_pub is None:
            return
        self._published_at_s = _now_s()
        self._leader_pub.publish(
            LeaderState(
                stamp=self._node.get_clock().now().to_msg(),
                instance_id=self._instance_id,
                holder=self._node.get_name(),
                fleet_id=self._strangers.fleet_id,
                epoch=self._epoch,
                region=self._region,
                acknowledged=[messages.ack_to_msg(ack) for ack in self._acks.all()],
            )
        )

    def _on_clearance_request(self, reply: Reply) -> None:
        request = reply.request
        # No answer at all: the drone would take it for the answer of its own leader.
        if self._strangers.ignores("drone", request.drone_id, request.fleet_id, topic=names.REQUEST_CLEARANCE):
            return
        if self._epoch:
            self._ask(reply)
        elif self._instance_id:
            self._held.append(_PendingClearance(reply, _now_s() + STANDBY_ANSWERS_S))

    def _ask(self, reply: Reply) -> None:
        """Pass a request on to the core, which answers it after the commit."""
        request = reply.request
        request_id, self._next_request_id = self._next_request_id, self._next_request_id + 1
        self._asked[request_id] = _PendingClearance(reply, _now_s() + CLEARANCE_TIMEOUT_S)
        self._post(
            ClearanceRequested(
                request_id,
                request.drone_id,
                request.message_id,
                request.attempt,
                request.journal_id,
                request.highest_epoch,
            )
        )

    def _answer(self, effect: AnswerClearance) -> None:
        self._reply(effect.request_id, messages.clearance_to_msg(effect))

    def _reply(self, request_id: int, answer: RequestClearance.Response) -> None:
        pending = self._asked.pop(request_id, None)
        if pending is not None:
            self._send(pending.reply, answer)

    def _send(self, reply: Reply, answer: RequestClearance.Response) -> None:
        request = reply.request
        answer.message_id, answer.attempt = request.message_id, request.attempt
        answer.journal_id, answer.fleet_id = request.journal_id, self._strangers.fleet_id
        reply.send(answer)


def _now_s() -> float:
    """Return monotonic real time (s), so that housekeeping continues while simulated time is paused."""
    return time.monotonic()
