"""What a fleet consists of, said once. The local runner starts it with plain processes, the launch files with ROS's."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypedDict

from .fleet_config import load, pattern
from .operator_files import FileRefused, Value, read_yaml

#: Below the data folder: what has left the store.
ARCHIVE_FOLDER = "archive"

#: A fleet shuts down by role in this order (it comes up the other way round), so that whoever is left can still say
#: good-bye to what it needs.
STOP_ORDER = ("gateway", "monitor", "orchestrator", "drones")
#: The lifecycle states by which the nodes of a role are up: a replica that stands by is as ready as one that leads.
READY_STATES = {"drones": ("active",), "orchestrator": ("inactive", "active")}
#: The exit code of a process that refused its settings: starting it again would not help.
REFUSED = 2

#: A fleet that runs for days must not fill the disk with history; an audit of it must come within this.
ETCD_HISTORY = "1h"

Parameter = bool | int | float | str | list[str]


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """Size and settings of a fleet. ``time_scale`` makes simulated flight faster than life.

    With a ``heartbeat_timeout_s`` above ``lease_ttl_s`` heartbeats play no part: only the lease tells of a dead leader.

    With a ``metrics_port`` every process but the gateway, which has HTTP anyway, serves its metrics: the first in the
    list on that port, the next on the next.

    ``etcd_members`` and ``etcd_compaction`` (how much history it keeps, as etcd writes it; empty: all of it) are for
    an etcd that the run starts itself, see :func:`etcd_settings`. ``replica_names`` and ``drone_ids`` (which are all of
    ``drone_class``) name what ``replicas`` and ``drones`` would only count. ``params_file`` holds parameters in ROS's
    own format, for nodes by their names; its section ``/**/orchestrator`` is for every replica, whatever its name. What
    is set here and differs from its default wins over it.
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
            raise ValueError("drones: 0 to 1000 are wanted")
        if not 0 <= self.replicas <= 9:
            raise ValueError("replicas: 0 to 9 are wanted")
        if self.etcd_members not in (1, 3, 5):
            raise ValueError("etcd_members: 1, 3 or 5 are wanted")
        if self.drones_per_process < 1:
            raise ValueError("drones_per_process: at least 1 is wanted")
        if not 0 <= self.metrics_port <= 64_000:
            raise ValueError("metrics_port: 0 (off) to 64000 is wanted")
        if not self.time_scale > 0.0:
            raise ValueError("time_scale: a positive number is wanted")
        for_every(self.params_file, "")

    def changed(self, *names: str) -> dict[str, Parameter]:
        """The settings out of ``names`` that are not at their defaults, as parameters of the same names.

        The nodes have the same defaults, so a file of parameters may set what nobody set here.
        """
        defaults = {each.name: each.default for each in fields(self)}
        return {name: getattr(self, name) for name in names if getattr(self, name) != defaults[name]}


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of the fleet: ``ros2 run drone_orchestrator <executable>`` with these parameters.

    ``role`` is ``orchestrator``, ``drones``, ``monitor`` or ``gateway``. A supervisor starts it again
    ``respawn_delay_s`` after it died unasked. ``lifecycle_nodes`` are the names of those that it consists of.
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
        """The command line after the executable, in ROS's own syntax."""
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
    """The processes of a fleet in the order in which they are brought up; shut down in reverse."""
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
    """What everybody who reads the store is told."""
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
    """What ``params_file`` (empty: none) says for every ``node``, in its section ``/**/<node>``.

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
    """What the strongest drone of the fleet carries: a small fleet has not one of every class."""
    config = options.fleet_config or None
    flown = pattern(config)[: options.drones]
    return max((c.max_payload_kg for c in load(config).classes if c.name in flown), default=0.0)


def _drone_hosts(options: FleetOptions) -> list[ProcessSpec]:
    """Drones of one class share processes, ``drones_per_process`` each."""
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
