#!/usr/bin/env python3
"""Draw the ``fleet_markers`` messages of a running fleet with matplotlib, without rviz or a screen.

    tools/render_markers.py fleet.png --view orbit --when 'NEW LEADER'

waits for a message in which some text begins so, draws it, and ends. The environment is that of the fleet
(``ROS_DOMAIN_ID``, …).
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")

import rclpy
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from rclpy.executors import SingleThreadedExecutor
from visualization_msgs.msg import Marker, MarkerArray

from drone_orchestrator.ros import names, qos
from drone_orchestrator.telemetry.markers import NAMESPACES

Array = NDArray[np.float64]
BACKGROUND = "#303030"  # rviz's
INCHES, DPI = (11.5, 11.5), 110


@dataclass(frozen=True)
class Camera:
    """Parallel projection: ``pitch_rad`` from the horizon down (90° is a map), ``yaw_rad`` around the depot."""

    pitch_rad: float
    yaw_rad: float

    def __call__(self, points: Array) -> Array:
        """``(n, 3)`` map metres to ``(n, 2)`` picture metres."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        right = cos * points[:, 0] + sin * points[:, 1]
        ahead = cos * points[:, 1] - sin * points[:, 0]
        up = ahead * math.sin(self.pitch_rad) + points[:, 2] * math.cos(self.pitch_rad)
        return np.column_stack([right, up])


CAMERAS = {"top": Camera(math.radians(90.0), 0.0), "orbit": Camera(math.radians(50.0), 0.0)}


def capture(namespace: str, when: str, timeout_s: float) -> list[Marker]:
    """Return the live markers of the first message after which a text matches ``when``."""
    living: dict[tuple[str, int], Marker] = {}
    done: list[bool] = []

    def hear(array: MarkerArray) -> None:
        for marker in array.markers:
            if marker.action == Marker.DELETEALL:
                living.clear()
            elif marker.action == Marker.DELETE:
                living.pop((marker.ns, marker.id), None)
            else:
                living[marker.ns, marker.id] = marker
        if any(re.match(when, marker.text) for marker in living.values() if marker.text):
            done.append(True)

    rclpy.init()
    try:
        node = rclpy.create_node("render_markers", namespace=namespace)
        node.create_subscription(MarkerArray, names.FLEET_MARKERS, hear, qos.state())
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        deadline = time.monotonic() + timeout_s
        while not done and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.2)
    finally:
        rclpy.try_shutdown()
    if not done:
        sys.exit(f"no markers with a text like {when!r} within {timeout_s:g} s")
    return list(living.values())


def render(markers: list[Marker], camera: Camera, path: str) -> None:
    figure = plt.figure(figsize=INCHES, dpi=DPI, facecolor=BACKGROUND)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_facecolor(BACKGROUND)
    axes.set_axis_off()
    flat = [camera(_in_map(marker)) for marker in markers if marker.type != Marker.TEXT_VIEW_FACING]
    flat += [camera(_place(marker)) for marker in markers]
    everything = np.concatenate([part for part in flat if len(part)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    middle, half = (low + high) / 2.0, 0.53 * float((high - low).max())
    # Texts face the viewer and keep their size, so that a low camera leaves room above and below.
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half * INCHES[1] / INCHES[0], middle[1] + half * INCHES[1] / INCHES[0])
    points_per_m = INCHES[0] * 72.0 / (2.0 * half)
    _grid(axes, camera, half)
    order = {namespace: i for i, namespace in enumerate(NAMESPACES)}
    for marker in sorted(markers, key=lambda m: (order.get(m.ns, 99), m.id)):
        DRAWERS[marker.type](axes, marker, camera, points_per_m)
    figure.savefig(path, facecolor=BACKGROUND)


def _grid(axes: Axes, camera: Camera, half_m: float) -> None:
    """Draw a line every kilometre, like the Grid display of config/rviz/fleet.rviz."""
    reach = 10_000.0
    steps = np.arange(-reach, reach + 1.0, 1000.0)
    lines = [camera(np.array([[s, -reach, 0.0], [s, reach, 0.0]])) for s in steps]
    lines += [camera(np.array([[-reach, s, 0.0], [reach, s, 0.0]])) for s in steps]
    axes.add_collection(LineCollection(lines, colors="#a0a0a4", linewidths=0.5, alpha=0.28, zorder=0))


def _place(marker: Marker) -> Array:
    position = marker.pose.position
    return np.array([[position.x, position.y, position.z]])


def _in_map(marker: Marker) -> Array:
    """Return the marker's points in the map frame, rotated and moved by its pose; its position if it has no points."""
    if not marker.points:
        return _place(marker)
    q = marker.pose.orientation
    yaw = 2.0 * math.atan2(q.z, q.w)
    points = np.array([(p.x, p.y, p.z) for p in marker.points])
    turned = np.column_stack(
        [
            math.cos(yaw) * points[:, 0] - math.sin(yaw) * points[:, 1],
            math.sin(yaw) * points[:, 0] + math.cos(yaw) * points[:, 1],
            points[:, 2],
        ]
    )
    return turned + _place(marker)


def _rgba(color: object) -> tuple[float, float, float, float]:
    return color.r, color.g, color.b, color.a  # type: ignore[attr-defined]


def _line_strip(axes: Axes, marker: Marker, camera: Camera, points_per_m: float) -> None:
    flat = camera(_in_map(marker))
    axes.plot(flat[:, 0], flat[:, 1], color=_rgba(marker.color), linewidth=max(marker.scale.x * points_per_m, 0.7))


def _line_list(axes: Axes, marker: Marker, camera: Camera, points_per_m: float) -> None:
    flat = camera(_in_map(marker)).reshape(-1, 2, 2)
    colors = [_rgba(color) for color in marker.colors[::2]] or [_rgba(marker.color)]
    width = max(marker.scale.x * points_per_m, 0.7)
    axes.add_collection(LineCollection(list(flat), colors=colors, linewidths=width, capstyle="butt", zorder=2))


def _triangles(axes: Axes, marker: Marker, camera: Camera, points_per_m: float) -> None:
    flat = camera(_in_map(marker)).reshape(-1, 3, 2)
    axes.add_collection(PolyCollection(list(flat), facecolors=[_rgba(marker.color)], edgecolors="none", zorder=2.5))


def _round(axes: Axes, marker: Marker, camera: Camera, points_per_m: float) -> None:
    """Draw a sphere, or a flat cylinder as its upper face."""
    angles = np.linspace(0.0, 2.0 * math.pi, 48)
    if marker.type == Marker.SPHERE:
        rim = camera(_place(marker)) + marker.scale.x / 2.0 * np.column_stack([np.cos(angles), np.sin(angles)])
    else:
        circle = np.column_stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)])
        rim = camera(_place(marker) + circle * [marker.scale.x / 2.0, marker.scale.y / 2.0, 0.0])
    axes.add_collection(PolyCollection([rim], facecolors=[_rgba(marker.color)], edgecolors="none", zorder=2.2))


def _text(axes: Axes, marker: Marker, camera: Camera, points_per_m: float) -> None:
    (x, y), size = camera(_place(marker))[0], marker.scale.z * points_per_m
    axes.text(x, y, marker.text, color=_rgba(marker.color), fontsize=size, ha="center", va="center", zorder=3)


DRAWERS: dict[int, Callable[[Axes, Marker, Camera, float], None]] = {
    Marker.LINE_STRIP: _line_strip,
    Marker.LINE_LIST: _line_list,
    Marker.TRIANGLE_LIST: _triangles,
    Marker.SPHERE: _round,
    Marker.CYLINDER: _round,
    Marker.TEXT_VIEW_FACING: _text,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="the picture, .png or .svg")
    parser.add_argument("--namespace", default="/", help="the fleet's namespace")
    parser.add_argument("--view", choices=sorted(CAMERAS), default="top")
    parser.add_argument("--when", default="leader ", help="wait for a text that begins so (regular expression)")
    parser.add_argument("--timeout", type=float, default=60.0, help="how long to wait (s)")
    arguments = parser.parse_args()
    render(capture(arguments.namespace, arguments.when, arguments.timeout), CAMERAS[arguments.view], arguments.path)


if __name__ == "__main__":
    main()
