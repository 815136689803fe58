"""The markers of a fleet have stable ids and correct positions, and are deleted when no longer needed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import yaml
from fleets import DEPOT, FLEET, LIGHT, at, drone, wanted

pytest.importorskip("shapely")

from shapely.geometry import Polygon
from shapely.ops import unary_union

from drone_orchestrator.bringup.paths import share_dir
from drone_orchestrator.core.policies import DRONE_SILENT_S
from drone_orchestrator.core.types import (
    Entry,
    Kind,
    LeaderRecord,
    NoFlyZone,
    Order,
    Phase,
    Saga,
    SagaStatus,
    Snapshot,
)
from drone_orchestrator.core.view import CurrentLeader, FleetView
from drone_orchestrator.core.zones import airspace
from drone_orchestrator.ros import names
from drone_orchestrator.telemetry.markers import AMBER, GREEN, NAMESPACES, RED, Form, Mark, Stage, draw, triangles
from drone_orchestrator.telemetry.scene import (
    CHANGE_SHOWN_S,
    MAX_ACTIVE,
    MAX_ENDED,
    FleetScene,
    LeaderWatch,
    SeenDrone,
    SeenLeader,
    look,
    seen_drone,
)

S = SagaStatus
ZONE = NoFlyZone("school", (at(2e3, 2e3), at(3e3, 2e3), at(2.2e3, 2.2e3), at(2e3, 3e3)))
TOWN = replace(FLEET, no_fly_zones=(ZONE,))
SPACE = airspace(TOWN)
LEADER = SeenLeader("orchestrator_a", 7, 0.2)


def saga(number: int, status: S, **fields: Any) -> Saga:
    order = wanted(f"m{number}", destination=at(100.0 * number, 500.0)).order
    return Saga(order.message_id, order, status, created_at=float(number), updated_at=float(number), **fields)


def store(*sagas: Saga, waiting: tuple[Order, ...] = (), leader: str = "orchestrator_a") -> FleetView:
    entries = [Entry(Kind.SAGA, s.message_id, s, 10) for s in sagas]
    entries += [Entry(Kind.INBOX_ORDER, order.message_id, order, 11) for order in waiting]
    if leader:
        entries.append(Entry(Kind.LEADER, "", LeaderRecord(leader, "i", 0.0), 7))
    return FleetView.of(Snapshot(20, tuple(entries)))


def leads(name: str, epoch: int) -> CurrentLeader:
    return CurrentLeader(name, epoch, "i", 0.0)


def scene(view: FleetView, *drones: SeenDrone, leader: SeenLeader = LEADER, **fields: Any) -> FleetScene:
    stored = look(view, SPACE)
    return FleetScene(drones, stored.orders, leader, stored.counts, **fields)


def seen(view: FleetView, heard_s_ago: float = 0.1, altitude_m: float = 60.0, **fields: Any) -> SeenDrone:
    return seen_drone(drone(**fields), altitude_m, heard_s_ago, look(view, SPACE).by_message, SPACE)


def of(marks: list[Mark], namespace: str) -> list[Mark]:
    return [mark for mark in marks if mark.namespace == namespace]


def busy() -> FleetScene:
    view = store(
        saga(1, S.IN_TRANSIT, drone_id="d1"),
        saga(2, S.PENDING),
        saga(3, S.DELIVERED),
        saga(4, S.FAILED),
        waiting=(wanted("m9").order,),
    )
    flying = seen(view, phase=Phase.TO_DESTINATION, message_id="m1", position=at(50.0, 250.0), energy_wh=250.0)
    return scene(view, flying, seen(view, drone_id="d2"))


def test_every_mark_has_a_unique_id_in_a_namespace_that_rviz_shows() -> None:
    marks = draw(TOWN, SPACE.shapes, busy())

    keys = [(mark.namespace, mark.id) for mark in marks]
    assert len(keys) == len(set(keys)) and all(0 <= number < 2**31 for _, number in keys)
    assert {namespace for namespace, _ in keys} == set(NAMESPACES)
    assert all(mark.text for mark in marks if mark.form is Form.TEXT)
    assert all(len(mark.colors) in (0, len(mark.points)) for mark in marks)
    assert all(math.isfinite(c) for mark in marks for point in (mark.position, mark.scale, *mark.points) for c in point)


def test_ids_do_not_depend_on_other_marks() -> None:
    both = store(saga(1, S.PENDING), saga(2, S.PENDING))
    one = store(saga(2, S.PENDING))

    ids = {mark.text: mark.id for mark in of(draw(TOWN, SPACE.shapes, scene(both)), "order_names")}
    (alone,) = of(draw(TOWN, SPACE.shapes, scene(one)), "order_names")

    assert ids[alone.text] == alone.id


def test_a_mark_is_deleted_once() -> None:
    stage = Stage()
    view = store(saga(1, S.PENDING))
    assert stage.replace(draw(TOWN, SPACE.shapes, scene(view))) == []

    gone = stage.replace(draw(TOWN, SPACE.shapes, scene(store())))

    assert [namespace for namespace, _ in gone] == ["order_names", "orders"]
    assert stage.replace(draw(TOWN, SPACE.shapes, scene(store()))) == []


def test_a_drone_points_along_its_route_and_shows_its_charge() -> None:
    view = store(saga(1, S.IN_TRANSIT, drone_id="d1"))
    flying = seen(view, phase=Phase.TO_DESTINATION, message_id="m1", position=at(100.0, 300.0), energy_wh=250.0)

    marks = draw(TOWN, SPACE.shapes, scene(view, flying))

    (dart,), (way,), (bar,), (name,) = (of(marks, n) for n in ("drones", "routes", "batteries", "drone_names"))
    assert dart.position == pytest.approx((100.0, 300.0, 60.0), abs=0.01)
    assert dart.yaw_rad == pytest.approx(math.pi / 2, abs=1e-3)
    assert way.points[1] == pytest.approx((100.0, 500.0, 60.0), abs=0.01)
    assert way.points[-1] == pytest.approx((0.0, 0.0, 60.0), abs=0.01)
    full, left = bar.points[3][0] - bar.points[0][0], bar.points[1][0] - bar.points[0][0]
    assert left / full == pytest.approx(250.0 / LIGHT.battery_wh)
    assert name.text == "d1 50 %"


@pytest.mark.parametrize(
    ("phase", "stops"),
    [
        (Phase.IDLE, []),
        (Phase.TO_PICKUP, [(0.0, 900.0), (100.0, 500.0), (0.0, 0.0)]),
        (Phase.LOADING, [(100.0, 500.0), (0.0, 0.0)]),
        (Phase.DROPPING, [(100.0, 500.0), (0.0, 0.0)]),
        (Phase.BRINGING_BACK, [(0.0, 900.0), (0.0, 0.0)]),
        (Phase.RETURNING, [(0.0, 0.0)]),
        (Phase.GROUNDED, []),
    ],
)
def test_the_route_shows_the_remaining_stops(phase: Phase, stops: list[tuple[float, float]]) -> None:
    one = saga(1, S.IN_TRANSIT)
    view = store(replace(one, order=replace(one.order, pickup=at(0.0, 900.0))))

    way = seen(view, phase=phase, message_id="m1", position=at(-500.0, 0.0)).way

    assert [pytest.approx(stop, abs=0.01) for stop in stops] == list(way)


def test_drones_in_the_depot_are_listed_there() -> None:
    view = store()
    marks = draw(TOWN, SPACE.shapes, scene(view, seen(view), seen(view, drone_id="d2", position=at(2e3, 0.0))))

    assert "d1  idle, 100 %" in of(marks, "depot")[1].text
    assert [mark.text for mark in of(marks, "drone_names")] == ["d2 100 %"]


def test_a_silent_drone_and_an_unknown_class_are_shown_as_such() -> None:
    view = store()
    quiet = seen(view, heard_s_ago=DRONE_SILENT_S + 1, position=at(2e3, 0.0))
    strange = seen(view, drone_id="d2", position=at(3e3, 0.0), altitude_m=math.nan)
    strange = replace(strange, report=replace(strange.report, drone_class="glider"))

    names_ = [mark.text for mark in of(draw(TOWN, SPACE.shapes, scene(view, quiet, strange)), "drone_names")]

    assert names_ == ["d1 silent", "d2 ? %"] and strange.altitude_m == 0.0


@pytest.mark.parametrize(
    ("leader", "store_away", "text", "color"),
    [
        (LEADER, False, "leader orchestrator_a, epoch 7", GREEN),
        (SeenLeader("", 7, 0.1), False, "NO LEADER: orders are accepted, nothing is decided", RED),
        (SeenLeader("orchestrator_a", 7, None), False, "NO LEADER: orders are accepted, nothing is decided", RED),
        (SeenLeader("orchestrator_a", 7, 9.0), False, "LEADER SILENT for 9 s: orchestrator_a, epoch 7", RED),
        (
            SeenLeader("orchestrator_b", 8, 0.1, "orchestrator_a", 4.2),
            False,
            "NEW LEADER orchestrator_b since 4 s, after orchestrator_a",
            AMBER,
        ),
        (LEADER, True, "STORE AWAY: drones finish what they carry", RED),
    ],
)
def test_the_banner_shows_what_needs_attention(leader: SeenLeader, store_away: bool, text: str, color: Any) -> None:
    first, counts = of(draw(TOWN, SPACE.shapes, scene(store(), leader=leader, store_away=store_away)), "banner")

    assert (first.text, first.color) == (text, color)
    assert counts.text.startswith("0 drones")


def test_the_number_of_drawn_orders_is_bounded_but_all_are_counted() -> None:
    sagas = [saga(i, S.PENDING) for i in range(MAX_ACTIVE + 5)] + [saga(1000 + i, S.DELIVERED) for i in range(99)]

    stored = look(store(*sagas), SPACE)

    assert len(stored.orders) == MAX_ACTIVE + MAX_ENDED
    assert (stored.counts[S.PENDING], stored.counts[S.DELIVERED]) == (MAX_ACTIVE + 5, 99)
    assert stored.orders[MAX_ACTIVE].order.message_id == "m1098"  # the last one to end


def test_a_new_leader_is_announced_for_a_while() -> None:
    watch = LeaderWatch()
    assert watch.read(leads("a", 5), 0.0).absent
    watch.heard(5, 1.0)
    assert not watch.read(leads("a", 5), 2.0).absent
    watch.heard(4, 8.0)  # a deposed leader is ignored
    assert watch.read(None, 8.0).absent

    watch.heard(9, 8.5)
    changed = watch.read(leads("b", 9), 9.0)

    assert (changed.before, changed.changed_s, changed.absent) == ("a", 0.0, False)
    watch.heard(9, 10.0 + CHANGE_SHOWN_S)
    assert watch.read(leads("b", 9), 10.0 + CHANGE_SHOWN_S).before == ""
    assert watch.read(leads("b", 9), 80.0).absent


def test_a_new_store_has_no_leader() -> None:
    assert look(store(leader=""), SPACE).leader is None
    assert look(store(), SPACE).leader == leads("orchestrator_a", 7)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "corners",
    [
        [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)],
        [(0.0, 0.0), (4.0, 0.0), (1.0, 1.0), (0.0, 4.0)],
        [(0.0, 0.0), (6.0, 0.0), (6.0, 4.0), (3.0, 1.0), (0.0, 4.0)],
        [(0.0, 0.0), (2.0, 0.0), (4.0, 0.0), (4.0, 4.0), (3.0, 0.5), (2.0, 4.0), (1.0, 0.5), (0.0, 4.0)],
    ],
)
def test_a_zone_is_filled_to_its_edges(corners: list[tuple[float, float]], turned: bool) -> None:
    parts = [Polygon(part) for part in triangles(corners[::-1] if turned else corners)]

    assert len(parts) == len(corners) - 2
    assert sum(part.area for part in parts) == pytest.approx(Polygon(corners).area)
    assert unary_union(parts).symmetric_difference(Polygon(corners)).area == pytest.approx(0.0, abs=1e-9)


def test_the_rviz_configuration_shows_every_namespace() -> None:
    text = (share_dir() / "config" / "rviz" / "fleet.rviz").read_text(encoding="utf-8")
    manager = yaml.safe_load(text)["Visualization Manager"]
    displays = {display["Class"].removeprefix("rviz_default_plugins/"): display for display in manager["Displays"]}

    fleet = displays["MarkerArray"]
    assert fleet["Topic"]["Value"] == names.FLEET_MARKERS
    assert fleet["Topic"]["Durability Policy"] == "Transient Local"
    assert fleet["Namespaces"] == dict.fromkeys(NAMESPACES, True)
    assert displays["Pose"]["Topic"]["Value"] == names.drone_pose("drone_1")
    assert displays["Path"]["Topic"]["Value"] == names.drone_path("drone_1")
    assert manager["Global Options"]["Fixed Frame"] == displays["Grid"]["Reference Frame"] == names.MAP_FRAME
    assert {"TF", "Grid"} <= displays.keys()
    views = [manager["Views"]["Current"], *manager["Views"]["Saved"]]
    assert {view["Class"] for view in views} == {"rviz_default_plugins/TopDownOrtho", "rviz_default_plugins/Orbit"}


def test_the_depot_is_the_origin() -> None:
    assert SPACE.place(DEPOT) == (0.0, 0.0)
