"""Target of a command: the fleet named by option or environment, else the one on this machine, else the default."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from .output import Failure, Output

if TYPE_CHECKING:
    from ..ports import StoreInbox

DEFAULT_ENDPOINTS = "127.0.0.1:2379"
DEFAULT_REGION = "san_francisco"


@dataclass(frozen=True, slots=True)
class Target:
    """The fleet that a command works on. ``environment`` is for ROS; empty: that of this process applies."""

    endpoints: str
    region: str
    data_dir: str
    environment: dict[str, str]
    #: The description of a fleet on this machine; empty: the packaged one.
    fleet_config: str = ""


def find_target(endpoints: str | None, region: str | None) -> Target:
    """Find the fleet. A given endpoint always wins."""
    from ..bringup import running_fleets

    local = running_fleets.running()
    if endpoints is None and local:
        fleet = local[0]
        chosen = region or fleet.region
        return Target(fleet.etcd_endpoints, chosen, fleet.data_dir, fleet.environment, fleet.fleet_config)
    known = next((f for f in local if f.etcd_endpoints == endpoints), None)
    return Target(
        endpoints or DEFAULT_ENDPOINTS,
        region or (known.region if known else DEFAULT_REGION),
        known.data_dir if known else "",
        known.environment if known else {},
        known.fleet_config if known else "",
    )


@contextmanager
def open_store(target: Target) -> Iterator[StoreInbox]:
    """Open the region's store. Its errors become one-line failures that name the endpoints."""
    from ..ports import StoreError
    from ..store import EtcdStore  # gRPC takes a while to import, and --help needs none

    try:
        store = EtcdStore(target.endpoints.split(","), target.region)
    except ValueError as error:
        raise Failure(f"--etcd: {error}") from error
    try:
        yield store
    except StoreError as error:
        raise Failure(f"{error} (is a fleet running? give its etcd with --etcd or ETCD_ENDPOINTS)") from error
    finally:
        store.close()


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` to a command, which gets an :class:`Output` as ``out``."""

    @wraps(command)
    def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        return command(*args, out=Output(as_json), **kwargs)

    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")(wrapped)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--etcd`` and ``--region`` to a command, which gets a :class:`Target` as ``target``."""

    @wraps(command)
    def wrapped(*args: Any, endpoints: str | None, region: str | None, **kwargs: Any) -> Any:
        return command(*args, target=find_target(endpoints, region), **kwargs)

    etcd = click.option("--etcd", "endpoints", envvar="ETCD_ENDPOINTS", help="Endpoints: host:port, comma-separated.")
    shard = click.option("--region", envvar="DRONE_ORCHESTRATOR_REGION", help="Region to work on.")
    return etcd(shard(wrapped))


namespace_option = click.option("--namespace", default="/", show_default=True, help="ROS namespace of the fleet.")


class _Number(click.ParamType):
    """A finite number within bounds. Unlike click's own ranges it refuses NaN."""

    name = "number"

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            self.fail(f"must be a number, got {value!r}", param, ctx)
        if not math.isfinite(number) or not self._least <= number <= self._most:
            self.fail(f"must be a number from {self._least:g} to {self._most:g}, got {value}", param, ctx)
        return number


class UserPath(click.Path):
    """A path in which ``~`` stands for the user's home, as a shell has it only at the start of a word."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.startswith("~"):
            from ..bringup import paths

            try:
                value = str(paths.expanded(value))
            except FileNotFoundError as error:
                self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


def positive(least: float = 0.001, most: float = 1e6) -> click.ParamType:
    """Return the type of an option that takes a number from ``least`` to ``most``."""
    return _Number(least, most)


def ros_environment(target: Target) -> None:
    """Join the fleet's DDS domain. Call it before anything of ROS is started."""
    os.environ.update(target.environment)
