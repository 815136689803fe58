"""Behaviour of both executors that processes rely on: punctual timers, actions, tasks of other threads, prompt end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from drone_interfaces.action import ExecuteDelivery
from rclpy.action import ActionClient, ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from drone_orchestrator.bringup.local_fleet import dies_with_parent
from drone_orchestrator.ros import executors
from drone_orchestrator.ros.goal_server import GoalServer

pytestmark = pytest.mark.ros
KINDS = [executors.CLASSIC, executors.EVENTS]
#: A service's queue holds ten requests.
GOALS = 8
DEADLINE_S = 90.0
#: Largest share of a processor that waiting may use. An executor that polls uses all of it.
MOST_IDLE = 0.3


class _Enough(Exception):
    """Raised by a test to leave ``spin``."""


def stop() -> None:
    raise _Enough


@pytest.fixture
def node(domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    context = rclpy.get_default_context()
    rclpy.init(context=context)
    node = Node("under_test")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def spin_until(executor: Executor, work: Callable[[], None]) -> None:
    """Spin until ``work``, which runs on another thread, has returned."""

    def end() -> None:
        work()
        executor.create_task(stop)

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(_Enough):
        executors.spin(executor)
    thread.join()


def make(kind: str) -> Executor:
    return {executors.CLASSIC: executors.classic, executors.EVENTS: executors.events}[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_timers_fire_in_number_and_an_idle_process_sleeps(node: Node, kind: str) -> None:
    executor, fired_s = make(kind), []

    def fire() -> None:
        fired_s.append(time.monotonic())
        if len(fired_s) == 20:
            stop()

    began_s, used_s = time.monotonic(), time.process_time()
    node.create_timer(0.1, fire)
    executor.add_node(node)
    with pytest.raises(_Enough):
        executors.spin(executor)
    took_s = fired_s[-1] - began_s
    assert took_s >= 0.1 * 19, "too early"
    assert time.process_time() - used_s < MOST_IDLE * took_s


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_of_another_thread_run_at_once(node: Node, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slice_s = 4.0  # now and then a task waits until the end of the slice
    monkeypatch.setattr(executors, "SLICE_S", slice_s)
    executor = make(kind)
    executor.add_node(node)
    late_s: list[float] = []

    def hand_over() -> None:
        for _ in range(20):
            asked_s, ran = time.monotonic(), threading.Event()
            executor.create_task(ran.set)
            if not ran.wait(DEADLINE_S):
                return
            late_s.append(time.monotonic() - asked_s)

    spin_until(executor, hand_over)
    assert len(late_s) == 20
    assert sorted(late_s)[10] < slice_s / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["task", "coroutine", "done callback", "timer"])
def test_an_exception_of_a_callback_leaves_spin(node: Node, kind: str, where: str) -> None:
    executor = make(kind)
    executor.add_node(node)

    async def stop_soon() -> None:
        stop()

    if where == "task":
        executor.create_task(stop)
    elif where == "coroutine":
        executor.create_task(stop_soon)
    elif where == "timer":
        node.create_timer(0.01, stop)
    else:
        future = Future(executor=executor)
        future.add_done_callback(lambda done: stop())
        future.set_result(None)
    with pytest.raises(_Enough):
        executors.spin(executor)


@pytest.mark.parametrize("kind", KINDS)
def test_many_simultaneous_goals_are_all_executed(node: Node, kind: str) -> None:
    executor, results = make(kind), []

    def execute(handle: object) -> ExecuteDelivery.Result:
        handle.succeed()  # type: ignore[attr-defined]
        return ExecuteDelivery.Result(message_id=handle.request.message_id)  # type: ignore[attr-defined]

    server = ActionServer(node, ExecuteDelivery, "deliver", execute)
    client = ActionClient(node, ExecuteDelivery, "deliver")
    executor.add_node(node)

    def accepted(future: object) -> None:
        future.result().get_result_async().add_done_callback(arrived)  # type: ignore[attr-defined]

    def arrived(future: object) -> None:
        results.append(future.result().result.message_id)  # type: ignore[attr-defined]
        if len(results) == GOALS:
            executor.create_task(stop)

    def ask() -> None:
        for index in range(GOALS):
            goal = ExecuteDelivery.Goal(message_id=str(index))
            client.send_goal_async(goal).add_done_callback(accepted)

    assert client.wait_for_server(timeout_sec=DEADLINE_S)
    executor.create_task(ask)
    with pytest.raises(_Enough):
        executors.spin(executor)
    assert sorted(results, key=int) == [str(index) for index in range(GOALS)]
    client.destroy()
    server.destroy()


@pytest.mark.parametrize("kind", KINDS)
def test_goals_under_way_cost_no_processor_time(node: Node, kind: str) -> None:
    executor, begun, results, used = make(kind), [], [], []
    server = GoalServer(node, ExecuteDelivery, "deliver", begun.append, lambda goal_id: None, lambda goal: False)
    client = ActionClient(node, ExecuteDelivery, "deliver")
    executor.add_node(node)

    def conclude(handle: ServerGoalHandle) -> ExecuteDelivery.Result:
        handle.succeed()
        return ExecuteDelivery.Result(message_id=handle.request.message_id)

    def finish() -> None:
        for handle in begun:
            server.finish(handle, conclude)

    def watch() -> None:
        end = time.monotonic() + DEADLINE_S
        while len(begun) < GOALS and time.monotonic() < end:
            time.sleep(0.02)
        began_s, before_s = time.monotonic(), time.process_time()
        time.sleep(2.0)  # the share of this time that is used is measured
        used.append((time.process_time() - before_s) / (time.monotonic() - began_s))
        executor.create_task(finish)
        while len(results) < GOALS and time.monotonic() < end:
            time.sleep(0.02)

    def ask() -> None:
        for index in range(GOALS):
            goal = ExecuteDelivery.Goal(message_id=str(index))
            client.send_goal_async(goal).add_done_callback(
                lambda sent: (
                    sent.result()
                    .get_result_async()
                    .add_done_callback(
                        lambda done: results.append((done.result().status, done.result().result.message_id))
                    )
                )
            )

    assert client.wait_for_server(timeout_sec=DEADLINE_S)
    executor.create_task(ask)
    spin_until(executor, watch)
    assert sorted(results) == [(GoalStatus.STATUS_SUCCEEDED, str(index)) for index in range(GOALS)]
    assert used[0] < MOST_IDLE
    client.destroy()
    server.destroy()


_PROGRAM = """
import time
from rclpy.node import Node
from rclpy.task import Future
from drone_orchestrator.ros import executors
from drone_orchestrator.ros.process import run_node
class Application:
    def __init__(self):
        self.nodes = (Node("n"),)
        self.nodes[0].create_timer(0.1, self.tick)
    def tick(self):
        print("spinning", flush=True)
    def close(self):
        self.nodes[0].destroy_node()
        print("closed", flush=True)
raise SystemExit(run_node(Application, executor_type=executors.{kind}))
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_order_and_in_time(domain: int, kind: str, number: signal.Signals) -> None:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
    command = [*dies_with_parent(), sys.executable, "-c", _PROGRAM.format(kind=kind)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "spinning\n"
        process.send_signal(number)
        said, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert said.splitlines()[-1] == "closed"


def test_the_environment_overrides_the_executor_of_a_process(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setenv(executors.VARIABLE, executors.CLASSIC)
    assert isinstance(executors.events(), SingleThreadedExecutor)
    monkeypatch.setenv(executors.VARIABLE, "quantum")
    with pytest.raises(executors.UnknownExecutor, match="classic or events"):
        executors.events()
