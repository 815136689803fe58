"""Reads ``fleet.yaml``: region, depot, drone classes, no-fly zones. A mistake is one line with file, line, field."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path

import yaml

from ..core.admission import CLASS_NAME_PATTERN, MAX_CLASS_LENGTH
from ..core.leader.configuration import Configuration
from ..core.types import DroneClass, FleetSpec, GeoPoint, NoFlyZone
from ..core.zones import MAX_DEPOT_LAT_DEG, MAX_SERVICE_RADIUS_M, InvalidZone, airspace, far_zones
from .operator_files import Value, read_yaml
from .paths import default_fleet_config

_REQUIRED = ("region", "depot", "service_radius_m", "drone_classes")
_OPTIONAL = ("version", "pattern", "no_fly_zones")
#: Fields that may be zero. Every other number must be positive.
_MAY_BE_ZERO = {"reserve_fraction", "load_time_s", "drop_time_s", "lend_fraction"}
#: Fields that count orders.
_WHOLE = {"max_waiting", "max_in_flight", "intake_burst"}


def load(path: str | Path | None = None) -> FleetSpec:
    """Return the fleet that ``path`` describes (empty: the packaged one). Raises :class:`FileRefused`."""
    return _parse(_read(path))[0]


def configuration(path: str | Path | None, reservation_ttl_s: float) -> Configuration:
    """Return what replicas compare: version and digest of the file's fleet, and their reservations' leases.

    Raises :class:`FileRefused`. The digest is of what the file says, so comments and order of fields do not matter.
    """
    document = _read(path)
    fleet = _parse(document)[0]
    given = document.mapping(_REQUIRED, _OPTIONAL).get("version")
    said = json.dumps(asdict(replace(fleet, region="")), sort_keys=True)
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return Configuration(0, 0 if given is None else given.whole(0), digest, reservation_ttl_s)


def pattern(path: str | Path | None = None) -> tuple[str, ...]:
    """Return the classes that simulated drones take in turn. Raises :class:`FileRefused` if there are none."""
    document = _read(path)
    names = _parse(document)[1]
    if not names:
        raise document.refuse("pattern is missing; it is required to start simulated drones")
    return names


def cautions(fleet: FleetSpec) -> list[str]:
    """Return one line for each setting that is valid but probably a mistake."""
    return [
        f"no_fly_zones.{name}: lies {away_m / 1000:.0f} km from the depot, far outside the service radius of "
        f"{fleet.service_radius_m / 1000:g} km: no order can ever meet it"
        for name, away_m in far_zones(fleet)
    ]


def save(path: Path, fleet: FleetSpec) -> Path:
    """Write ``fleet`` to ``path`` for :func:`load`, with a pattern of one drone per class. Return ``path``."""
    document = {
        "region": fleet.region,
        "depot": asdict(fleet.depot),
        "service_radius_m": fleet.service_radius_m,
        "no_fly_zones": {zone.name: [asdict(corner) for corner in zone.corners] for zone in fleet.no_fly_zones},
        "drone_classes": {c.name: {k: v for k, v in asdict(c).items() if k != "name"} for c in fleet.classes},
        "pattern": [c.name for c in fleet.classes],
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def _read(path: str | Path | None) -> Value:
    return read_yaml(Path(path) if path else default_fleet_config())


def _parse(document: Value) -> tuple[FleetSpec, tuple[str, ...]]:
    """Return the fleet, and the pattern of its simulated drones, empty if it has none."""
    given = document.mapping(_REQUIRED, _OPTIONAL)
    classes = given["drone_classes"].mapping()
    if not classes:
        raise given["drone_classes"].refuse("must have at least one class")
    zones = given.get("no_fly_zones")
    fleet = FleetSpec(
        region=given["region"].text(),
        depot=_depot(given["depot"]),
        service_radius_m=given["service_radius_m"].number(most=MAX_SERVICE_RADIUS_M, above=0.0),
        classes=tuple(_drone_class(name, value) for name, value in classes.items()),
        no_fly_zones=_zones(zones) if zones is not None and zones.content is not None else (),
    )
    try:
        airspace(fleet)
    except InvalidZone as error:
        assert zones is not None
        place = zones.mapping().get(error.zone, zones)
        raise place.refuse(error.problem) from error
    return fleet, _pattern(given.get("pattern"), fleet)


def _pattern(value: Value | None, fleet: FleetSpec) -> tuple[str, ...]:
    if value is None:
        return ()
    names = []
    for each in value.items(least=1):
        names.append(each.text())
        if fleet.drone_class(names[-1]) is None:
            known = ", ".join(c.name for c in fleet.classes)
            raise each.refuse(f"must be one of the drone_classes ({known}), got {names[-1]!r}")
    return tuple(names)


def _zones(value: Value) -> tuple[NoFlyZone, ...]:
    zones = []
    for name, corners in value.mapping().items():
        points = [_point(corner) for corner in corners.items()]
        if len(points) > 3 and _is_same(points[0], points[-1]):
            points.pop()  # a closed ring, as GeoJSON writes polygons
        zones.append(NoFlyZone(name, tuple(points)))
    return tuple(zones)


def _is_same(first: GeoPoint, second: GeoPoint) -> bool:
    return first.lat_deg == second.lat_deg and math.remainder(first.lon_deg - second.lon_deg, 360.0) == 0.0


def _depot(value: Value) -> GeoPoint:
    point = _point(value)
    if abs(point.lat_deg) > MAX_DEPOT_LAT_DEG:
        problem = f"must be from {-MAX_DEPOT_LAT_DEG:g} to {MAX_DEPOT_LAT_DEG:g}, got {point.lat_deg:g}"
        raise value.mapping()["lat_deg"].refuse(f"{problem}: east and north mean little so near to a pole")
    return point


def _point(value: Value) -> GeoPoint:
    given = value.mapping(("lat_deg", "lon_deg"), ())
    return GeoPoint(given["lat_deg"].number(-90.0, 90.0), given["lon_deg"].number(-180.0, 180.0))


def _drone_class(name: str, value: Value) -> DroneClass:
    if not re.fullmatch(CLASS_NAME_PATTERN, name) or len(name) > MAX_CLASS_LENGTH:
        form = "a letter, then letters, digits, '_' or '-'"
        raise value.refuse(f"the name of a class must be {form}, at most {MAX_CLASS_LENGTH} characters")
    known = {f.name: f for f in fields(DroneClass) if f.name != "name"}
    required = [n for n, f in known.items() if f.default is MISSING]
    given = value.mapping(required, list(known))
    counts = {n: v.whole(1) for n, v in given.items() if n in _WHOLE}
    numbers = {n: _number(n, v) for n, v in given.items() if n not in _WHOLE}
    return DroneClass(name, **numbers, **counts)  # type: ignore[arg-type]  # mypy does not see which name has which type


def _number(name: str, value: Value) -> float:
    number = value.number(0.0) if name in _MAY_BE_ZERO else value.number(above=0.0)
    if name == "reserve_fraction" and number >= 1.0:
        raise value.refuse(f"must be less than 1, got {number:g}")
    if name == "lend_fraction" and number > 1.0:
        raise value.refuse(f"must be from 0 to 1, got {number:g}")
    return number
