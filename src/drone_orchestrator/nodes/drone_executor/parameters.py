"""The parameters of ``drone_executor``, and what a process makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bringup.fleet_config import FleetConfigError
from ...bringup.fleet_config import load as load_fleet
from ...bringup.paths import default_data_dir
from ...core.types import DroneClass, FleetSpec, GeoPoint
from ...ros import names, observability
from ...ros.params import LOG_LEVEL, Param, ParameterError
from ...telemetry.drone_metrics import HostTelemetry
from .flight_plugins import FlightFactory

ABOUT = "Flies one or many drones: takes their goals, keeps their journals, and tells where they are."
PARAMETERS = (
    Param("drone_ids", (), "Names of the drones that this process flies; each becomes a node of that name."),
    Param("drone_class", "", "Class of these drones in the fleet configuration; empty: the first class there."),
    Param("data_dir", "", "Folder of journals and flight states; empty: $ROS_HOME/drone_orchestrator."),
    Param("fleet_config", "", "Fleet configuration (YAML); empty: the packaged one."),
    Param("region", "", "Only leaders of this region count; empty: any in this namespace."),
    Param("flight", "kinematic", "What flies the drones: kinematic, gazebo, or what another package has registered."),
    Param("time_scale", 1.0, "Simulated seconds of flight in a second of wall time.", minimum=0.001, maximum=1000.0),
    Param(
        "telemetry_rate_hz",
        5.0,
        "Rate of telemetry; below 2 its QoS deadline would pass.",
        "Hz",
        2.0,
        10.0,
        read_only=False,
    ),
    Param(
        "state_period_s", 1.0, "A state without change is repeated after this long.", "s", 0.05, 2.0, read_only=False
    ),
    Param("clearance_retry_s", 0.5, "Time between two requests for clearance.", "s", 0.05, 10.0, read_only=False),
    Param(
        "clearance_timeout_s",
        1.0,
        "A request not answered for this long is given up.",
        "s",
        0.05,
        60.0,
        read_only=False,
    ),
    Param("autostart", True, "Configure and activate the drones without being told to."),
    LOG_LEVEL,
    *observability.PARAMETERS,
)

#: Period (s) at which each drone of a process is stepped.
TICK_S = 0.1
#: Drones that one process may fly.
MAX_DRONES = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that the drones of a process share."""

    drone_class: DroneClass
    depot: GeoPoint
    data_dir: Path
    make_flight: FlightFactory
    time_scale: float
    telemetry_period_s: float
    state_period_s: float
    clearance_retry_s: float
    clearance_timeout_s: float
    telemetry: HostTelemetry


def drone_settings(
    values: Mapping[str, Any],
    drone_class: DroneClass,
    depot: GeoPoint,
    make_flight: FlightFactory,
    telemetry: HostTelemetry,
) -> Settings:
    return Settings(
        drone_class=drone_class,
        depot=depot,
        data_dir=Path(values["data_dir"]) if values["data_dir"] else default_data_dir(),
        make_flight=make_flight,
        time_scale=values["time_scale"],
        telemetry_period_s=1.0 / values["telemetry_rate_hz"],
        state_period_s=values["state_period_s"],
        clearance_retry_s=values["clearance_retry_s"],
        clearance_timeout_s=values["clearance_timeout_s"],
        telemetry=telemetry,
    )


def configured_fleet(path: str) -> FleetSpec:
    try:
        return load_fleet(path or None)
    except (FleetConfigError, FileNotFoundError) as error:
        raise ParameterError(f"parameter fleet_config: {error}") from error


def configured_class(fleet: FleetSpec, name: str) -> DroneClass:
    drone_class = fleet.drone_class(name) if name else fleet.classes[0]
    if drone_class is None:
        known = ", ".join(each.name for each in fleet.classes)
        raise ParameterError(f"parameter drone_class: {name!r} is not in the fleet configuration; known: {known}")
    return drone_class


def checked_ids(ids: Sequence[str]) -> Sequence[str]:
    if not 1 <= len(ids) <= MAX_DRONES or len(set(ids)) != len(ids):
        raise ParameterError(f"parameter drone_ids: 1 .. {MAX_DRONES} different names are wanted, not {list(ids)}")
    try:
        return [names.check_drone_id(each) for each in ids]
    except names.InvalidDroneId as error:
        raise ParameterError(f"parameter drone_ids: {error}") from error
