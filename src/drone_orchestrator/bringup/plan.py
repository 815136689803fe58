"""The processes of a fleet. The local runner and the launch files both start what this module lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypedDict

from ..core.admission import is_id
from .fleet_config import load, pattern
from .operator_files import FileRefused, Value, read_yaml

#: Subfolder of the data folder for archived orders.
ARCHIVE_FOLDER = "archive"

#: A fleet shuts down by role in this order, and starts in reverse: each role stops before the ones that it needs.
STOP_ORDER = ("gateway", "monitor", "orchestrator", "drones")
#: Lifecycle states in which the nodes of a role are up. A drone that a person took out of service stays inactive.
READY_STATES = {"drones": ("inactive", "active"), "orchestrator": ("active",)}
#: Drones that share a process of a small fleet, and processes among which those of one class are divided at most.
_LEAST_SHARED, _SHARES = 2, 8
_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
#: Exit code of a process that refused its settings. A restart would not help.
REFUSED = 2

#: A fleet that runs for days must not fill the disk with history; an audit of it must come within this.
ETCD_HISTORY = "1h"

Parameter = bool | int | float | str | list[str]


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """Size and settings of a fleet. ``time_scale`` is the speed-up factor of simulated flight.

    With a ``heartbeat_timeout_s`` above ``lease_ttl_s``, a dead leader is replaced only when its lease expires.

    With a ``metrics_port`` every process except the gateway, which serves metrics over HTTP anyway, has a metrics
    endpoint: the first process on that port, the others on the following ports.

    ``etcd_members`` and ``etcd_compaction`` (the history to keep, in etcd's notation; empty: all) are for an etcd that
    the run starts, see :func:`etcd_settings`. ``replica_names`` replaces ``replicas``, and ``drone_ids`` (all of
    ``drone_class``) replaces ``drones``. ``drones_per_process`` 0 stands for :func:`fitting_drones_per_process`. With a
    ``host``, the nodes of monitor and gateway are named after it, because other machines of the fleet may run theirs.
    ``params_file`` holds parameters in ROS's format by node name; a section with the name of a program, such as
    ``/**/orchestrator``, applies to each of its nodes. Settings here that differ from their defaults override the file.
    """

    drones: int = 6
    replicas: int = 3
    region: str = "san_francisco"
    etcd_endpoints: str = "127.0.0.1:2379"
    fleet_config: str = ""
    data_dir: str = ""
    namespace: str = ""
    host: str = ""
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    rate_limit_per_s: float = 500.0
    time_scale: float = 1.0
    lease_ttl_s: float = 5.0
    heartbeat_timeout_s: float = 0.4
    reservation_ttl_s: float = 10.0
    max_attempts: int = 10
    etcd_members: int = 1
    etcd_compaction: str = ETCD_HISTORY
    drones_per_process: int = 0
    drone_ids: tuple[str, ...] = ()
    drone_class: str = ""
    flight: str = "kinematic"
    replica_names: tuple[str, ...] = ()
    use_sim_time: bool = False
    params_file: str = ""
    monitor: bool = True
    gateway: bool = True
    metrics_port: int = 0
    log_level: str = "info"

    def __post_init__(self) -> None:
        if not 0 <= self.drones <= 1000:
            raise ValueError(f"drones must be between 0 and 1000, got {self.drones}")
        if not 0 <= self.replicas <= 9:
            raise ValueError(f"replicas must be between 0 and 9, got {self.replicas}")
        if self.etcd_members not in (1, 3, 5):
            raise ValueError(f"etcd_members must be 1, 3 or 5, got {self.etcd_members}")
        if self.drones_per_process < 0:
            raise ValueError(f"drones_per_process must be at least 1, or 0, got {self.drones_per_process}")
        if self.namespace.strip("/") and not _NAMESPACE.fullmatch(self.namespace.strip("/")):
            raise ValueError(
                "namespace must be words of letters, digits and underscores, none of which begins with a digit, "
                f"separated by slashes, got {self.namespace!r} (edge.launch.py takes the region if it is empty)"
            )
        if not is_id(self.region):
            raise ValueError(f"region must be printable ASCII without '/', got {self.region!r}")
        if not 0 <= self.metrics_port <= 64_000:
            raise ValueError(f"metrics_port must be between 0 (off) and 64000, got {self.metrics_port}")
        if not self.time_scale > 0.0:
            raise ValueError(f"time_scale must be a positive number, got {self.time_scale:g}")
        in_sections(self.params_file)

    def changed(self, *names: str) -> dict[str, Parameter]:
        """Return the settings among ``names`` that differ from their defaults, as parameters of the same names.

        The nodes have the same defaults, so a parameters file can set the others.
        """
        defaults = {each.name: each.default for each in fields(self)}
        return {name: getattr(self, name) for name in names if getattr(self, name) != defaults[name]}


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of the fleet: ``ros2 run drone_orchestrator <executable>`` with these parameters.

    ``role`` is ``orchestrator``, ``drones``, ``monitor`` or ``gateway``. A supervisor restarts the process
    ``respawn_delay_s`` after it died. ``lifecycle_nodes`` are the names of its lifecycle nodes.
    """

    name: str
    role: str
    executable: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    node_name: str = ""
    namespace: str = ""
    respawn_delay_s: float = 1.0
    log_level: str = "info"
    params_file: str = ""
    lifecycle_nodes: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the command line after the executable, in ROS's syntax."""
        args = ["--ros-args", "--log-level", self.log_level]
        if self.node_name:
            args += ["-r", f"__node:={self.node_name}"]
        if self.namespace:
            args += ["-r", f"__ns:=/{self.namespace}"]
        if self.params_file:
            args += ["--params-file", self.params_file]
        for key, value in self.parameters.items():
            args += ["-p", f"{key}:={_yaml(value)}"]
        return args


def processes(options: FleetOptions) -> list[ProcessSpec]:
    """Return the processes of a fleet in the order in which they start. They stop in reverse."""
    out = [*_drone_hosts(options), *_replicas(options)]
    if options.monitor:
        out.append(_window(options, "saga_monitor", "monitor", _common(options)))
    if options.metrics_port:
        for port, spec in enumerate(out, options.metrics_port):
            spec.parameters["metrics_port"] = port
    if options.gateway:
        http = options.changed("http_host", "http_port", "rate_limit_per_s")
        out.append(_window(options, "order_gateway", "gateway", {**_common(options), **http}))
    return out


class EtcdSettings(TypedDict):
    """Arguments of :class:`.etcd_process.EtcdProcess`."""

    members: int
    auto_compaction: str


def etcd_settings(options: FleetOptions) -> EtcdSettings:
    """Return the settings of a fleet's own etcd, however the fleet is started."""
    return {"members": options.etcd_members, "auto_compaction": options.etcd_compaction}


def _common(options: FleetOptions) -> dict[str, Parameter]:
    """Return the parameters of every process that uses the store."""
    store: dict[str, Parameter] = {"region": options.region, "etcd_endpoints": options.etcd_endpoints}
    return {**store, **options.changed("fleet_config", "use_sim_time")}


def _replicas(options: FleetOptions) -> list[ProcessSpec]:
    out: list[ProcessSpec] = []
    bounds = options.changed("lease_ttl_s", "heartbeat_timeout_s", "reservation_ttl_s", "max_attempts")
    if options.data_dir:
        bounds["archive_dir"] = str(Path(options.data_dir) / ARCHIVE_FOLDER)
    names = options.replica_names or tuple(f"orchestrator_{chr(ord('a') + i)}" for i in range(options.replicas))
    for name in names:
        parameters = {**_common(options), **bounds}
        spec = _spec(options, name, "orchestrator", "orchestrator", parameters, node_name=name, lifecycle_nodes=(name,))
        out.append(spec)
    return out


def _window(options: FleetOptions, executable: str, role: str, parameters: dict[str, Parameter]) -> ProcessSpec:
    """Return monitor or gateway. Every machine may run one."""
    name = f"{executable}_{options.host}" if options.host else executable
    return _spec(options, executable, role, executable, parameters, node_name=name)


def in_sections(params_file: str, *names: str) -> dict[str, Parameter]:
    """Return the parameters in the sections ``names`` of ``params_file`` (empty: none); the later ones win.

    Raises :class:`ValueError` for a file that cannot be used.
    """
    if not params_file:
        return {}
    try:
        document = read_yaml(Path(params_file))
        sections = document.mapping()
        return {key: value for name in names for key, value in _section(sections, name).items()}
    except FileRefused as error:
        raise ValueError(f"params_file: {error}") from error


def _sections(namespace: str, executable: str, node_name: str) -> list[str]:
    """Return the sections of a parameters file that are for a node, the more special ones last.

    ROS applies those with the node's own name. The plan applies those of the program, too, because it names the nodes.
    """
    here = f"/{namespace}" if namespace else ""
    return [
        section
        for name in dict.fromkeys((executable, node_name))
        for section in dict.fromkeys((f"/**/{name}", name, f"{here}/{name}"))
    ]


def _section(sections: Mapping[str, Value], name: str) -> dict[str, Parameter]:
    section = sections.get(name)
    if section is None:
        return {}
    parameters = section.mapping(("ros__parameters",), ())["ros__parameters"]
    return dict(_parameters("", parameters.mapping()))


def _parameters(prefix: str, values: Mapping[str, Value]) -> Iterator[tuple[str, Parameter]]:
    """Yield names and values. A mapping stands for names with dots, which only those of QoS overrides have."""
    for name, value in values.items():
        if isinstance(value.content, dict) and (prefix or name == "qos_overrides"):
            yield from _parameters(f"{prefix}{name}.", value.content)
        else:
            yield f"{prefix}{name}", _parameter(value)


def _parameter(value: Value) -> Parameter:
    if isinstance(value.content, list):
        return [each.text() for each in value.content]
    if value.content is None or isinstance(value.content, dict):
        raise value.refuse(f"must be a parameter's value, got {value.kind}")
    return value.content


def heaviest_kg(options: FleetOptions) -> float:
    """Return the largest payload of the fleet's drones. A small fleet does not have every class."""
    config = options.fleet_config or None
    flown = pattern(config)[: options.drones]
    return max((c.max_payload_kg for c in load(config).classes if c.name in flown), default=0.0)


def _drone_hosts(options: FleetOptions) -> list[ProcessSpec]:
    """Return the processes of the drones. Drones of one class share processes, ``drones_per_process`` each."""
    share = options.drones_per_process or fitting_drones_per_process(options.drones)
    by_class: dict[str, list[str]] = {}
    if options.drone_ids:
        by_class[options.drone_class] = list(options.drone_ids)
    else:
        classes = pattern(options.fleet_config or None)
        for index in range(options.drones):
            by_class.setdefault(classes[index % len(classes)], []).append(f"drone_{index + 1}")
    out: list[ProcessSpec] = []
    for drone_class, ids in by_class.items():
        for start in range(0, len(ids), share):
            mine = ids[start : start + share]
            parameters: dict[str, Parameter] = {
                "drone_ids": mine,
                "drone_class": drone_class,
                "region": options.region,
                **options.changed("data_dir", "flight", "time_scale", "fleet_config", "use_sim_time"),
            }
            name = mine[0] if len(options.drone_ids) == 1 else f"drones_{len(out) + 1}"
            # Drone ids are unique in a fleet, so this name is, too, whichever machine runs the process.
            node = f"drone_executor_{mine[0]}"
            spec = _spec(
                options, name, "drones", "drone_executor", parameters, node_name=node, lifecycle_nodes=tuple(mine)
            )
            out.append(spec)
    return out


def fitting_drones_per_process(drones: int) -> int:
    """Return how many of ``drones`` share a process.

    The start of a process takes as much CPU time as that of about forty drones in it, so that the number of processes
    decides when a fleet is up. But the fewer there are, the more drones one crash takes down for a moment.
    """
    return max(_LEAST_SHARED, -(-drones // _SHARES))


def _spec(
    options: FleetOptions,
    name: str,
    role: str,
    executable: str,
    parameters: dict[str, Parameter],
    *,
    node_name: str,
    lifecycle_nodes: tuple[str, ...] = (),
) -> ProcessSpec:
    namespace = options.namespace.strip("/")
    given = in_sections(options.params_file, *_sections(namespace, executable, node_name))
    return ProcessSpec(
        name,
        role,
        executable,
        {**given, **parameters},
        node_name,
        namespace,
        log_level=options.log_level,
        params_file=options.params_file,
        # Without autostart nothing is up until a lifecycle manager says so.
        lifecycle_nodes=() if given.get("autostart") is False else lifecycle_nodes,
    )


def _yaml(value: Parameter) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
