"""Checks the structure of SDF without an SDF parser: the part of version 1.9 that our generator and launch file use.

An element or attribute outside that part is a fault even if SDF allows it: describe it in ``ELEMENTS`` first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

# Attributes (@) and children of each element: exactly one, or with "?" at most one, "+" at least one, "*" any number.
ELEMENTS = {
    "sdf": "@version world* model?",
    "world": "@name physics+ gravity? scene? spherical_coordinates? light* model* plugin*",
    "physics": "@name @type max_step_size real_time_factor",
    "scene": "ambient background shadows?",
    "spherical_coordinates": "surface_model world_frame_orientation? latitude_deg longitude_deg elevation heading_deg",
    "light": "@name @type cast_shadows? pose? diffuse specular direction",
    "model": "@name static? pose? link+ joint* plugin*",
    "link": "@name pose? inertial? collision* visual*",
    "inertial": "mass inertia",
    "inertia": "ixx iyy izz ixy ixz iyz",
    "collision": "@name pose? geometry surface?",
    "visual": "@name pose? geometry material? transparency? cast_shadows?",
    "geometry": "box? cylinder? plane? polyline? sphere?",
    "box": "size",
    "cylinder": "radius length",
    "plane": "normal size",
    "polyline": "point+ height",
    "sphere": "radius",
    "material": "ambient diffuse",
    "surface": "friction",
    "friction": "ode",
    "ode": "mu mu2",
    "joint": "@name @type parent child axis",
    "axis": "xyz limit",
    "limit": "lower upper",
}
# The count of numbers in each of the other elements; PARENT/NAME if that depends on the parent.
NUMBERS = {
    name: count
    for count, names in {
        1: "max_step_size real_time_factor latitude_deg longitude_deg elevation heading_deg mass ixx iyy izz ixy ixz "
        "iyz mu mu2 lower upper transparency radius length height",
        2: "point plane/size",
        3: "gravity xyz normal direction box/size",
        4: "ambient background diffuse specular",
        6: "pose",
    }.items()
    for name in names.split()
}
WORDS = {
    "static": {"true", "false"},
    "shadows": {"true", "false"},
    "cast_shadows": {"true", "false"},
    "surface_model": {"EARTH_WGS84"},
    "world_frame_orientation": {"ENU"},
    "joint@type": {"continuous", "fixed", "prismatic", "revolute"},
    "light@type": {"directional", "point", "spot"},
    "physics@type": {"bullet", "dart", "ignored", "ode", "simbody"},
    "sdf@version": {"1.9"},
}
POSITIVE = {"mass", "ixx", "iyy", "izz", "radius", "length", "height", "size", "max_step_size"}
REFERENCES = {"parent", "child"}  # of a joint, checked by _joint_faults


def faults(sdf: str) -> list[str]:
    """Return what is wrong with ``sdf``, one sentence each; empty if nothing is."""
    try:
        root = ElementTree.fromstring(sdf)
    except ElementTree.ParseError as error:
        return [f"not XML: {error}"]
    if root.tag != "sdf":
        return [f"the root must be <sdf>, got <{root.tag}>"]
    if len(root) == 0:
        return ["<sdf> holds neither a world nor a model"]
    return list(_faults(root, "sdf", ""))


def _faults(element: ElementTree.Element, path: str, parent: str) -> Iterator[str]:
    if element.tag == "plugin":  # its content is defined by the plugin
        yield from _attribute_faults(element, path, {"name", "filename"})
    elif element.tag in ELEMENTS:
        rules = ELEMENTS[element.tag].split()
        yield from _attribute_faults(element, path, {rule[1:] for rule in rules if rule.startswith("@")})
        yield from _child_faults(element, path, [rule for rule in rules if not rule.startswith("@")])
        yield from _name_faults(element, path)
        if element.tag == "model":
            yield from _joint_faults(element, path)
        for child in element:
            yield from _faults(child, f"{path}/{child.get('name', child.tag)}", element.tag)
    else:
        yield from _attribute_faults(element, path, set())
        yield from _value_faults(element, path, parent)


def _attribute_faults(element: ElementTree.Element, path: str, known: set[str]) -> Iterator[str]:
    for name in sorted(known - set(element.attrib)):
        yield f"{path}: <{element.tag}> lacks the attribute {name}"
    for name, value in element.attrib.items():
        allowed = WORDS.get(f"{element.tag}@{name}")
        if name not in known:
            yield f"{path}: <{element.tag}> has an unknown attribute {name}"
        elif not value or (allowed and value not in allowed):
            yield f"{path}: the attribute {name} of <{element.tag}> must not be {value!r}"


def _child_faults(element: ElementTree.Element, path: str, rules: list[str]) -> Iterator[str]:
    found = Counter(child.tag for child in element)
    for rule in rules:
        name = rule.rstrip("?+*")
        count = found.pop(name, 0)
        if (rule[-1] not in "?*" and count == 0) or (rule[-1] not in "+*" and count > 1):
            yield f"{path}: <{element.tag}> has {count} <{name}>"
    for name in found:
        yield f"{path}: <{element.tag}> has an unknown element <{name}>"
    if element.tag == "geometry" and len(element) != 1:
        yield f"{path}: a geometry must be one shape, got {len(element)}"


def _name_faults(element: ElementTree.Element, path: str) -> Iterator[str]:
    # Links and joints of a model are both frames, and frames share their names.
    names = Counter(
        ("frame" if child.tag in ("link", "joint") else child.tag, child.get("name"))
        for child in element
        if child.tag != "plugin" and "name" in child.attrib
    )
    for (_, name), count in names.items():
        if count > 1:
            yield f"{path}: the name {name} is taken {count} times"


def _joint_faults(model: ElementTree.Element, path: str) -> Iterator[str]:
    links = {link.get("name") for link in model.iterfind("link")}
    for joint in model.iterfind("joint"):
        parent, child = joint.findtext("parent"), joint.findtext("child")
        if parent not in links | {"world"}:
            yield f"{path}: the parent of joint {joint.get('name')} is no link: {parent}"
        if child not in links or child == parent:
            yield f"{path}: the child of joint {joint.get('name')} is no other link: {child}"


def _value_faults(element: ElementTree.Element, path: str, parent: str) -> Iterator[str]:
    text = (element.text or "").strip()
    count = NUMBERS.get(f"{parent}/{element.tag}", NUMBERS.get(element.tag))
    if len(element):
        yield f"{path}: <{element.tag}> must hold a value, not elements"
    elif count is not None:
        try:
            numbers = [float(each) for each in text.split()]
        except ValueError:
            yield f"{path}: <{element.tag}> must hold numbers, got {text!r}"
            return
        if len(numbers) != count:
            yield f"{path}: <{element.tag}> must hold {count} numbers, got {len(numbers)}"
        if element.tag in POSITIVE and min(numbers, default=1.0) <= 0.0:
            yield f"{path}: <{element.tag}> must be positive, got {text}"
    elif element.tag in WORDS:
        if text not in WORDS[element.tag]:
            yield f"{path}: <{element.tag}> must be one of {sorted(WORDS[element.tag])}, got {text!r}"
    elif element.tag not in REFERENCES:
        yield f"{path}: <{element.tag}> is unknown"
