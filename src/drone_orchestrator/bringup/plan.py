"""The processes of a fleet. The local runner and the launch files both start what this module lists."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypedDict

from .fleet_config import load, pattern
from .operator_files import FileRefused, Value, read_yaml

#: Subfolder of the data folder for archived orders.
ARCHIVE_FOLDER = "archive"

#: A fleet shuts down by role in this order, and starts in reverse: each role stops before the ones that it needs.
STOP_ORDER = ("gateway", "monitor", "orchestrator", "drones")
#: Lifecycle states in which the nodes of a role are up. A standby is as ready as the leader.
READY_STATES = {"drones": ("active",), "orchestrator": ("inactive", "active")}
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
    ``drone_class``) replaces ``drones``. ``params_file`` holds parameters in ROS's format by node name; its section
    ``/**/orchestrator`` applies to every replica. Settings here that differ from their defaults override the file.
    """

    drones: int = 6
    replicas: int = 3
    region: str = "san_francisco"
    etcd_endpoints: str = "127.0.0.1:2379"
    fleet_config: str = ""
    data_dir: str = ""
    namespace: str = ""
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
    drones_per_process: int = 2
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
        if self.drones_per_process < 1:
            raise ValueError(f"drones_per_process must be at least 1, got {self.drones_per_process}")
        if not 0 <= self.metrics_port <= 64_000:
            raise ValueError(f"metrics_port must be between 0 (off) and 64000, got {self.metrics_port}")
        if not self.time_scale > 0.0:
            raise ValueError(f"time_scale must be a positive number, got {self.time_scale:g}")
        for_every(self.params_file, "")

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
    node_name: str | None = None
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
        out.append(_spec(options, "saga_monitor", "monitor", "saga_monitor", _common(options)))
    if options.metrics_port:
        for port, spec in enumerate(out, options.metrics_port):
            spec.parameters["metrics_port"] = port
    if options.gateway:
        http = options.changed("http_host", "http_port", "rate_limit_per_s")
        out.append(_spec(options, "order_gateway", "gateway", "order_gateway", {**_common(options), **http}))
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
        parameters = {**for_every(options.params_file, "orchestrator"), **_common(options), **bounds}
        spec = _spec(options, name, "orchestrator", "orchestrator", parameters, node_name=name, lifecycle_nodes=(name,))
        out.append(spec)
    return out


def for_every(params_file: str, node: str) -> dict[str, Parameter]:
    """Return the parameters in the section ``/**/<node>`` of ``params_file`` (empty: none).

    Raises :class:`ValueError` for a file that cannot be used.
    """
    if not params_file:
        return {}
    try:
        return _section(read_yaml(Path(params_file)), f"/**/{node}")
    except FileRefused as error:
        raise ValueError(f"params_file: {error}") from error


def _section(document: Value, name: str) -> dict[str, Parameter]:
    section = document.mapping().get(name)
    if section is None:
        return {}
    parameters = section.mapping(("ros__parameters",), ())["ros__parameters"]
    return {key: _parameter(value) for key, value in parameters.mapping().items()}


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
    by_class: dict[str, list[str]] = {}
    if options.drone_ids:
        by_class[options.drone_class] = list(options.drone_ids)
    else:
        classes = pattern(options.fleet_config or None)
        for index in range(options.drones):
            by_class.setdefault(classes[index % len(classes)], []).append(f"drone_{index + 1}")
    out: list[ProcessSpec] = []
    for drone_class, ids in by_class.items():
        for start in range(0, len(ids), options.drones_per_process):
            mine = ids[start : start + options.drones_per_process]
            parameters: dict[str, Parameter] = {
                "drone_ids": mine,
                "drone_class": drone_class,
                "region": options.region,
                **options.changed("data_dir", "flight", "time_scale", "fleet_config", "use_sim_time"),
            }
            name = mine[0] if len(options.drone_ids) == 1 else f"drones_{len(out) + 1}"
            out.append(_spec(options, name, "drones", "drone_executor", parameters, lifecycle_nodes=tuple(mine)))
    return out


def _spec(
    options: FleetOptions,
    name: str,
    role: str,
    executable: str,
    parameters: dict[str, Parameter],
    *,
    node_name: str | None = None,
    lifecycle_nodes: tuple[str, ...] = (),
) -> ProcessSpec:
    return ProcessSpec(
        name,
        role,
        executable,
        parameters,
        node_name,
        options.namespace.strip("/"),
        log_level=options.log_level,
        params_file=options.params_file,
        lifecycle_nodes=lifecycle_nodes,
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
