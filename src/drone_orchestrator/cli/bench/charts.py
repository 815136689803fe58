"""Pictures of the benchmarks: dots, bars and lines on white, as SVG text.

A picture is a title and one or more panels, each with its own axes::

    svg = charts.draw(
        "Orders assigned",
        charts.Bars("orders/s", groups=("single", "grouped"), series={"fleet": (900, 2400), "baseline": (240, 360)}),
        charts.Lines("drones", "ms", series={"p50": [(10, 3), (100, 5)], "p99": [(10, 9), (100, 20)]}),
        note="2 cores, fsync on",
    )

:func:`save` writes the file of a command's ``--picture FILE``. Text becomes outlines, so a picture looks the same
everywhere; the same data give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator

from ..output import Failure

#: Colours that differ in grey and for the colour-blind (after Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "os^Dv<>"
_STYLE = {
    "svg.fonttype": "path",
    "svg.hashsalt": "drone_orchestrator",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "legend.frameon": False,
}
_COLUMNS = 2
_PANEL_IN = (8.0, 4.0)
_ROW_IN = 0.75


@dataclass(frozen=True, slots=True)
class Dots:
    """One dot per measurement, one row per kind; a bar marks each row's median. Log axes need values above 0.

    ``limits`` (kind to value) draws the limit as a tick across that kind's row.
    """

    x_label: str
    rows: Mapping[str, Sequence[float]]
    title: str = ""
    log: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def size_in(self) -> tuple[float, float]:
        return 1.2 * _PANEL_IN[0], 1.2 + _ROW_IN * max(len(self.rows), 1)

    def paint(self, axes: Axes) -> None:
        """Draw the rows, the first on top."""
        positions = range(len(self.rows) - 1, -1, -1)
        for y, (kind, values), colour in zip(positions, self.rows.items(), _cycle(len(self.rows)), strict=True):
            # Spread the dots evenly in the order of the measurements, so that none covers another.
            spread = np.linspace(0.22, -0.22, len(values)) if len(values) > 1 else np.zeros(len(values))
            axes.scatter(values, y + spread, s=26, color=colour, alpha=0.75, linewidths=0, zorder=3)
            if len(values):
                median = float(np.median(values))
                axes.vlines(median, y - 0.34, y + 0.34, color=colour, linewidth=2.0, zorder=4)
                axes.annotate(
                    f"{median:.3g}", (median, y + 0.34), ha="center", va="bottom", fontsize=10, color=colour, zorder=5
                )
            if kind in self.limits:
                axes.vlines(self.limits[kind], y - 0.4, y + 0.4, color="#444444", linestyles="dashed", linewidth=1.2)
        axes.set_yticks(list(positions), [f"{kind} (n = {len(values)})" for kind, values in self.rows.items()])
        axes.set_ylim(-0.6, len(self.rows) - 0.3)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(self.x_label)
        _scale(axes, "x", self.log)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars side by side: ``series`` has a value per group for each name, in the order of ``groups``."""

    y_label: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[float]]
    title: str = ""
    log: bool = False

    @property
    def size_in(self) -> tuple[float, float]:
        return max(_PANEL_IN[0], 0.7 * len(self.groups) * max(len(self.series), 1)), _PANEL_IN[1]

    def paint(self, axes: Axes) -> None:
        """Draw the bars, each with its value."""
        width = 0.8 / max(len(self.series), 1)
        at = np.arange(len(self.groups))
        for index, ((name, values), colour) in enumerate(
            zip(self.series.items(), _cycle(len(self.series)), strict=True)
        ):
            bars = axes.bar(at - 0.4 + width * (index + 0.5), values, 0.92 * width, label=name, color=colour)
            axes.bar_label(bars, [f"{value:,.4g}" for value in values], padding=2, fontsize=10)
        axes.set_xticks(at, self.groups)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(self.y_label)
        _scale(axes, "y", self.log)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        _legend(axes, self.series)


@dataclass(frozen=True, slots=True)
class Lines:
    """One line per name through its ``(x, y)`` points; ``y_limit`` is a dashed line at the limit."""

    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    title: str = ""
    log_x: bool = False
    log_y: bool = False
    y_limit: float | None = None

    @property
    def size_in(self) -> tuple[float, float]:
        return _PANEL_IN

    def paint(self, axes: Axes) -> None:
        """Draw the lines. Linear axes begin at 0."""
        for index, ((name, points), colour) in enumerate(
            zip(self.series.items(), _cycle(len(self.series)), strict=True)
        ):
            xs, ys = ([point[i] for point in points] for i in (0, 1))
            axes.plot(xs, ys, marker=_MARKERS[index % len(_MARKERS)], markersize=5, label=name, color=colour)
        if self.y_limit is not None:
            axes.axhline(self.y_limit, color="#444444", linestyle="dashed", linewidth=1.2)
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(self.y_label)
        _scale(axes, "x", self.log_x)
        _scale(axes, "y", self.log_y)
        axes.grid(color="#dddddd", linewidth=0.6)
        _legend(axes, self.series)


Panel = Dots | Bars | Lines


def draw(title: str, *panels: Panel, note: str = "") -> str:
    """Return the picture as SVG text: panels in rows of two, with ``note`` in small print below."""
    with matplotlib.rc_context(_STYLE):
        columns = min(_COLUMNS, len(panels))
        rows = -(-len(panels) // columns)
        width_in = columns * max(panel.size_in[0] for panel in panels)
        height_in = rows * max(panel.size_in[1] for panel in panels) + 0.8
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(width_in, height_in), facecolor="white", layout=layout)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            panel.paint(axes)
            axes.set_title(panel.title, loc="left")
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        figure.suptitle(title, fontsize=15, fontweight="bold")
        if note:
            figure.supxlabel(note, fontsize=10, color="#444444")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    return text.getvalue()


def save(path: Path, svg: str) -> None:
    """Write a picture and create its folder. Raises :class:`Failure` if that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(svg)
    except OSError as error:
        raise Failure(f"--picture {path}: {error.strerror}") from error


def _cycle(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _scale(axes: Axes, axis: str, log: bool) -> None:
    """Label the axis with plain numbers, thousands separated. A linear axis begins at 0."""
    side = axes.xaxis if axis == "x" else axes.yaxis
    if log:
        axes.set(**{f"{axis}scale": "log"})
        side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    else:
        axes.set(**{f"{axis}margin": 0.1})
        axes.set(**{f"{axis}lim": (0.0, None)})
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"))
    side.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _legend(axes: Axes, series: Mapping[str, object]) -> None:
    if len(series) > 1:
        axes.legend(loc="best")
