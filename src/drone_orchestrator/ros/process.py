"""Runs a node process: start, spin, stop, exit code."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..runtime import gc_tuning, loops
from ..telemetry.logs import LogFormatError
from . import executors
from .log_bridge import prepare_console

#: Longest time (s) from the death of a thread to the end of the process, if closing waits for what that thread did.
END_WITHIN_S = 10.0


class ConfigurationError(Exception):
    """The process cannot start with these settings. The text is one line that says what to change. Exit code 2."""


class Application(Protocol):
    """Nodes that :func:`run_node` runs."""

    @property
    def nodes(self) -> Sequence[Node]:
        """Nodes to spin, on one executor."""

    def close(self) -> None:
        """Release everything and destroy the nodes. Called after spinning, while the ROS context is still valid."""


class _SingleNode:
    """Application that consists of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.nodes = (node,)

    def close(self) -> None:
        self._node.destroy_node()


def single_node(make: Callable[[], Node]) -> Callable[[], Application]:
    """Return a ``start`` function for :func:`run_node` that runs the one node created by ``make``."""
    return lambda: _SingleNode(make())


class StartAgain(BaseException):
    """Raised in a callback to restart the process; the text says why. Not an ``Exception``, so no handler catches it.

    The process closes as on SIGTERM, then re-executes itself with the same process id and command line. A supervisor is
    not needed and does not notice.
    """


class _Terminated(BaseException):
    """SIGINT or SIGTERM arrived. Not an ``Exception``, so that no error handler catches it."""


def run_node(
    start: Callable[[], Application],
    args: Sequence[str] | None = None,
    executor_type: Callable[[], Executor] = executors.classic,
) -> int:
    """Initialise ROS, ``start`` the application, spin until SIGINT or SIGTERM, close it, and return the exit code.

    0: ended by a signal; 1: an unexpected exception, with its traceback on stderr, or the death of any thread, with its
    traceback in the log; 2: a :class:`ConfigurationError`, as one line on stderr. ROS's own signal handlers are not
    used: they invalidate the context first, so a node could not publish a last message. Must be called on the main
    thread. On :class:`StartAgain` it does not return, unless a signal has arrived too.
    """
    stopped = threading.Event()
    try:
        return _run(start, args, executor_type, stopped)
    except StartAgain as reason:
        print(f"{_program()}: starting again: {reason}", file=sys.stderr, flush=True)
    # From here on a signal ends the process at once: everything is closed, and no signal may be lost.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    if stopped.is_set():
        return 0
    sys.stdout.flush()
    # DDS leaves sockets open if spinning was interrupted. They would block its ports for the new process.
    for fd in map(int, os.listdir("/dev/fd")):
        if fd > 2:
            with suppress(OSError):  # listdir's own descriptor is already closed
                os.set_inheritable(fd, False)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _program() -> str:
    """Return the name of this program, whether started by its script or by ``python -m``."""
    path = Path(sys.argv[0])
    return path.parent.name if path.name == "__main__.py" else path.name


def _run(
    start: Callable[[], Application],
    args: Sequence[str] | None,
    executor_type: Callable[[], Executor],
    stopped: threading.Event,
) -> int:
    application: Application | None = None
    try:
        _initialise(args)
        try:
            executor = executor_type()
        except executors.UnknownExecutor as error:
            raise ConfigurationError(str(error)) from error
        with _signals_end(executor, stopped), _deaths_end(executor):
            try:
                application = start()
            except NameValidationException as error:  # of a remapping, or of a parameter that becomes a name
                raise ConfigurationError(_one_line(error)) from error
            for node in application.nodes:
                executor.add_node(node)
            gc_tuning.calm()
            executors.spin(executor)
        return 0
    except _Terminated:
        return 0
    except ConfigurationError as error:
        print(f"{_program()}: {error}", file=sys.stderr)
        return 2
    except loops.ThreadDied:
        return 1  # the log has the reason
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        if application is not None:
            application.close()
        rclpy.try_shutdown()


def _initialise(args: Sequence[str] | None) -> None:
    """Initialise ROS. Raises :class:`ConfigurationError` for arguments that it cannot use."""
    try:
        prepare_console()
        rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
    except LogFormatError as error:
        raise ConfigurationError(str(error)) from error
    except RuntimeError as error:  # the base of what rclpy raises for rcl's errors
        raise ConfigurationError(f"ROS does not start: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """Return the text of an error of ROS without its places in ROS's sources."""
    return " ".join(re.sub(r",? at \S+:\d+", "", str(error)).split())


@contextmanager
def _deaths_end(executor: Executor) -> Iterator[None]:
    """Let the death of any thread raise :class:`~drone_orchestrator.runtime.loops.ThreadDied` out of ``executor.spin``.

    A process without one of its threads must not look alive. It closes as usual; if that takes too long, because it
    waits for the dead thread, it ends at once.
    """
    dead = threading.Event()

    def end() -> None:
        raise loops.ThreadDied

    def on_death() -> None:
        if not dead.is_set():
            dead.set()
            last = threading.Timer(END_WITHIN_S, os._exit, (1,))
            last.daemon = True
            last.start()
            executor.create_task(end)

    with loops.deaths_reported(on_death):
        yield


@contextmanager
def _signals_end(executor: Executor, stopped: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM raise :class:`_Terminated` out of ``executor.spin``, between two callbacks.

    A Python signal handler would not run while the main thread waits inside DDS. Instead, the interpreter's C handler
    writes to a socket; a thread reads it and gives the executor a task that raises. Later signals have no further
    effect. Each signal sets ``stopped``, also after the block.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)

    def end() -> None:
        raise _Terminated

    def watch() -> None:
        if receiver.recv(1):
            executor.create_task(end)

    previous_fd = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda signum, frame: stopped.set())
    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_fd)
        sender.close()
        watcher.join()
        receiver.close()
