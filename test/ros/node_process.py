"""A node as a real process whose output can be waited for, and a client with the requests of ROS 2's own tools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from drone_interfaces.msg import DroneState
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python

from drone_orchestrator.bringup import dds
from drone_orchestrator.bringup.local_fleet import dies_with_parent

T = TypeVar("T")
DEADLINE_S = 90.0
#: Interval (s) at which an unanswered request is sent again.
AGAIN_S = 2.0


class NodeProcess:
    """``executable`` with ``parameters`` in a DDS domain; a context manager that leaves nothing behind."""

    def __init__(self, domain: int, executable: str, *extra: str, **parameters: Any) -> None:
        pairs = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        self.process = subprocess.Popen(
            [*dies_with_parent(), *self.command(executable), "--ros-args", *pairs, *extra],
            env={**os.environ, **dds.loopback(), "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def command(self, executable: str) -> list[str]:
        """Return the command line without ROS arguments."""
        return [sys.executable, "-m", f"drone_orchestrator.nodes.{executable}"]

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def wait_line(self, text: str, times: int = 1, timeout_s: float = DEADLINE_S) -> str:
        """Wait for the ``times``-th line that contains ``text``, and return it."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._heard:
            assert self._heard.wait_for(lambda: len(found()) >= times, timeout_s), "".join(self.lines)
            return found()[times - 1]

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send the signal, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        self.finish()
        return code

    def finish(self) -> None:
        """Wait for the last line of a process that has ended."""
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line)
                self._heard.notify_all()


class Operator:
    """A plain ROS 2 client in ``domain``; a context manager. Every call has a deadline."""

    def __init__(self, domain: int, name: str = "an_operator") -> None:
        before = {key: os.environ.get(key) for key in dds.loopback()}
        os.environ.update(dds.loopback())
        try:
            self.context = rclpy.Context()
            self.context.init(domain_id=domain)
            self.node: Node = rclpy.create_node(name, context=self.context)
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def wait(self, what: str, look: Callable[[], T], timeout_s: float = DEADLINE_S) -> T:
        """Spin until ``look()`` is true, and return its value."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := look():
                return found
            self._executor.spin_once(timeout_sec=0.1)
        raise AssertionError(f"not within {timeout_s} s: {what}")

    def result(self, future: Any, what: str) -> Any:
        self.wait(what, future.done)
        return future.result()

    def answer(self, ask: Callable[[], Any], what: str) -> Any:
        """Return the first answer to ``ask()``, repeated until there is one.

        A server drops its answer to a client that it has not discovered yet, and the client cannot see that.
        """
        asked: list[Any] = []
        first = self.repeat(
            lambda: asked.append(ask()), lambda: next((each for each in asked if each.done()), None), what
        )
        return first.result()

    def repeat(self, act: Callable[[], object], look: Callable[[], T], what: str) -> T:
        """Call ``act`` now and every few seconds until ``look()`` is true, and return its value."""
        again_s = 0.0

        def seen() -> T:
            nonlocal again_s
            if time.monotonic() >= again_s:
                act()
                again_s = time.monotonic() + AGAIN_S
            return look()

        return self.wait(what, seen)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Return the answer of service ``name``, which may receive the request more than once."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, name)
        self.wait(f"{name} is there", client.service_is_ready)
        return self.answer(lambda: client.call_async(request), f"{name} answers")

    # --- parameters and lifecycle, as `ros2 param` and `ros2 lifecycle` do it -----------------------------------------

    def set_parameter(self, node: str, name: str, value: Any) -> str:
        """Set a parameter; return the reason of a refusal, empty if it was set."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        [result] = self.call(SetParameters, f"{node}/set_parameters", request).results
        assert result.successful == (not result.reason)
        return str(result.reason)

    def get_parameter(self, node: str, name: str) -> Any:
        [value] = self.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[name])).values
        return parameter_value_to_python(value)

    def describe(self, node: str, names: Sequence[str]) -> list[ParameterDescriptor]:
        request = DescribeParameters.Request(names=list(names))
        return list(self.call(DescribeParameters, f"{node}/describe_parameters", request).descriptors)

    def state(self, node: str) -> str:
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def change_state(self, node: str, transition: int) -> bool:
        """Return whether the node made the transition. It receives the request once."""
        service = f"{node}/change_state"
        # Every node answers "no" to a label that does not exist; after that answer none is lost.
        self.call(ChangeState, service, ChangeState.Request(transition=Transition(label="none")))
        asked = self._clients[service].call_async(ChangeState.Request(transition=Transition(id=transition)))
        return bool(self.result(asked, f"{service} answers").success)

    def wait_state(self, node: str, state: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while (now := self.state(node)) != state:
            assert time.monotonic() < deadline, f"{node} is {now}, not {state}"
            self._executor.spin_once(timeout_sec=0.1)

    # --- topics -------------------------------------------------------------------------------------------------------

    def hears_states(self, drone_id: str, *, at_least: int, within_s: float) -> bool:
        heard: list[DroneState] = []
        subscription = self.node.create_subscription(DroneState, "drone_states", heard.append, 100)
        try:
            self.wait("states", lambda: sum(s.drone_id == drone_id for s in heard) >= at_least, within_s)
        finally:
            self.node.destroy_subscription(subscription)
        return True

    def wait_status(
        self, name: str, fits: Callable[[DiagnosticStatus], bool] = lambda status: True, timeout_s: float = DEADLINE_S
    ) -> DiagnosticStatus:
        """Return the first status ``name`` of ``/diagnostics`` that ``fits``."""
        found: list[DiagnosticStatus] = []
        seen: dict[str, str] = {}

        def look(array: DiagnosticArray) -> None:
            seen.update((status.name, f"{status.level!r} {status.message}") for status in array.status)
            found.extend(status for status in array.status if status.name == name and fits(status))

        subscription = self.node.create_subscription(DiagnosticArray, "/diagnostics", look, 100)
        try:
            deadline = time.monotonic() + timeout_s
            while not found:
                assert time.monotonic() < deadline, f"no such status {name}; latest of each: {seen}"
                self._executor.spin_once(timeout_sec=0.1)
        finally:
            self.node.destroy_subscription(subscription)
        return found[0]
