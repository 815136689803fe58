"""Which rclpy executor spins a process.

The classic one rebuilds its wait set in Python on each wake, so every wake costs time for every entity of the process.
The events executor is called back by DDS and does not: processes of many drones ask for it, and the environment can
give them the classic one. It is experimental and has traps:

* ``spin()`` of the Jazzy wheels burns a core, fires no timer and cannot be ended; slices of ``spin_once`` do neither.
* An ``Exception`` of a task ends the process by a segmentation fault; :class:`_Escaped` carries it out.
* It runs a task that awaits something over and over: a goal under way burns a core (:mod:`.goal_server` has none).
* What DDS has told of an entity waits in its queue, which owns nothing of what it names: an entity that is destroyed
  while it spins can end the process by a segmentation fault. So its processes keep what they have on DDS until they
  end. A publisher without event callbacks is none of the executor's entities, and may come and go.
* It refuses nodes with guard conditions (``node.executor.create_task(call)`` wakes either kind from another thread) and
  never awaits a callback that is a coroutine (:mod:`.deferred_service` answers later without one).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import rclpy.executors
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node

#: Overrides what a process asks for: ``classic`` or ``events``.
VARIABLE = "DRONE_ORCHESTRATOR_EXECUTOR"
CLASSIC, EVENTS = "classic", "events"
#: How long (s) the events executor may wait in one go. What happens wakes it at once, but not always: now and then an
#: event waits for the end of the slice, and it may be the one that tells of a leader's end.
SLICE_S = 0.1


class UnknownExecutor(ValueError):
    """The environment names an executor that there is none of; the text is one line that says what to change."""


class _Escaped(BaseException):
    """An exception on its way out of a task of the events executor."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def classic() -> Executor:
    """The single-threaded executor, for processes of few entities."""
    return SingleThreadedExecutor()


def events() -> Executor:
    """The events executor, for processes of many entities.

    The classic one where this ROS distribution has none, and where the environment asks for it. Raises
    :class:`UnknownExecutor`.
    """
    name = os.environ.get(VARIABLE) or EVENTS
    if name not in (CLASSIC, EVENTS):
        raise UnknownExecutor(f"{VARIABLE}={name}: {CLASSIC} or {EVENTS} is wanted")
    return classic() if name == CLASSIC else _events()


def is_classic(executor: Executor | None) -> bool:
    """Whether it is one of rclpy's own: it looks at every entity on each wake, and entities may be destroyed."""
    return isinstance(executor, rclpy.executors.Executor)


def call_soon(node: Node, call: Callable[[], None]) -> bool:
    """From any thread: have the thread that spins ``node`` call; ``False`` where it is not spun yet."""
    executor = node.executor
    if executor is None:
        return False
    executor.create_task(call)  # no guard condition: the events executor takes none
    return True


def spin(executor: Executor) -> None:
    """Spin until a callback or a task raises, and raise that."""
    if is_classic(executor):
        executor.spin()
        return
    try:
        while True:
            executor.spin_once(timeout_sec=SLICE_S)
    except _Escaped as escaped:
        raise escaped.error from escaped


def _events() -> Executor:
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return classic()
    base: Any = type(EventsExecutor())
    context = rclpy.get_default_context()

    class Events(base):
        """Hands what a task raises to :func:`spin`."""

        def create_task(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return super().create_task(_carrying(callback), *args, **kwargs)

    executor: Executor = Events(context)
    context.on_shutdown(executor.wake)
    return executor


def _carrying(task: Callable[..., Any]) -> Callable[..., Any]:
    """``task``, with :class:`_Escaped` around what it raises."""
    if inspect.iscoroutinefunction(task):

        @wraps(task)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            try:
                return await task(*args, **kwargs)
            except Exception as error:
                raise _Escaped(error) from error

        return coroutine

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return task(*args, **kwargs)
        except Exception as error:
            raise _Escaped(error) from error

    return call
