"""What a fleet consists of, said once. The local runner starts it with plain processes, the launch files with ROS's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .fleet_config import load, pattern

#: Below the data folder: what has left the store.
ARCHIVE_FOLDER = "archive"

Parameter = bool | int | float | str | list[str]


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """Size and settings of a fleet. ``time_scale`` makes simulated flight faster than life.

    With a ``heartbeat_timeout_s`` above ``lease_ttl_s`` heartbeats play no part: only the lease tells of a dead leader.

    ``etcd_members`` and ``etcd_compaction`` (how much history it keeps, as etcd writes it; empty: all of it) are for
    an etcd that the run starts itself.
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
    time_scale: float = 1.0
    lease_ttl_s: float = 5.0
    heartbeat_timeout_s: float = 0.4
    reservation_ttl_s: float = 10.0
    max_attempts: int = 10
    etcd_members: int = 1
    etcd_compaction: str = ""
    drones_per_process: int = 2
    monitor: bool = True
    gateway: bool = True
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
        if not self.time_scale > 0.0:
            raise ValueError("time_scale: a positive number is wanted")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of the fleet: ``ros2 run drone_orchestrator <executable>`` with these parameters.

    ``role`` is ``orchestrator``, ``drones``, ``monitor`` or ``gateway``. A supervisor starts it again
    ``respawn_delay_s`` after it died unasked.
    """

    name: str
    role: str
    executable: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    node_name: str | None = None
    namespace: str = ""
    respawn_delay_s: float = 1.0
    log_level: str = "info"

    def arguments(self) -> list[str]:
        """The command line after the executable, in ROS's own syntax."""
        args = ["--ros-args", "--log-level", self.log_level]
        if self.node_name:
            args += ["-r", f"__node:={self.node_name}"]
        if self.namespace:
            args += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for key, value in self.parameters.items():
            args += ["-p", f"{key}:={_yaml(value)}"]
        return args


def processes(options: FleetOptions) -> list[ProcessSpec]:
    """The processes of a fleet in the order in which they are brought up; shut down in reverse."""
    common: dict[str, Parameter] = {"region": options.region, "etcd_endpoints": options.etcd_endpoints}
    if options.fleet_config:
        common["fleet_config"] = options.fleet_config
    out = _drone_hosts(options)
    for index in range(options.replicas):
        name = f"orchestrator_{chr(ord('a') + index)}"
        bounds: dict[str, Parameter] = {
            "lease_ttl_s": options.lease_ttl_s,
            "heartbeat_timeout_s": options.heartbeat_timeout_s,
            "reservation_ttl_s": options.reservation_ttl_s,
            "max_attempts": options.max_attempts,
        }
        if options.data_dir:
            bounds["archive_dir"] = str(Path(options.data_dir) / ARCHIVE_FOLDER)
        out.append(_spec(options, name, "orchestrator", "orchestrator", {**common, **bounds}, name))
    if options.monitor:
        out.append(_spec(options, "saga_monitor", "monitor", "saga_monitor", dict(common), None))
    if options.gateway:
        http: dict[str, Parameter] = {"http_host": options.http_host, "http_port": options.http_port}
        out.append(_spec(options, "order_gateway", "gateway", "order_gateway", {**common, **http}, None))
    return out


def heaviest_kg(options: FleetOptions) -> float:
    """What the strongest drone of the fleet carries: a small fleet has not one of every class."""
    config = options.fleet_config or None
    flown = pattern(config)[: options.drones]
    return max((c.max_payload_kg for c in load(config).classes if c.name in flown), default=0.0)


def _drone_hosts(options: FleetOptions) -> list[ProcessSpec]:
    """Drones of one class share processes, ``drones_per_process`` each."""
    classes = pattern(options.fleet_config or None)
    by_class: dict[str, list[str]] = {}
    for index in range(options.drones):
        by_class.setdefault(classes[index % len(classes)], []).append(f"drone_{index + 1}")
    out: list[ProcessSpec] = []
    for drone_class, ids in by_class.items():
        for start in range(0, len(ids), options.drones_per_process):
            parameters: dict[str, Parameter] = {
                "drone_ids": ids[start : start + options.drones_per_process],
                "drone_class": drone_class,
                "region": options.region,
                "data_dir": options.data_dir,
                "time_scale": options.time_scale,
            }
            if options.fleet_config:
                parameters["fleet_config"] = options.fleet_config
            out.append(_spec(options, f"drones_{len(out) + 1}", "drones", "drone_executor", parameters, None))
    return out


def _spec(
    options: FleetOptions,
    name: str,
    role: str,
    executable: str,
    parameters: dict[str, Parameter],
    node_name: str | None,
) -> ProcessSpec:
    return ProcessSpec(name, role, executable, parameters, node_name, options.namespace, log_level=options.log_level)


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
