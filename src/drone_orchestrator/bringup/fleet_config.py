"""Reads ``fleet.yaml``: region, depot, drone classes, no-fly zones. Every mistake is one line that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import yaml

from ..core.types import DroneClass, FleetSpec, GeoPoint, NoFlyZone
from ..core.zones import InvalidZone, airspace
from .paths import default_fleet_config

_TOP = {"region", "depot", "service_radius_m", "drone_classes", "pattern", "no_fly_zones"}
#: Fields that may be zero; every other number must be positive.
_MAY_BE_ZERO = {"reserve_fraction", "load_time_s", "drop_time_s", "lend_fraction"}
#: Far more than any fleet needs, and little enough to be read by mistake.
_MAX_BYTES = 1 << 20
#: Bounds that count orders.
_WHOLE = {"max_waiting", "max_in_flight", "intake_burst"}


class FleetConfigError(ValueError):
    """The file cannot be used; the text says why in one line."""


def load(path: str | Path | None = None) -> FleetSpec:
    """The fleet that ``path`` describes (the packaged one where it is empty). Raises :class:`FleetConfigError`."""
    return _parse(_read(path), _name(path))


def pattern(path: str | Path | None = None) -> tuple[str, ...]:
    """The classes that the drones of a fleet take in turn."""
    document = _read(path)
    names = document.get("pattern", [])
    known = {c.name for c in _parse(document, _name(path)).classes}
    if not isinstance(names, list) or not names or not set(names) <= known:
        raise FleetConfigError(f"{_name(path)}: pattern: a list of classes out of {sorted(known)} is wanted")
    return tuple(names)


def save(path: Path, fleet: FleetSpec) -> Path:
    """Write ``fleet`` so that :func:`load` gives it back; its drones take the classes in turn. Returns ``path``."""
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


def _name(path: str | Path | None) -> Path:
    return Path(path) if path else default_fleet_config()


def _read(path: str | Path | None) -> Mapping[str, object]:
    name = _name(path)
    try:
        with name.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise FleetConfigError(f"{name}: more than {_MAX_BYTES >> 10} KiB are no fleet description")
        document = yaml.safe_load(text.decode("utf-8"))
    except OSError as error:
        raise FleetConfigError(f"{name}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FleetConfigError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise FleetConfigError(f"{name}: a mapping is wanted")
    unknown = set(document) - _TOP
    if unknown:
        raise FleetConfigError(f"{name}: unknown: {', '.join(sorted(map(str, unknown)))}")
    return document


def _parse(document: Mapping[str, object], name: Path) -> FleetSpec:
    classes = document.get("drone_classes")
    if not isinstance(classes, dict) or not classes:
        raise FleetConfigError(f"{name}: drone_classes: at least one class is wanted")
    region = document.get("region")
    if not isinstance(region, str) or not region:
        raise FleetConfigError(f"{name}: region: a name is wanted")
    fleet = FleetSpec(
        region=region,
        depot=_point(document.get("depot"), f"{name}: depot"),
        service_radius_m=_number(document.get("service_radius_m"), f"{name}: service_radius_m"),
        classes=tuple(_drone_class(key, value, name) for key, value in classes.items()),
        no_fly_zones=_zones(document.get("no_fly_zones"), name),
    )
    try:
        airspace(fleet)
    except InvalidZone as error:
        raise FleetConfigError(f"{name}: no_fly_zones: {error}") from error
    return fleet


def _zones(value: object, name: Path) -> tuple[NoFlyZone, ...]:
    where = f"{name}: no_fly_zones"
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise FleetConfigError(f"{where}: a mapping from names to lists of corners is wanted")
    zones = []
    for key, corners in value.items():
        if not isinstance(key, str) or not isinstance(corners, list):
            raise FleetConfigError(f"{where}.{key}: a list of corners is wanted")
        points = (_point(corner, f"{where}.{key}[{i}]") for i, corner in enumerate(corners))
        zones.append(NoFlyZone(key, tuple(points)))
    return tuple(zones)


def _point(value: object, where: str) -> GeoPoint:
    if not isinstance(value, dict) or set(value) != {"lat_deg", "lon_deg"}:
        raise FleetConfigError(f"{where}: lat_deg and lon_deg are wanted")
    lat, lon = value["lat_deg"], value["lon_deg"]
    for key, number, bound in (("lat_deg", lat, 90.0), ("lon_deg", lon, 180.0)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= bound:
            raise FleetConfigError(f"{where}.{key}: a number within ±{bound:g} is wanted")
    return GeoPoint(float(lat), float(lon))


def _drone_class(key: object, value: object, name: Path) -> DroneClass:
    where = f"{name}: drone_classes.{key}"
    if not isinstance(key, str) or not isinstance(value, dict):
        raise FleetConfigError(f"{where}: a mapping is wanted")
    known = {f.name: f for f in fields(DroneClass) if f.name != "name"}
    unknown = set(value) - set(known)
    missing = {n for n, f in known.items() if f.default is MISSING} - set(value)
    if unknown or missing:
        problem = f"unknown: {sorted(map(str, unknown))}" if unknown else f"missing: {sorted(missing)}"
        raise FleetConfigError(f"{where}: {problem}")
    counts = {n: _count(v, f"{where}.{n}") for n, v in value.items() if n in _WHOLE}
    numbers = {n: _number(v, f"{where}.{n}", zero=n in _MAY_BE_ZERO) for n, v in value.items() if n not in _WHOLE}
    if numbers.get("reserve_fraction", 0.0) >= 1.0:
        raise FleetConfigError(f"{where}.reserve_fraction: less than 1 is wanted")
    if numbers.get("lend_fraction", 0.0) > 1.0:
        raise FleetConfigError(f"{where}.lend_fraction: 0 to 1 is wanted")
    return DroneClass(key, **numbers, **counts)  # type: ignore[arg-type]  # mypy does not see which name has which type


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FleetConfigError(f"{where}: a whole number, at least 1, is wanted")
    return value


def _number(value: object, where: str, *, zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FleetConfigError(f"{where}: a number is wanted")
    if value < 0 or (value == 0 and not zero):
        raise FleetConfigError(f"{where}: a positive number is wanted")
    return float(value)
