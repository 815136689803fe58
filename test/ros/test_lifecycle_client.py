"""The lifecycle client asks again when an answer is lost, and still tells a refusal from a transition already made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from node_process import DEADLINE_S, Operator
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from drone_orchestrator.gateway.handover import LeaderUnreachable
from drone_orchestrator.nodes.order_gateway.leader_control import LifecycleControl
from drone_orchestrator.ros import lifecycle_client
from drone_orchestrator.ros.deferred_service import DeferredService, Reply
from drone_orchestrator.ros.lifecycle_client import LifecycleClient, Unreachable

pytestmark = pytest.mark.ros

ACTIVE, INACTIVE = "active", "inactive"
TARGETS = {"activate": ACTIVE, "deactivate": INACTIVE}


class Peer:
    """Node with lifecycle services that does not answer the first ``lost`` requests for a transition."""

    def __init__(self, node: Node, name: str, *, state: str, lost: int = 0, obeys: bool = True) -> None:
        self.name = name
        self.state = state
        self.requests = 0
        self._lost = lost
        self._obeys = obeys
        DeferredService(node, ChangeState, f"{name}/change_state", self._change)
        DeferredService(node, GetState, f"{name}/get_state", self._tell)

    def _change(self, reply: Reply) -> None:
        self.requests += 1
        target = TARGETS[reply.request.transition.label]
        agreed = self._obeys and self.state != target
        self.state = target if agreed else self.state
        if self.requests > self._lost:
            reply.send(ChangeState.Response(success=agreed))

    def _tell(self, reply: Reply) -> None:
        reply.send(GetState.Response(current_state=State(label=self.state)))


@pytest.fixture
def executor(operator: Operator) -> Iterator[SingleThreadedExecutor]:
    """Return the executor of both nodes."""
    executor = SingleThreadedExecutor(context=operator.context)
    yield executor
    executor.shutdown()


@pytest.fixture
def node(operator: Operator, executor: SingleThreadedExecutor) -> Iterator[Node]:
    """Return the node of the peers."""
    node = Node("peers", context=operator.context)
    executor.add_node(node)
    yield node
    node.destroy_node()


@pytest.fixture
def asking(operator: Operator, executor: SingleThreadedExecutor) -> Iterator[Node]:
    node = Node("asking", context=operator.context)
    executor.add_node(node)
    yield node
    node.destroy_node()


@pytest.fixture
def client(asking: Node, executor: SingleThreadedExecutor, monkeypatch: pytest.MonkeyPatch) -> LifecycleClient:
    """Return a client with time enough for a slow machine."""
    monkeypatch.setattr(lifecycle_client, "ANSWER_WITHIN_S", DEADLINE_S)
    monkeypatch.setattr(lifecycle_client, "FIND_WITHIN_S", DEADLINE_S)
    return LifecycleClient(
        asking, lambda future, timeout_s: executor.spin_until_future_complete(future, timeout_sec=timeout_s)
    )


def test_a_transition_whose_answer_was_lost_counts_as_made(client: LifecycleClient, node: Node) -> None:
    peer = Peer(node, "forgetful", state=ACTIVE, lost=1)
    assert client.deactivate(peer.name)
    assert (peer.state, peer.requests > 1) == (INACTIVE, True)
    assert client.activate(peer.name)
    assert peer.state == ACTIVE


def test_a_refusal_whose_answer_was_lost_is_still_a_refusal(client: LifecycleClient, node: Node) -> None:
    peer = Peer(node, "stubborn", state=ACTIVE, lost=2, obeys=False)
    assert not client.deactivate(peer.name)
    assert (peer.state, peer.requests > 2) == (ACTIVE, True)


def test_a_transition_that_does_not_fit_the_state_is_refused(client: LifecycleClient, node: Node) -> None:
    peer = Peer(node, "standby", state=INACTIVE)
    assert not client.deactivate(peer.name)


def test_a_node_that_never_answers_is_unreachable(
    client: LifecycleClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(node, "deaf", state=ACTIVE, lost=1_000_000)
    client.find(peer.name, DEADLINE_S)
    monkeypatch.setattr(lifecycle_client, "ANSWER_WITHIN_S", 0.2)
    with pytest.raises(Unreachable, match=r"deaf did not answer within 0\.2 s"):
        client.deactivate(peer.name)


def test_a_gateway_that_stops_sends_the_request_and_does_not_wait_for_the_answer(
    asking: Node, node: Node, executor: SingleThreadedExecutor
) -> None:
    peer = Peer(node, "left_alone", state=INACTIVE)
    control = LifecycleControl(asking)
    control.close()
    raised: list[Exception] = []

    def activate() -> None:
        try:
            control.activate(peer.name)
        except LeaderUnreachable as error:
            raised.append(error)

    thread = threading.Thread(target=activate)
    thread.start()
    thread.join(DEADLINE_S)
    assert [str(error) for error in raised] == ["the gateway stopped and cannot receive the answer"]
    until_s = time.monotonic() + DEADLINE_S
    while not peer.requests and time.monotonic() < until_s:
        executor.spin_once(timeout_sec=0.1)
    assert peer.requests == 1
