"""Sessions with the fleet over ROS: listening to it, and changing its nodes' lifecycle."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from ..core.types import DroneReport
from ..ros import environment
from .context import Target, ros_environment
from .output import Failure

if TYPE_CHECKING:
    from ..ros.fleet_client import FleetListener
    from ..ros.lifecycle_client import LifecycleClient

T = TypeVar("T")

#: By drone id: its last report, and the age of that in s.
Heard = Mapping[str, tuple[DroneReport, float]]


@contextmanager
def hearing(target: Target, namespace: str) -> Iterator[FleetListener]:
    """Listen to the fleet over DDS. Raises :class:`Failure` if ROS is missing or does not start."""
    fleet_client = _client(target)
    try:
        namespace = fleet_client.full_namespace(namespace)
    except ValueError as error:
        raise Failure(f"--namespace: {error}") from error
    with _started(fleet_client.FleetListener(namespace)) as listener:
        yield listener


@contextmanager
def operating(target: Target, namespace: str) -> Iterator[LifecycleClient]:
    """Change nodes' lifecycle. Raises :class:`Failure` for a node that does not answer."""
    fleet_client = _client(target)
    from ..ros import lifecycle_client

    try:
        with _started(fleet_client.LifecycleSession(fleet_client.full_namespace(namespace))) as operator:
            yield operator
    except lifecycle_client.Unreachable as error:
        raise Failure(str(error)) from error
    except ValueError as error:
        raise Failure(f"--namespace: {error}") from error


def require_ros_environment(values: Mapping[str, str]) -> None:
    """Raise a one-line :class:`Failure` if ROS could not start with the environment ``values``."""
    try:
        environment.check(values, logs=False)
    except environment.UnusableEnvironment as error:
        raise Failure(str(error)) from error


def _client(target: Target) -> ModuleType:
    """Import the client of a fleet on ROS, for ``target``."""
    ros_environment(target)
    require_ros_environment(os.environ)
    try:
        from ..ros import fleet_client
    except ImportError as error:
        raise Failure(f"ROS 2 is not installed ({error}): fleetctl doctor says what to do") from error
    return fleet_client


@contextmanager
def _started(session: AbstractContextManager[T]) -> Iterator[T]:
    """Enter ``session``; if ROS refuses to start, its reason becomes a :class:`Failure`."""
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(session)
        except RuntimeError as error:  # the base of what rclpy raises for rcl's errors
            raise Failure(f"ROS 2 does not start: {error}") from error
        yield entered
