"""The parameters of ``drone_executor``, and the settings built from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bringup.named_files import data_folder
from ...core.admission import is_id
from ...core.policies import STATE_PERIOD_S
from ...core.types import DroneClass, FleetSpec, GeoPoint
from ...ros import names, observability
from ...ros.common_parameters import FLEET_CONFIG, FRAME_ID
from ...ros.params import LOG_LEVEL, Param, ParameterError
from ...telemetry.drone_metrics import HostTelemetry
from .flight_plugins import FlightFactory

#: With ``drone_parameter_services`` auto, at most this many drones of a process offer parameter services.
FEW_DRONES = 10

ABOUT = "Flies one or many drones: accepts their goals, keeps their journals, and publishes their states."
PARAMETERS = (
    Param("drone_ids", (), "Ids of the drones that this process flies. Each becomes a node of that name."),
    Param("drone_class", "", "Class of these drones in the fleet configuration. Empty: the first class there."),
    Param("data_dir", "", "Folder of journals and flight states. Empty: $ROS_HOME/drone_orchestrator."),
    FLEET_CONFIG,
    Param("region", "", "Listen to leaders of this region only. Empty: to any leader in the namespace."),
    Param(
        "fleet_id",
        "",
        "Fleet that these drones belong to, as `fleetctl doctor` shows it. It replaces the fleet in their journals. "
        "Empty: the fleet in the journal, else that of the first leader heard.",
    ),
    Param("flight", "kinematic", "Flight stack: kinematic, gazebo, or one that another package registers."),
    Param("time_scale", 1.0, "Speed-up factor of simulated flight.", lo=0.001, hi=1000.0),
    Param(
        "telemetry_rate_hz",
        5.0,
        "Rate of telemetry. A lower rate would miss the deadline of its QoS.",
        unit="Hz",
        lo=2.0,
        hi=10.0,
        read_only=False,
    ),
    Param(
        "state_period_s",
        STATE_PERIOD_S,
        "Longest time between two state messages of a drone.",
        unit="s",
        lo=0.05,
        hi=2.0,
        read_only=False,
    ),
    Param(
        "clearance_retry_s", 0.5, "Retry interval of clearance requests.", unit="s", lo=0.05, hi=10.0, read_only=False
    ),
    Param("clearance_timeout_s", 1.0, "Timeout of a clearance request.", unit="s", lo=0.05, hi=60.0, read_only=False),
    FRAME_ID,
    Param("publish_tf", True, "Publish the transform from frame_id to each drone's base_link."),
    Param(
        "standard_messages_hz",
        1.0,
        "Rate of BatteryState, NavSatFix and Odometry of each drone, while they have subscribers. 0: none.",
        unit="Hz",
        lo=0.0,
        hi=10.0,
    ),
    Param(
        "drone_parameter_services",
        "auto",
        "Let each drone's own node offer parameter services, for the parameters that every drone has. They cost about "
        f"1 MiB and 50 ms of CPU time at start for each drone. auto: in a process of at most {FEW_DRONES} drones.",
        choices=("auto", "always", "never"),
    ),
    Param("autostart", True, "Configure and activate the drones at start. Those that a person took out stay out."),
    LOG_LEVEL,
    *observability.PARAMETERS,
)

#: Parameters that every drone has for itself. A drone takes its values at start, and later changes, from its executor.
OWN_PARAMETERS = tuple(
    each
    for each in PARAMETERS
    if each.name in ("telemetry_rate_hz", "state_period_s", "clearance_retry_s", "clearance_timeout_s", LOG_LEVEL.name)
)

#: Period (s) at which each drone of a process is stepped.
TICK_S = 0.1
#: Drones that one process may fly.
MAX_DRONES = 200


def offers_services(choice: str, drones: int) -> bool:
    """Return whether the nodes of a process's ``drones`` offer parameter services."""
    return choice == "always" or (choice == "auto" and drones <= FEW_DRONES)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a drone. ``boot_id`` identifies the process, and is new at each start."""

    drone_class: DroneClass
    depot: GeoPoint
    fleet_id: str
    boot_id: str
    data_dir: Path
    make_flight: FlightFactory
    time_scale: float
    telemetry_period_s: float
    state_period_s: float
    clearance_retry_s: float
    clearance_timeout_s: float
    telemetry: HostTelemetry
    frame_id: str
    publish_tf: bool
    standard_messages_hz: float


def drone_settings(
    values: Mapping[str, Any],
    drone_class: DroneClass,
    depot: GeoPoint,
    boot_id: str,
    make_flight: FlightFactory,
    telemetry: HostTelemetry,
) -> Settings:
    return Settings(
        drone_class=drone_class,
        depot=depot,
        fleet_id=values["fleet_id"],
        boot_id=boot_id,
        data_dir=data_folder("data_dir", values["data_dir"]),
        make_flight=make_flight,
        time_scale=values["time_scale"],
        telemetry_period_s=1.0 / values["telemetry_rate_hz"],
        state_period_s=values["state_period_s"],
        clearance_retry_s=values["clearance_retry_s"],
        clearance_timeout_s=values["clearance_timeout_s"],
        telemetry=telemetry,
        frame_id=values["frame_id"],
        publish_tf=values["publish_tf"],
        standard_messages_hz=values["standard_messages_hz"],
    )


def configured_class(fleet: FleetSpec, name: str) -> DroneClass:
    drone_class = fleet.drone_class(name) if name else fleet.classes[0]
    if drone_class is None:
        known = ", ".join(each.name for each in fleet.classes)
        raise ParameterError(f"parameter drone_class: must be one of {known}, got {name!r}")
    return drone_class


def checked_region(region: str) -> str:
    """Return ``region``. Raises :class:`ParameterError` if no leader can have this one."""
    if region and not is_id(region):
        raise ParameterError(f"parameter region: must be printable ASCII without '/', got {region!r}")
    return region


def checked_ids(ids: Sequence[str]) -> Sequence[str]:
    if not 1 <= len(ids) <= MAX_DRONES or len(set(ids)) != len(ids):
        raise ParameterError(f"parameter drone_ids: must be 1 to {MAX_DRONES} distinct ids, got {list(ids)}")
    try:
        return [names.check_drone_id(each) for each in ids]
    except names.InvalidDroneId as error:
        raise ParameterError(f"parameter drone_ids: {error}") from error
