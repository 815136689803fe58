"""Declarations of the launch files' arguments: default, description and environment, and the fleet they describe.

This module needs no ROS installation, so it can be tested without one. :mod:`.launching` turns it into launch actions.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields

from . import fleet_config, paths
from .plan import FleetOptions

_BOOLEAN = ("true", "false")
#: Arguments that name a file or a folder. No shell replaces the tilde in ``data_dir:=~/drones``.
_PATHS = ("params_file", "fleet_config", "data_dir", "world", "models", "rviz_config")


class ArgumentError(ValueError):
    """An argument cannot be used. The text is one line that names it."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One launch argument. If the variable ``environment`` is set, it gives the default.

    ``default`` ``None``: the argument is required.
    """

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()
    environment: str = ""

    @property
    def accepted(self) -> tuple[str, ...]:
        """The choices in every spelling that other launch files and people pass on, such as Python's ``True``."""
        others = (spell(choice) for choice in self.choices for spell in (str.capitalize, str.upper))
        return tuple(dict.fromkeys((*self.choices, *others)))

    def read(self, text: str) -> str:
        """Return ``text`` as the rest of the fleet takes it. Raises :class:`ArgumentError`."""
        if self.choices:
            return text.lower()
        if self.name not in _PATHS:
            return text
        try:
            return str(paths.expanded(text)) if text else ""
        except FileNotFoundError as error:
            raise ArgumentError(f"{self.name}: {error}") from error

    @property
    def value(self) -> str | None:
        """Default from the environment, else the declared one."""
        return os.environ.get(self.environment) or self.default if self.environment else self.default


def host_replica(host: str | None = None) -> str:
    """Return the node name of the only replica on ``host`` (default: this machine)."""
    return f"orchestrator_{host_token(host)}"


def host_token(host: str | None = None) -> str:
    """Return the name of ``host`` (default: this machine) as it can be a part of node names."""
    return re.sub(r"[^a-z0-9]+", "_", (host or socket.gethostname()).lower()).strip("_") or "here"


_ALL = (
    Argument("namespace", "", "ROS namespace of the fleet."),
    Argument("host", host_token(), "End of the node names of monitor and gateway: other machines may run theirs."),
    Argument("use_sim_time", "false", "Follow /clock instead of the machine's clock.", _BOOLEAN),
    Argument("log_level", "info", "Least severe level that is logged.", ("debug", "info", "warn", "error", "fatal")),
    Argument("params_file", "", "Parameters of the nodes (YAML, see config/*.param.yaml). Empty: their defaults."),
    Argument("respawn", "true", "Restart processes that die.", _BOOLEAN),
    Argument(
        "dds_transports",
        "UDPv4",
        "Transports of Fast DDS. With shared memory the peers of a killed process can hang.",
        environment="FASTDDS_BUILTIN_TRANSPORTS",
    ),
    Argument(
        "etcd_endpoints",
        "127.0.0.1:2379",
        "Endpoints of etcd, HOST:PORT, separated by commas.",
        environment="ETCD_ENDPOINTS",
    ),
    Argument(
        "region",
        "",
        "Region of the fleet; part of every key in the store. Empty: the region in fleet_config.",
        environment="DRONE_ORCHESTRATOR_REGION",
    ),
    Argument(
        "fleet_config", "", "Path of the fleet configuration (YAML, see config/fleet.yaml). Empty: the packaged one."
    ),
    Argument("drones", "6", "Number of simulated drones, named drone_1, drone_2, …."),
    Argument(
        "drones_per_process",
        "0",
        "Drones of one class that share a process. 0: 2, in a fleet of more than 16 a few more.",
    ),
    Argument("drone_id", None, "Id of the drone: lower-case letters, digits, single underscores."),
    Argument("drone_class", "", "Class of the drone in fleet_config. Empty: the first class there."),
    Argument("flight", "kinematic", "Flight stack: an entry point of the group drone_orchestrator.flight."),
    Argument("time_scale", "1.0", "Speed-up factor of simulated flight."),
    Argument("data_dir", "", "Folder of journals and archive. Empty: $ROS_HOME/drone_orchestrator."),
    Argument("replicas", "3", "Number of orchestrators, named orchestrator_a, orchestrator_b, …."),
    Argument("replica", "", "Node name of a single orchestrator, instead of replicas. Must be unique in the fleet."),
    Argument(
        "lease_ttl_s",
        "5.0",
        "Time to live of the leader's lease. A dead leader is replaced at the latest when it expires [s].",
    ),
    Argument(
        "reservation_ttl_s", "10.0", "Reassign the order of a drone that is silent for this long before loading [s]."
    ),
    Argument("orchestrator", "true", "Run an orchestrator here.", _BOOLEAN),
    Argument("monitor", "true", "Run the saga monitor here.", _BOOLEAN),
    Argument("gateway", "true", "Run the order gateway here.", _BOOLEAN),
    Argument("http_host", "127.0.0.1", "Address that the gateway listens on. 0.0.0.0: every network."),
    Argument("http_port", "8080", "Port that the gateway listens on."),
    Argument("world", "", "World (SDF) to fly in. Empty: the packaged town."),
    Argument("models", "", "Folder with <drone class>/model.sdf for each class. Empty: the packaged quadrotors."),
    Argument("gui", "true", "Show Gazebo's window. Otherwise only its server runs.", _BOOLEAN),
    Argument("paused", "false", "Start with the world paused.", _BOOLEAN),
    Argument("rviz", "false", "Show the fleet in rviz.", _BOOLEAN),
    Argument("rviz_config", "", "Configuration of rviz. Empty: the packaged one."),
)
ARGUMENTS: Mapping[str, Argument] = {each.name: each for each in _ALL}

_COMMON = ("namespace", "use_sim_time", "log_level", "params_file", "respawn", "dds_transports")
_STORE = (*_COMMON, "region", "fleet_config", "etcd_endpoints")
_DRONES = ("drones", "drones_per_process", "flight", "time_scale", "data_dir")
_REPLICAS = ("lease_ttl_s", "reservation_ttl_s", "data_dir")
_HTTP = ("http_host", "http_port")
_RVIZ = ("rviz", "rviz_config")
_GROUND = (*_STORE, "host", "replica", *_REPLICAS, "orchestrator", "monitor", "gateway", *_HTTP)
_FLEET = (*_STORE, "host", *_DRONES, "replicas", *_REPLICAS, "monitor", "gateway", *_HTTP)

#: The arguments of each launch file, by its name without ``.launch.py``.
FILES: Mapping[str, tuple[str, ...]] = {
    # building blocks
    "drones": (*_COMMON, "region", "fleet_config", *_DRONES),
    "orchestrators": (*_STORE, "replicas", "replica", *_REPLICAS),
    "monitor": (*_STORE, "host"),
    "gateway": (*_STORE, "host", *_HTTP),
    "rviz": ("namespace", "use_sim_time", "log_level", "rviz_config"),
    # what people start
    "fleet": _FLEET,
    "simulation": (*_FLEET, *_RVIZ),
    "gazebo": (*_FLEET, *_RVIZ, "world", "models", "gui", "paused"),
    "ground_station": (*_GROUND, *_RVIZ),
    "edge": _GROUND,
    "drone": (*_COMMON, "region", "fleet_config", "drone_id", "drone_class", "flight", "time_scale", "data_dir"),
}

_OWN_ETCD = "Endpoints of etcd, HOST:PORT, separated by commas. Empty: start an etcd for this fleet."
_OWN_DATA = "Folder of journals and archive. Empty: a temporary folder, removed when the fleet stops."
_WHOLE = ("", "End of the node names of monitor and gateway. Empty: none, the whole fleet is on this machine.")
_BY_HOST = "Node name of the orchestrator. Must be unique in the fleet."
#: Arguments with another ``(default, description)`` in one file.
_DIFFERENT: Mapping[tuple[str, str], tuple[str | None, str]] = {
    ("fleet", "host"): _WHOLE,
    ("simulation", "host"): _WHOLE,
    ("gazebo", "host"): _WHOLE,
    ("fleet", "etcd_endpoints"): ("", _OWN_ETCD),
    ("gazebo", "etcd_endpoints"): ("", _OWN_ETCD),
    ("gazebo", "data_dir"): ("", _OWN_DATA),
    ("gazebo", "drones"): ("3", "Number of drones, named drone_1, drone_2, …; at most 25, one per pad of the depot."),
    ("gazebo", "flight"): ("gazebo", ARGUMENTS["flight"].description),
    ("gazebo", "use_sim_time"): ("true", ARGUMENTS["use_sim_time"].description),
    ("gazebo", "time_scale"): ("1.0", "Must stay 1.0: time is the world's. Set its real_time_factor to speed it up."),
    ("simulation", "etcd_endpoints"): ("", _OWN_ETCD),
    ("fleet", "data_dir"): ("", _OWN_DATA),
    ("simulation", "data_dir"): ("", _OWN_DATA),
    ("ground_station", "replica"): (host_replica(), _BY_HOST),
    ("edge", "replica"): (host_replica(), _BY_HOST),
    ("edge", "region"): (None, "Region whose drones fly here. Required unless DRONE_ORCHESTRATOR_REGION is set."),
    ("edge", "namespace"): ("", "ROS namespace of the region's fleet. Empty: the name of the region."),
    ("edge", "monitor"): ("false", ARGUMENTS["monitor"].description),
    ("edge", "gateway"): ("false", ARGUMENTS["gateway"].description),
}


def of(file: str) -> list[Argument]:
    """Return the arguments of one launch file, in the order in which they are shown."""
    found: list[Argument] = []
    for name in dict.fromkeys(FILES[file]):
        argument = ARGUMENTS[name]
        default, description = _DIFFERENT.get((file, name), (argument.default, argument.description))
        found.append(Argument(name, default, description, argument.choices, argument.environment))
    return found


def flag(values: Mapping[str, str], name: str) -> bool:
    """Return whether a switch is on; a switch that a file does not have is off."""
    return values.get(name, "false").lower() == "true"


def fleet_options(values: Mapping[str, str]) -> FleetOptions:
    """Return the fleet that the values of a file's arguments describe. Raises :class:`ArgumentError`."""
    found: dict[str, object] = {}
    for each in fields(FleetOptions):
        if each.name in values:
            found[each.name] = _read(each.name, values[each.name], type(each.default))
    if values.get("drone_id"):
        found["drone_ids"] = (values["drone_id"],)
    if values.get("replica"):
        found["replica_names"] = (values["replica"],)
    try:
        found["region"] = values.get("region") or fleet_config.load(values.get("fleet_config")).region
        return FleetOptions(**found)  # type: ignore[arg-type]
    except (ValueError, FileNotFoundError) as error:
        raise ArgumentError(str(error)) from error


def _read(name: str, text: str, kind: type) -> object:
    if kind is bool:
        if text.lower() not in _BOOLEAN:
            raise ArgumentError(f"{name} must be true or false, got {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise ArgumentError(f"{name} must be {wanted}, got {text!r}") from error
