"""The charts of the benches: well-formed, complete, and identical for identical data."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from drone_orchestrator.cli.bench import charts
from drone_orchestrator.cli.output import Failure

DOTS = charts.Dots("s", {"kill": (0.4, 0.5, 0.6), "lease only": (4.0,), "hang": ()}, log=True, limits={"kill": 1.0})
BARS = charts.Bars("orders/s", ("single", "grouped"), {"fleet": (900, 2400), "baseline": (240, 360)})
LINES = charts.Lines("drones", "ms", {"p50": [(10, 3), (100, 5)], "p99": [(10, 9)]}, log_x=True, y_limit=15.0)


def _elements(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}" + name))


@pytest.mark.parametrize("panels", [(DOTS,), (BARS,), (LINES,), (DOTS, BARS, LINES)])
def test_a_chart_is_svg_with_its_title_and_identical_for_identical_data(panels: tuple[charts.Panel, ...]) -> None:
    svg = charts.draw("What it shows", *panels, note="2 cores")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "What it shows" in svg
    assert svg == charts.draw("What it shows", *panels, note="2 cores")


def test_every_measurement_has_a_dot() -> None:
    groups = [g for g in _elements(charts.draw("t", DOTS), "g") if (g.get("id") or "").startswith("PathCollection")]
    assert [len(list(g.iter("{http://www.w3.org/2000/svg}use"))) for g in groups] == [3, 1, 0]


def test_a_chart_is_saved_in_a_new_folder_or_fails_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.svg"
    charts.save(path, charts.draw("t", BARS))
    assert path.read_text().startswith("<?xml")
    with pytest.raises(Failure, match="--picture"):
        charts.save(path / "below_a_file.svg", "")
