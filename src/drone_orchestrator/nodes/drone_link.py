"""The orchestrator's link to the drones: goals, recalls, clearance, acknowledgements.

All ROS calls happen on the executor's thread. The deciding thread hands work over through a queue and a task of the
executor, so it never waits for DDS and no entity is used from two threads.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from dataclasses import dataclass

from drone_interfaces.msg import DroneState, LeaderState
from drone_interfaces.srv import RequestClearance
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

from ..core.effects import AcknowledgeOutcome, AnswerClearance, RecallGoal, SendGoal
from ..core.events import ClearanceRequested, DroneHeard, Event, GoalAnswered, GoalUnreachable
from ..core.types import Verdict
from . import convert, names, qos
from .goal_client import GoalClient
from .qos_watch import QosWatch

FLEET_DEPTH = 1000
GOAL_TIMEOUT_S = 3.0
CLEARANCE_TIMEOUT_S = 5.0
#: Every wake of the executor looks at all entities that there are: the clients of drones that fly or have flown just
#: now are kept, and no more than so many. A new one has to find its drone first, which takes longer than all the rest.
CLIENTS_KEPT = 128


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
    future: Future
    give_up_at_s: float


class DroneLink:
    """Implements :class:`~drone_orchestrator.runtime.driver.Fleet`'s drone part on ROS 2.

    ``open_office`` and ``close_office`` frame the time as leader: only the leader offers ``request_clearance`` and
    publishes ``leader``. With a server on every replica, a standby's *not the leader* would often be the first answer.
    """

    def __init__(
        self,
        node: LifecycleNode,
        post: Callable[[Event], None],
        instance_id: str,
        region: str,
        watch: QosWatch,
    ) -> None:
        self._node = node
        self._post = post
        self._instance_id = instance_id
        self._region = region
        self._epoch = 0
        self._work: collections.deque[Callable[[], None]] = collections.deque()
        self._reentrant = ReentrantCallbackGroup()
        self._clients: dict[str, GoalClient] = {}
        self._waiting: list[_PendingGoal] = []
        self._recalls: list[_PendingRecall] = []
        self._asked: dict[int, _PendingClearance] = {}
        self._next_request_id = 1
        self._unanswered = 0
        self._acks: dict[tuple[str, str, int], AcknowledgeOutcome] = {}
        self._leader_pub = None
        self._clearance_srv = None
        self._published_at_s = 0.0
        self._watch = watch
        profile = qos.state(FLEET_DEPTH)
        self._states = node.create_subscription(
            DroneState,
            names.DRONE_STATES,
            self._on_state,
            profile,
            **watch.subscribing(names.DRONE_STATES, profile),
        )

    # --- called from the deciding thread ------------------------------------------------------------------------

    def run_on_ros(self, work: Callable[[], None]) -> None:
        """Run ``work`` on the executor's thread."""
        self._work.append(work)
        executor = self._node.executor
        if executor is not None:  # before the node is spun, the first tick finds it
            # No guard condition: the events executor takes none.
            executor.create_task(self._drain)

    def send_goal(self, effect: SendGoal) -> None:
        self.run_on_ros(lambda: self._send_goal(_PendingGoal(effect, _now_s() + GOAL_TIMEOUT_S)))

    def recall(self, effect: RecallGoal) -> None:
        self.run_on_ros(lambda: self._recall(_PendingRecall(effect, _now_s() + GOAL_TIMEOUT_S)))

    def answer_clearance(self, effect: AnswerClearance) -> None:
        self.run_on_ros(lambda: self._answer(effect))

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        self.run_on_ros(lambda: self._acknowledge(effect))

    # --- on the executor's thread -------------------------------------------------------------------------------

    def open_office(self, epoch: int) -> None:
        self._epoch = epoch
        profile = qos.state()
        self._leader_pub = self._node.create_publisher(
            LeaderState, names.LEADER, profile, **self._watch.publishing(names.LEADER, profile)
        )
        if self._clearance_srv is None:
            self._clearance_srv = self._node.create_service(
                RequestClearance,
                names.REQUEST_CLEARANCE,
                self._on_clearance_request,
                # A request waits for its commit; in the default group it would keep everything else waiting with it.
                callback_group=self._reentrant,
            )
        self._publish_leader()

    def close_office(self) -> None:
        self._epoch = 0
        for pending in self._asked.values():
            if not pending.future.done():
                pending.future.set_result(RequestClearance.Response(verdict=int(Verdict.NOT_LEADER)))
        self._asked.clear()
        self._acks.clear()
        self._waiting.clear()
        self._recalls.clear()
        self._close_clearance()
        if self._leader_pub is not None:
            self._node.destroy_publisher(self._leader_pub)
            self._leader_pub = None
        for client in self._clients.values():
            client.destroy()
        self._clients.clear()

    def destroy(self) -> None:
        """Give everything up; a service whose answers are still to be sent goes with :meth:`is_closed`."""
        self.close_office()
        self._node.destroy_subscription(self._states)

    def is_closed(self) -> bool:
        """After :meth:`destroy`: withdraw what could not be withdrawn at once, and tell whether all of it is gone."""
        self._close_clearance()
        return self._clearance_srv is None

    def _close_clearance(self) -> None:
        """Withdraw the service, but not under requests whose answers are still to be sent on it."""
        if self._clearance_srv is not None and not self._epoch and not self._unanswered:
            self._node.destroy_service(self._clearance_srv)
            self._clearance_srv = None

    def tick(self) -> None:
        """Housekeeping, about ten times a second: goals whose server was not found yet, answers that never came."""
        now = _now_s()
        self._drain()
        self._close_clearance()
        waiting, self._waiting = self._waiting, []
        for pending in waiting:
            self._send_goal(pending)
        recalls, self._recalls = self._recalls, []
        for recall in recalls:
            self._recall(recall)
        if len(self._clients) > CLIENTS_KEPT:
            self._give_clients_back()
        for request_id in [i for i, pending in self._asked.items() if now >= pending.give_up_at_s]:
            asked = self._asked.pop(request_id)
            if not asked.future.done():
                asked.future.set_result(RequestClearance.Response(verdict=int(Verdict.ASK_AGAIN), epoch=self._epoch))
        if self._leader_pub is not None and now - self._published_at_s >= 1.0:
            self._publish_leader()

    def _drain(self) -> None:
        while self._work:
            self._work.popleft()()

    def _send_goal(self, pending: _PendingGoal) -> None:
        effect = pending.effect
        if effect.epoch != self._epoch:
            return  # decided in another office
        client = self._client(effect.drone_id)
        if not client.is_ready:
            if _now_s() < pending.give_up_at_s:
                self._waiting.append(pending)
            else:
                self._post(GoalUnreachable(effect.drone_id, effect.order.message_id, effect.attempt))
            return
        goal = convert.goal_to_msg(effect.order, effect.attempt, effect.epoch, self._instance_id)
        sent = client.send(goal, convert.goal_uuid(effect.order.message_id, effect.attempt))
        sent.add_done_callback(lambda done: self._on_goal_answer(effect, done))

    def _on_goal_answer(self, effect: SendGoal, done: Future) -> None:
        if done.cancelled() or done.exception() is not None:
            self._post(GoalUnreachable(effect.drone_id, effect.order.message_id, effect.attempt))
            return
        accepted = bool(done.result().accepted)
        self._post(GoalAnswered(effect.drone_id, effect.order.message_id, effect.attempt, accepted))

    def _recall(self, pending: _PendingRecall) -> None:
        """The goal's id follows from order and attempt: it can be recalled whoever has sent it."""
        effect = pending.effect
        sent = self._client(effect.drone_id).recall(convert.goal_uuid(effect.message_id, effect.attempt))
        if not sent and _now_s() < pending.give_up_at_s:
            self._recalls.append(pending)

    def _client(self, drone_id: str) -> GoalClient:
        client = self._clients.pop(drone_id, None)
        if client is None:
            client = GoalClient(self._node, names.drone_action(drone_id))
        self._clients[drone_id] = client  # at the end: used last
        return client

    def _give_clients_back(self) -> None:
        """Destroy those that were not used for longest, but none that is still to find its drone or to be answered."""
        asked = {goal.effect.drone_id for goal in self._waiting} | {each.effect.drone_id for each in self._recalls}
        spare = [d for d, client in self._clients.items() if d not in asked and not client.is_waiting]
        for drone_id in spare[: max(0, len(self._clients) - CLIENTS_KEPT)]:
            self._destroy_client(drone_id)

    def _destroy_client(self, drone_id: str) -> None:
        client = self._clients.pop(drone_id, None)
        if client is not None:
            client.destroy()

    def _on_state(self, msg: DroneState) -> None:
        try:
            report = convert.report_from_msg(msg)
            names.check_drone_id(report.drone_id)
        except ValueError as error:
            self._node.get_logger().warning(f"drone state dropped: {error}", throttle_duration_sec=10.0)
            return
        listed = {(report.drone_id, o.message_id, o.attempt) for o in report.outcomes}
        for key in [k for k in self._acks if k[0] == report.drone_id and k not in listed]:
            del self._acks[key]  # the drone has it
        self._post(DroneHeard(report))

    def _acknowledge(self, effect: AcknowledgeOutcome) -> None:
        key = (effect.drone_id, effect.message_id, effect.attempt)
        if self._acks.get(key) != effect:
            self._acks[key] = effect
            self._publish_leader()

    def _publish_leader(self) -> None:
        if self._leader_pub is None:
            return
        self._published_at_s = _now_s()
        self._leader_pub.publish(
            LeaderState(
                stamp=self._node.get_clock().now().to_msg(),
                instance_id=self._instance_id,
                epoch=self._epoch,
                region=self._region,
                acknowledged=[convert.ack_to_msg(ack) for ack in self._acks.values()],
            )
        )

    async def _on_clearance_request(
        self, request: RequestClearance.Request, response: RequestClearance.Response
    ) -> RequestClearance.Response:
        """Answered when the core answers: after the commit, not before."""
        if not self._epoch:
            response.verdict = int(Verdict.NOT_LEADER)
            return response
        self._unanswered += 1
        try:
            return await self._answer_of(request)
        finally:
            self._unanswered -= 1

    async def _answer_of(self, request: RequestClearance.Request) -> RequestClearance.Response:
        future: Future = Future()
        request_id, self._next_request_id = self._next_request_id, self._next_request_id + 1
        self._asked[request_id] = _PendingClearance(future, _now_s() + CLEARANCE_TIMEOUT_S)
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
        answer: RequestClearance.Response = await future
        answer.message_id, answer.attempt = request.message_id, request.attempt
        answer.journal_id = request.journal_id
        return answer

    def _answer(self, effect: AnswerClearance) -> None:
        pending = self._asked.pop(effect.request_id, None)
        if pending is not None and not pending.future.done():
            pending.future.set_result(convert.clearance_to_msg(effect))


def _now_s() -> float:
    """Real time, by a clock that only goes forward: housekeeping goes on where simulated time stands still."""
    return time.monotonic()
