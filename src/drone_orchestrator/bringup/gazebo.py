"""Input of Gazebo for a fleet: the world at its depot, a model per drone, and the bridge's topics.

This module only creates texts, so it can be tested without ROS and Gazebo. :mod:`.gazebo_launching` starts the programs
that use them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from ..core.types import FleetSpec, GeoPoint, NoFlyZone
from ..planning.geo import enu_from_geo
from .operator_files import FileRefused, read_text, read_yaml
from .paths import share_dir

#: Pads of the depot: number of rows and columns, and their distance. All are within the circle where drones charge.
PAD_ROWS = 5
PAD_SPACING_M = 3.5
#: Height of the walls of no-fly zones: above every cruise altitude.
ZONE_HEIGHT_M = 150.0
_ZONE = "no_fly_zone_"
_DRONE = "<drone>"


class GazeboError(ValueError):
    """An input of Gazebo is missing or unusable. The text is one line that says what to change."""


def default_world() -> Path:
    """Return the packaged world."""
    return share_dir() / "config" / "gazebo" / "worlds" / "town.sdf"


def default_models() -> Path:
    """Return the folder of the packaged quadrotors."""
    return share_dir() / "config" / "gazebo" / "models"


def pads(drones: int) -> list[tuple[float, float]]:
    """Return the starting place of each drone: metres east and north of the depot, nearest first.

    Raises :class:`GazeboError` if there are more drones than pads.
    """
    if drones > PAD_ROWS**2:
        raise GazeboError(f"drones must be at most {PAD_ROWS**2}, the number of pads at the depot, got {drones}")
    half = (PAD_ROWS - 1) / 2
    lines = [PAD_SPACING_M * (index - half) for index in range(PAD_ROWS)]
    return sorted(
        ((east, north) for east in lines for north in lines), key=lambda pad: (pad[0] ** 2 + pad[1] ** 2, pad)
    )[:drones]


def world_name(sdf: str, file: object) -> str:
    """Return the name of the world in ``sdf`` (the text of ``file``). Raises :class:`GazeboError`."""
    name: str | None = _world(_parse(sdf, file), file).get("name")
    if not name:
        raise GazeboError(f"{file}: its world has no name")
    return name


def world_for(fleet: FleetSpec, sdf: str, file: object) -> str:
    """Return ``sdf`` (the text of ``file``) with its origin at the depot of ``fleet``, and the fleet's no-fly zones.

    Raises :class:`GazeboError`.
    """
    root = _parse(sdf, file)
    world = _world(root, file)
    place = world.find("spherical_coordinates")
    if place is None:
        raise GazeboError(f"{file}: its world has no spherical_coordinates")
    for name, degrees in (("latitude_deg", fleet.depot.lat_deg), ("longitude_deg", fleet.depot.lon_deg)):
        element = place.find(name)
        if element is None:
            element = ElementTree.SubElement(place, name)
        element.text = f"{degrees:.7f}"
    for model in [each for each in world.iterfind("model") if each.get("name", "").startswith(_ZONE)]:
        world.remove(model)
    world.extend(zone_model(each, fleet.depot) for each in fleet.no_fly_zones)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def zone_model(zone: NoFlyZone, depot: GeoPoint) -> ElementTree.Element:
    """Return the SDF model of a zone: transparent walls without collision."""
    model = ElementTree.Element("model", name=f"{_ZONE}{zone.name}")
    ElementTree.SubElement(model, "static").text = "true"
    visual = ElementTree.SubElement(ElementTree.SubElement(model, "link", name="link"), "visual", name="volume")
    ElementTree.SubElement(visual, "cast_shadows").text = "false"
    ElementTree.SubElement(visual, "transparency").text = "0.7"
    outline = ElementTree.SubElement(ElementTree.SubElement(visual, "geometry"), "polyline")
    for corner in zone.corners:
        east, north = enu_from_geo(corner.lat_deg, corner.lon_deg, depot)
        ElementTree.SubElement(outline, "point").text = f"{float(east):.1f} {float(north):.1f}"
    ElementTree.SubElement(outline, "height").text = f"{ZONE_HEIGHT_M:g}"
    material = ElementTree.SubElement(visual, "material")
    for part in ("ambient", "diffuse"):
        ElementTree.SubElement(material, part).text = "0.90 0.10 0.10 0.3"
    return model


def model_for(drone_id: str, drone_class: str, models: Path) -> str:
    """Return the SDF of the model of ``drone_class``, with name and plugins' ``robotNamespace`` set to ``drone_id``.

    Raises :class:`GazeboError` if ``models`` has no usable ``<drone_class>/model.sdf``.
    """
    file = models / drone_class / "model.sdf"
    try:
        text = read_text(file)
    except FileRefused as error:
        raise GazeboError(f"{error}; drone class {drone_class} needs a quadrotor there") from error
    root = _parse(text, file)
    model = root.find("model")
    if model is None:
        raise GazeboError(f"{file} has no model")
    model.set("name", drone_id)
    namespaces = list(model.iterfind("plugin/robotNamespace"))
    if not namespaces:
        raise GazeboError(f"{file}: no plugin has a robotNamespace, so drones would be indistinguishable")
    for each in namespaces:
        each.text = drone_id
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def bridge(drone_ids: Iterable[str], template: Path | None = None) -> list[dict[str, object]]:
    """Return the entries of ``ros_gz_bridge``'s configuration: those of ``template`` written out for each drone.

    Raises :class:`GazeboError`.
    """
    file = template or share_dir() / "config" / "gazebo" / "bridge.yaml"
    try:
        entries = [{k: v.content for k, v in entry.mapping().items()} for entry in read_yaml(file).items()]
    except FileRefused as error:
        raise GazeboError(str(error)) from error
    ids = list(drone_ids)
    out: list[dict[str, object]] = []
    for entry in entries:
        for_each = any(_DRONE in str(value) for value in entry.values())
        for drone_id in ids if for_each else [""]:
            out.append({k: v.replace(_DRONE, drone_id) if isinstance(v, str) else v for k, v in entry.items()})
    return out


def _parse(sdf: str, file: object) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(sdf)
    except ElementTree.ParseError as error:
        raise GazeboError(f"{file}: not SDF: {error}") from error


def _world(root: ElementTree.Element, file: object) -> ElementTree.Element:
    world = root.find("world")
    if world is None:
        raise GazeboError(f"{file} has no world")
    return world
