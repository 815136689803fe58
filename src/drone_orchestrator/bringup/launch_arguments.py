"""The arguments of the launch files: declared once, with default, description and environment; and what they mean.

Here is only data and its reading, so that it can be tried without a ROS installation; :mod:`.launching` makes launch
actions of it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields

from . import fleet_config
from .plan import FleetOptions

_BOOLEAN = ("true", "false")


class ArgumentError(ValueError):
    """An argument cannot be used; the text is one line that names it."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One launch argument. ``environment`` names the variable that gives the default where it is set.

    ``default`` ``None``: it must be given.
    """

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()
    environment: str = ""

    @property
    def value(self) -> str | None:
        """The default, the environment's first."""
        return os.environ.get(self.environment) or self.default if self.environment else self.default


def host_replica(host: str | None = None) -> str:
    """The node name of a replica that is the only one on ``host`` (this machine)."""
    name = re.sub(r"[^a-z0-9]+", "_", (host or socket.gethostname()).lower()).strip("_")
    return f"orchestrator_{name or 'here'}"


_ALL = (
    Argument("namespace", "", "ROS namespace of the fleet."),
    Argument("use_sim_time", "false", "Follow /clock instead of the machine's clock.", _BOOLEAN),
    Argument("log_level", "info", "What the nodes log.", ("debug", "info", "warn", "error", "fatal")),
    Argument("params_file", "", "Parameters of the nodes (YAML, see config/*.param.yaml); empty: their defaults."),
    Argument("respawn", "true", "Start again what dies unasked.", _BOOLEAN),
    Argument(
        "dds_transports",
        "UDPv4",
        "Transports of Fast DDS; shared memory can hang the peers of a process that is killed.",
        environment="FASTDDS_BUILTIN_TRANSPORTS",
    ),
    Argument(
        "etcd_endpoints",
        "127.0.0.1:2379",
        "host:port of the store, several with commas.",
        environment="ETCD_ENDPOINTS",
    ),
    Argument(
        "region",
        "",
        "Shard of the store and the fleet; empty: the one that fleet_config describes.",
        environment="DRONE_ORCHESTRATOR_REGION",
    ),
    Argument("fleet_config", "", "Fleet description (YAML, see config/fleet.yaml); empty: the packaged one."),
    Argument("drones", "6", "Number of simulated drones, drone_1 and on."),
    Argument("drones_per_process", "2", "Drones that share a process; they are of one class."),
    Argument("drone_id", None, "Name of the drone: lower-case letters, digits, single underscores."),
    Argument("drone_class", "", "Class of the drone in fleet_config; empty: the first one there."),
    Argument("flight", "kinematic", "What flies the drones: an entry point of the group drone_orchestrator.flight."),
    Argument("time_scale", "1.0", "Simulated flight so many times faster than life."),
    Argument("data_dir", "", "Folder of journals and archive; empty: $ROS_HOME/drone_orchestrator."),
    Argument("replicas", "3", "Number of orchestrators, orchestrator_a and on."),
    Argument("replica", "", "Node name of a single orchestrator instead; unique in the fleet."),
    Argument("lease_ttl_s", "5.0", "The leader's lease: the latest time after which a dead one is replaced [s]."),
    Argument("reservation_ttl_s", "10.0", "A drone silent for so long before loading loses its order [s]."),
    Argument("orchestrator", "true", "Run an orchestrator here.", _BOOLEAN),
    Argument("monitor", "true", "Run the saga monitor here.", _BOOLEAN),
    Argument("gateway", "true", "Take orders in here, over HTTP and by service.", _BOOLEAN),
    Argument("http_host", "127.0.0.1", "Address that the gateway listens on; 0.0.0.0 for every network."),
    Argument("http_port", "8080", "Port that the gateway listens on."),
    Argument("world", "", "World (SDF) to fly in; empty: the packaged town."),
    Argument("models", "", "Folder with <drone class>/model.sdf for each class; empty: the packaged quadrotors."),
    Argument("gui", "true", "Show Gazebo's window; without it only its server runs.", _BOOLEAN),
    Argument("paused", "false", "Begin with the world's clock standing still.", _BOOLEAN),
    Argument("rviz", "false", "Show the fleet in rviz.", _BOOLEAN),
    Argument("rviz_config", "", "Configuration of rviz; empty: the packaged one."),
)
ARGUMENTS: Mapping[str, Argument] = {each.name: each for each in _ALL}

_COMMON = ("namespace", "use_sim_time", "log_level", "params_file", "respawn", "dds_transports")
_STORE = (*_COMMON, "region", "fleet_config", "etcd_endpoints")
_DRONES = ("drones", "drones_per_process", "flight", "time_scale", "data_dir")
_REPLICAS = ("lease_ttl_s", "reservation_ttl_s", "data_dir")
_HTTP = ("http_host", "http_port")
_RVIZ = ("rviz", "rviz_config")
_GROUND = (*_STORE, "replica", *_REPLICAS, "orchestrator", "monitor", "gateway", *_HTTP)
_FLEET = (*_STORE, *_DRONES, "replicas", *_REPLICAS, "monitor", "gateway", *_HTTP)

#: The arguments of each launch file, by its name without ``.launch.py``.
FILES: Mapping[str, tuple[str, ...]] = {
    # building blocks
    "drones": (*_COMMON, "region", "fleet_config", *_DRONES),
    "orchestrators": (*_STORE, "replicas", "replica", *_REPLICAS),
    "monitor": _STORE,
    "gateway": (*_STORE, *_HTTP),
    "rviz": ("namespace", "use_sim_time", "log_level", "rviz_config"),
    # what people start
    "fleet": _FLEET,
    "simulation": (*_FLEET, *_RVIZ),
    "gazebo": (*_FLEET, *_RVIZ, "world", "models", "gui", "paused"),
    "ground_station": (*_GROUND, *_RVIZ),
    "edge": _GROUND,
    "drone": (*_COMMON, "region", "fleet_config", "drone_id", "drone_class", "flight", "time_scale", "data_dir"),
}

_OWN_ETCD = "host:port of the store, several with commas; empty: an etcd of the fleet's own is started."
_OWN_DATA = "Folder of journals and archive; empty: a temporary one, gone with the fleet."
_BY_HOST = "Node name of the orchestrator; unique in the fleet."
#: Where a file means an argument differently: ``(default, description)``.
_DIFFERENT: Mapping[tuple[str, str], tuple[str | None, str]] = {
    ("fleet", "etcd_endpoints"): ("", _OWN_ETCD),
    ("gazebo", "etcd_endpoints"): ("", _OWN_ETCD),
    ("gazebo", "data_dir"): ("", _OWN_DATA),
    ("gazebo", "drones"): ("3", "Number of drones, drone_1 and on, each with a pad of its own at the depot; up to 25."),
    ("gazebo", "flight"): ("gazebo", ARGUMENTS["flight"].description),
    ("gazebo", "use_sim_time"): ("true", ARGUMENTS["use_sim_time"].description),
    ("gazebo", "time_scale"): ("1.0", "Leave it: time is the world's. Its real_time_factor makes it faster."),
    ("simulation", "etcd_endpoints"): ("", _OWN_ETCD),
    ("fleet", "data_dir"): ("", _OWN_DATA),
    ("simulation", "data_dir"): ("", _OWN_DATA),
    ("ground_station", "replica"): (host_replica(), _BY_HOST),
    ("edge", "replica"): (host_replica(), _BY_HOST),
    ("edge", "region"): (None, "Shard whose drones fly here; needed where DRONE_ORCHESTRATOR_REGION does not say it."),
    ("edge", "namespace"): ("", "ROS namespace of the region's fleet; empty: the name of the region."),
    ("edge", "monitor"): ("false", ARGUMENTS["monitor"].description),
    ("edge", "gateway"): ("false", ARGUMENTS["gateway"].description),
}


def of(file: str) -> list[Argument]:
    """The arguments of one launch file, in the order in which they are shown."""
    found: list[Argument] = []
    for name in dict.fromkeys(FILES[file]):
        argument = ARGUMENTS[name]
        default, description = _DIFFERENT.get((file, name), (argument.default, argument.description))
        found.append(Argument(name, default, description, argument.choices, argument.environment))
    return found


def flag(values: Mapping[str, str], name: str) -> bool:
    """Whether a switch is on; one that a file does not have is off."""
    return values.get(name, "false").lower() == "true"


def fleet_options(values: Mapping[str, str]) -> FleetOptions:
    """The fleet that the values of a file's arguments describe. Raises :class:`ArgumentError`."""
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
            raise ArgumentError(f"{name}: true or false is wanted, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise ArgumentError(f"{name}: {wanted} is wanted, not {text!r}") from error
