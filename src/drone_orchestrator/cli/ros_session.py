"""Sessions with the fleet over ROS: listening to it, and changing its nodes' lifecycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..core.types import DroneReport
from .context import Target, ros_environment
from .output import Failure

if TYPE_CHECKING:
    from ..ros.fleet_client import FleetListener
    from ..ros.lifecycle_client import LifecycleClient

#: By drone id: its last report, and the age of that in s.
Heard = Mapping[str, tuple[DroneReport, float]]


@contextmanager
def hearing(target: Target, namespace: str) -> Iterator[FleetListener]:
    """The fleet's DDS traffic, from now on; a :class:`Failure` where ROS is missing or refuses to start."""
    ros_environment(target)
    try:
        from ..ros import fleet_client
    except ImportError as error:
        raise Failure(f"ROS 2 is not there ({error}): fleetctl doctor says what to do") from error
    try:
        namespace = fleet_client.full_namespace(namespace)
    except ValueError as error:
        raise Failure(f"--namespace: {error}") from error
    with fleet_client.FleetListener(namespace) as ear:
        yield ear


@contextmanager
def operating(target: Target, namespace: str) -> Iterator[LifecycleClient]:
    """Something that changes nodes' lifecycle; who does not answer is a :class:`Failure`."""
    ros_environment(target)
    try:
        from ..ros import fleet_client, lifecycle_client
    except ImportError as error:
        raise Failure(f"ROS 2 is not there ({error}): fleetctl doctor says what to do") from error
    try:
        with fleet_client.LifecycleSession(fleet_client.full_namespace(namespace)) as operator:
            yield operator
    except lifecycle_client.Unreachable as error:
        raise Failure(str(error)) from error
    except ValueError as error:
        raise Failure(f"--namespace: {error}") from error
