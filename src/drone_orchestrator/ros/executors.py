"""The rclpy executor that spins a process.

The classic executor rebuilds its wait set in Python on each wake, so every wake costs time for every entity of the
process. The events executor is called back by DDS and avoids that cost, so processes of many drones use it. An
environment variable selects the classic one instead. The events executor is experimental and has traps:

* ``spin()`` in the Jazzy wheels burns a core, fires no timer and cannot be stopped. Slices of ``spin_once`` work.
* An ``Exception`` raised by a task crashes the process. :class:`_Escaped` carries it out instead.
* It polls a waiting task in a busy loop, so a goal in flight would burn a core. :mod:`.goal_server` needs no such task.
* Its queue refers to entities that it does not own. Destroying an entity while it spins can crash the process, so
  processes keep their entities until they end. A publisher without event callbacks is not one of the executor's
  entities, and may come and go.
* It refuses nodes with guard conditions. ``node.executor.create_task(call)`` wakes either kind from another thread.
* It never awaits a callback that is a coroutine. :mod:`.deferred_service` answers later without one.
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

#: Environment variable that overrides a process's choice: ``classic`` or ``events``.
VARIABLE = "DRONE_ORCHESTRATOR_EXECUTOR"
CLASSIC, EVENTS = "classic", "events"
#: Longest wait (s) of the events executor. An event normally wakes it at once. Occasionally one is noticed only at the
#: end of the slice, and it may be the one that reports a leader's death.
SLICE_S = 0.1


class UnknownExecutor(ValueError):
    """The environment names an unknown executor. The text is one line that says what to change."""


class _Escaped(BaseException):
    """Wrapper of an exception on its way out of a task of the events executor."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def classic() -> Executor:
    """Return the single-threaded executor, for processes with few entities."""
    return SingleThreadedExecutor()


def events() -> Executor:
    """Return the events executor, for processes with many entities.

    Falls back to the classic one if this ROS distribution has no events executor, or if the environment selects it.
    Raises :class:`UnknownExecutor`.
    """
    name = os.environ.get(VARIABLE) or EVENTS
    if name not in (CLASSIC, EVENTS):
        raise UnknownExecutor(f"{VARIABLE} must be {CLASSIC} or {EVENTS}, got {name!r}")
    return classic() if name == CLASSIC else _events()


def is_classic(executor: Executor | None) -> bool:
    """Return whether ``executor`` is a classic one: slower per entity, but entities may be destroyed while it spins."""
    return isinstance(executor, rclpy.executors.Executor)


def call_soon(node: Node, call: Callable[[], None]) -> bool:
    """Run ``call`` on the thread that spins ``node``; return ``False`` if none does yet. Callable from any thread."""
    executor = node.executor
    if executor is None:
        return False
    executor.create_task(call)  # no guard condition: the events executor takes none
    return True


def spin(executor: Executor) -> None:
    """Spin until a callback or a task raises, and re-raise its exception."""
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
        """Events executor that passes exceptions of tasks to :func:`spin`."""

        def create_task(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return super().create_task(_carrying(callback), *args, **kwargs)

    executor: Executor = Events(context)
    context.on_shutdown(executor.wake)
    return executor


def _carrying(task: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``task`` with its exceptions wrapped in :class:`_Escaped`."""
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
