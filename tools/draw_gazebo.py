#!/usr/bin/env python3
"""Draw docs/images/gazebo.png from the SDF files: the town from above and at an angle, and a quadrotor.

Not what Gazebo would render, but the same boxes and cylinders in the same places: to see what a change does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

ROOT = Path(__file__).resolve().parents[1]
GAZEBO = ROOT / "config" / "gazebo"
PICTURE = ROOT / "docs" / "images" / "gazebo.png"
#: From where the light comes: faces turned away from it are darker.
LIGHT = np.array([0.4, -0.5, 0.75]) / np.linalg.norm([0.4, -0.5, 0.75])


@dataclass(frozen=True)
class Solid:
    """Outline extruded upwards: corners of its base and top, and its colour."""

    name: str
    base: np.ndarray
    top: np.ndarray
    color: tuple[float, float, float]
    alpha: float

    def faces(self) -> list[np.ndarray]:
        sides = [
            np.array([self.base[i - 1], self.base[i], self.top[i], self.top[i - 1]]) for i in range(len(self.base))
        ]
        return [*sides, self.top]


def pose(element: ElementTree.Element) -> tuple[np.ndarray, float]:
    """Return position and yaw. No model is tilted."""
    numbers = [float(each) for each in (element.findtext("pose") or "0 0 0 0 0 0").split()]
    return np.array(numbers[:3]), numbers[5]


def solids(models: list[ElementTree.Element]) -> list[Solid]:
    """Yield every box, cylinder and sphere (drawn as a short cylinder) of the models."""
    return [
        made
        for model in models
        for link in model.iterfind("link")
        for visual in link.iterfind("visual")
        if (made := solid(model, link, visual)) is not None
    ]


def solid(model: ElementTree.Element, link: ElementTree.Element, visual: ElementTree.Element) -> Solid | None:
    outline = shape(visual)
    if outline is None:
        return None
    corners, height = outline
    points = np.column_stack([corners, np.full(len(corners), -height / 2)])
    for frame in (visual, link, model):
        place, yaw = pose(frame)
        turn = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
        points = points @ turn.T + place
    red, green, blue, _ = map(float, (visual.findtext("material/diffuse") or "").split())
    alpha = 1.0 - float(visual.findtext("transparency") or 0.0)
    name = f"{model.get('name')}/{visual.get('name')}"
    return Solid(name, points, points + np.array([0, 0, height]), (red, green, blue), alpha)


def shape(visual: ElementTree.Element) -> tuple[np.ndarray, float] | None:
    """Return the corners of the outline around the centre, and the height."""
    size, geometry = visual.findtext("geometry/box/size"), visual.find("geometry")
    assert geometry is not None
    outline = [[float(x) for x in (each.text or "").split()] for each in geometry.iterfind("polyline/point")]
    if outline:
        return np.array(outline), float(geometry.findtext("polyline/height") or 0.0)
    if size is not None:
        x, y, z = (float(each) / 2 for each in size.split())
        return np.array([[-x, -y], [x, -y], [x, y], [-x, y]]), 2 * z
    radius = geometry.findtext("cylinder/radius") or geometry.findtext("sphere/radius")
    if radius is None:
        return None
    angles = np.linspace(0, 2 * math.pi, 28, endpoint=False)
    height = float(geometry.findtext("cylinder/length") or 2 * float(radius))
    return float(radius) * np.column_stack([np.cos(angles), np.sin(angles)]), height


def draw_aslant(axes: Axes, shown: list[Solid], center: tuple[float, float, float], reach: float) -> None:
    for each in sorted(shown, key=lambda s: (s.alpha < 1.0, s.top[0, 2])):
        faces = each.faces()
        shades = []
        for face in faces:
            normal = np.cross(face[1] - face[0], face[2] - face[1])
            normal = normal / max(float(np.linalg.norm(normal)), 1e-12)
            light = 0.55 + 0.45 * max(float(normal @ LIGHT), 0.0)
            shades.append((*(channel * light for channel in each.color), each.alpha))
        edge = (0, 0, 0, 0.25 * each.alpha)
        axes.add_collection3d(Poly3DCollection(faces, facecolors=shades, edgecolors=edge, linewidths=0.3))
    for axis, middle in zip("xy", center[:2], strict=True):
        getattr(axes, f"set_{axis}lim")(middle - reach, middle + reach)
    axes.set_zlim(0, 0.45 * reach)
    axes.set_box_aspect((1, 1, 0.225), zoom=1.4)
    axes.computed_zorder = False
    axes.set_axis_off()


def draw_from_above(axes: Axes, shown: list[Solid]) -> None:
    axes.set_facecolor("#dfe6d8")
    for each in sorted(shown, key=lambda s: s.top[0, 2]):
        axes.add_patch(
            Polygon(each.base[:, :2], closed=True, facecolor=(*each.color, each.alpha), edgecolor="0.3", linewidth=0.4)
        )
    axes.add_patch(Circle((0, 0), 10, fill=False, edgecolor="black", linewidth=0.8))
    axes.annotate("depot", (0, -20), ha="center", va="top", fontsize=8)
    axes.set(xlim=(-150, 330), ylim=(-150, 190), aspect="equal", xlabel="east [m]", ylabel="north [m]")
    axes.set_title("town.sdf from above", fontsize=9)


def draw_region(axes: Axes, shown: list[Solid]) -> None:
    """Draw the no-fly zones, kilometres away, and the town's position."""
    axes.set_facecolor("#dfe6d8")
    for each in shown:
        name = each.name.split("/", 1)[0]
        if name.startswith("no_fly_zone_"):
            corners = each.base[:, :2] / 1000
            axes.add_patch(Polygon(corners, closed=True, facecolor=(*each.color, 0.4), edgecolor="0.3", linewidth=0.4))
            label = name.removeprefix("no_fly_zone_").replace("_", " ")
            axes.annotate(label, (corners[:, 0].mean(), corners[:, 1].max() + 0.2), ha="center", fontsize=6)
    axes.add_patch(Polygon(np.array([[-0.15, -0.15], [0.26, -0.15], [0.26, 0.19], [-0.15, 0.19]]), facecolor="#733f33"))
    axes.annotate("town", (0.4, 0.0), fontsize=6, va="center")
    axes.set(xlim=(-4, 5), ylim=(-1.5, 8), aspect="equal")
    axes.tick_params(labelsize=5, length=2, pad=1)
    axes.set_title("region [km]", fontsize=7)


def main() -> None:
    town = ElementTree.parse(GAZEBO / "worlds" / "town.sdf").getroot()
    world = solids(list(town.iterfind("world/model")))
    figure = plt.figure(figsize=(11, 8.4), dpi=110)
    draw_from_above(figure.add_axes((0.065, 0.50, 0.43, 0.45)), world)
    draw_region(figure.add_axes((0.38, 0.57, 0.105, 0.16)), world)
    aslant = figure.add_axes((0.50, 0.48, 0.50, 0.50), projection="3d")
    aslant.view_init(elev=28, azim=-125)
    draw_aslant(aslant, world, (50, 20, 0), 190)
    figure.text(0.75, 0.955, "the same, from the south-west", ha="center", fontsize=9)
    for index, name in enumerate(("courier", "heavy")):
        model = ElementTree.parse(GAZEBO / "models" / name / "model.sdf").getroot()
        drone = figure.add_axes((0.02 + 0.49 * index, 0.0, 0.47, 0.44), projection="3d")
        drone.view_init(elev=22, azim=-55)
        draw_aslant(drone, solids(list(model.iterfind("model"))), (0, 0, 0), 1.1)
        figure.text(0.255 + 0.49 * index, 0.43, f"models/{name}, at one scale", ha="center", fontsize=9)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()
