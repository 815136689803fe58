"""Lanes: the one an order belongs to, and counts per lane that always agree with a recount."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleets import DEPOT, FLEET, HEAVY, LIGHT, at
from hypothesis import given
from hypothesis import strategies as st

from drone_orchestrator.core.lanes import (
    Ledger,
    Level,
    Occupancy,
    Pressure,
    PressureGauge,
    lane_of,
    unmanned,
    why_waiting,
)
from drone_orchestrator.core.types import (
    Corrupt,
    Entry,
    FleetSpec,
    Kind,
    Order,
    Saga,
    SagaStatus,
    Snapshot,
    StoreChange,
)
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.planning.planner import AssignmentPlanner

CAPABLE = AssignmentPlanner().capable


def order(message_id: str = "m1", weight_kg: float = 1.0, **fields: object) -> Order:
    return Order(message_id, f"order-{message_id}", at(1_000.0, 0.0), weight_kg, 0.0, **fields)  # type: ignore[arg-type]


def saga(of: Order, status: SagaStatus) -> Saga:
    return Saga(of.message_id, of, status, 0.0, 0.0)


def change(revision: int, *values: tuple[Kind, str, object]) -> StoreChange:
    return StoreChange(revision, tuple(Entry(kind, id_, value, revision) for kind, id_, value in values))  # type: ignore[arg-type]


# --- lane_of ----------------------------------------------------------------------------------------------------------


def test_an_order_that_names_a_class_is_in_its_lane() -> None:
    assert lane_of(FLEET, order(weight_kg=0.1, drone_class="heavy"), CAPABLE) == "heavy"


def test_any_other_order_is_in_the_lane_of_the_first_class_that_could_fly_it() -> None:
    assert lane_of(FLEET, order(weight_kg=1.0), CAPABLE) == "light"
    assert lane_of(FLEET, order(weight_kg=5.0), CAPABLE) == "heavy"
    assert lane_of(replace(FLEET, classes=(HEAVY, LIGHT)), order(weight_kg=1.0), CAPABLE) == "heavy"


def test_a_class_that_could_lift_the_order_but_not_reach_it_is_skipped() -> None:
    short = replace(LIGHT, battery_wh=60.0)
    fleet = replace(FLEET, classes=(short, HEAVY))

    assert not CAPABLE(replace(fleet, classes=(short,)), order())
    assert lane_of(fleet, order(), CAPABLE) == "heavy"


def test_an_order_that_no_class_could_fly_is_counted_where_it_could_be_lifted_or_in_the_first_lane() -> None:
    assert lane_of(FLEET, order(weight_kg=5.0), lambda *_: False) == "heavy"
    assert lane_of(FLEET, order(weight_kg=99.0), lambda *_: False) == "light"


def test_a_fleet_without_classes_has_no_lanes() -> None:
    with pytest.raises(ValueError, match="lanes"):
        lane_of(FleetSpec("empty", DEPOT, 1.0, ()), order(), CAPABLE)


# --- the ledger -------------------------------------------------------------------------------------------------------


def counts(ledger: Ledger) -> dict[str, tuple[int, int]]:
    return {c.name: (ledger.waiting(c.name), ledger.in_flight(c.name)) for c in FLEET.classes}


def test_an_order_is_counted_once_from_the_inbox_to_its_end() -> None:
    view, ledger, mine = FleetView(), Ledger(FLEET, CAPABLE), order()
    steps = [
        ((Kind.INBOX_ORDER, "m1", mine),),
        ((Kind.SAGA, "m1", saga(mine, SagaStatus.PENDING)), (Kind.INBOX_ORDER, "m1", None)),
        ((Kind.SAGA, "m1", saga(mine, SagaStatus.ASSIGNED)),),
        ((Kind.SAGA, "m1", saga(mine, SagaStatus.COMPENSATING)),),
        ((Kind.SAGA, "m1", saga(mine, SagaStatus.PENDING)),),
        ((Kind.SAGA, "m1", saga(mine, SagaStatus.IN_TRANSIT)),),
        ((Kind.SAGA, "m1", saga(mine, SagaStatus.DELIVERED)),),
        ((Kind.SAGA, "m1", None),),
    ]
    seen = []
    for revision, step in enumerate(steps, start=1):
        ledger.apply(view, view.apply(change(revision, *step)))
        seen.append(counts(ledger)["light"])

    assert seen == [(1, 0), (1, 0), (0, 1), (0, 1), (1, 0), (0, 1), (0, 0), (0, 0)]
    assert ledger.drained("light") == 1
    assert counts(ledger)["heavy"] == (0, 0)


def test_a_change_applied_twice_counts_once() -> None:
    ledger = Ledger(FLEET, CAPABLE)
    for _ in range(2):
        ledger.set(order(), Occupancy.WAITING)
    assert (ledger.waiting("light"), ledger.lane("m1")) == (1, "light")
    for _ in range(2):
        ledger.drop("m1")
    assert (ledger.waiting("light"), ledger.lane("m1")) == (0, None)


def test_the_lane_of_an_order_is_computed_once() -> None:
    asked: list[Order] = []

    def capable(fleet: FleetSpec, wanted: Order) -> bool:
        asked.append(wanted)
        return True

    ledger = Ledger(FLEET, capable)
    for occupancy in (Occupancy.WAITING, Occupancy.IN_FLIGHT, Occupancy.WAITING, Occupancy.IN_FLIGHT, None):
        ledger.set(order(), occupancy)

    assert len(asked) == 1


def test_pressure_follows_the_number_of_waiting_orders() -> None:
    fleet = replace(FLEET, classes=(replace(LIGHT, max_waiting=4), HEAVY))
    ledger = Ledger(fleet, CAPABLE)
    levels = []
    for n in range(5):
        levels.append(ledger.pressure("light"))
        ledger.set(order(f"m{n}"), Occupancy.WAITING)

    assert levels == [Level.CLEAR, Level.CLEAR, Level.CLEAR, Level.SLOW_DOWN, Level.FULL]
    assert ledger.pressure("light") is Level.FULL
    assert ledger.pressure("heavy") is Level.CLEAR
    assert ledger.pressure("zeppelin") is Level.UNSPECIFIED


def test_a_full_lane_gives_a_retry_interval_and_a_free_one_none() -> None:
    fleet = replace(FLEET, classes=(replace(LIGHT, max_waiting=4), HEAVY))
    ledger = Ledger(fleet, CAPABLE)
    gauge = PressureGauge(fleet, ledger, 0.0)
    for n in range(6):
        ledger.set(order(f"m{n}"), Occupancy.WAITING)
    ledger.set(order("m0"), Occupancy.IN_FLIGHT)

    light, heavy = gauge.read(10.0)  # one leaves in ten seconds; of the five that wait, two must leave

    assert light == Pressure("light", Level.FULL, waiting=5, bound=4, in_flight=1, retry_after_s=20.0)
    assert heavy == Pressure("heavy", Level.CLEAR, waiting=0, bound=HEAVY.max_waiting, in_flight=0, retry_after_s=0.0)
    ledger.drop("m1")
    ledger.drop("m2")
    assert gauge.read(15.0)[0] == Pressure("light", Level.SLOW_DOWN, 3, 4, 1, retry_after_s=5.0)


def test_an_order_missing_from_a_new_snapshot_is_no_longer_counted() -> None:
    view, ledger, mine = FleetView(), Ledger(FLEET, CAPABLE), order()
    ledger.apply(view, view.apply(change(1, (Kind.INBOX_ORDER, "m1", mine))))
    view.load(Snapshot(5))
    ledger.load(view)

    assert counts(ledger)["light"] == (0, 0)


ORDERS = {o.message_id: o for o in (order("a"), order("b", 5.0), order("c", drone_class="heavy"), order("d", 2.0))}
IDS = st.sampled_from(sorted(ORDERS))
SAGA = st.sampled_from([*SagaStatus, None, "unreadable"])
#: One revision: per order, whether its inbox entry is there (or unreadable), and what its saga is.
STEP = st.lists(st.tuples(IDS, st.sampled_from([True, False, None]), st.one_of(st.just("same"), SAGA)), max_size=3)


@given(st.lists(st.one_of(STEP, st.just("snapshot"), st.just("again")), max_size=25))
def test_the_ledger_equals_a_recount_after_any_changes(steps: list[object]) -> None:
    view, ledger, last = FleetView(), Ledger(FLEET, CAPABLE), StoreChange(0, ())
    for revision, step in enumerate(steps, start=1):
        if step == "snapshot":
            tables = [*view.inbox.values(), *list(view.sagas.values())[::2]]
            view.load(Snapshot(revision, tuple(tables)))
            ledger.load(view)
            continue
        if step != "again":
            last = change(revision, *entries(step))  # type: ignore[arg-type]
        ledger.apply(view, view.apply(last))

        recount = Ledger(FLEET, CAPABLE)
        recount.load(view)
        assert counts(ledger) == counts(recount) == counted_again(view)


def entries(step: list[tuple[str, bool | None, object]]) -> list[tuple[Kind, str, object]]:
    made: list[tuple[Kind, str, object]] = []
    for id_, inbox, status in step:
        bad = Corrupt(b"?", "unreadable")
        made.append((Kind.INBOX_ORDER, id_, {True: ORDERS[id_], False: None, None: bad}[inbox]))
        if isinstance(status, SagaStatus):
            made.append((Kind.SAGA, id_, saga(ORDERS[id_], status)))
        elif status != "same":
            made.append((Kind.SAGA, id_, bad if status else None))
    return made


def counted_again(view: FleetView) -> dict[str, tuple[int, int]]:
    """Count the orders of each lane from scratch."""
    found = {c.name: [0, 0] for c in FLEET.classes}
    for id_, wanted in ORDERS.items():
        lane = {"a": "light", "b": "heavy", "c": "heavy", "d": "light"}[id_]
        current = view.saga_of(id_)
        if id_ in view.sagas:
            status = current.status if current else SagaStatus.FAILED
            found[lane][0] += status is SagaStatus.PENDING
            found[lane][1] += status is not SagaStatus.PENDING and not status.is_terminal
        else:
            found[lane][0] += view.order_of(id_) == wanted
    return {name: (waiting, flying) for name, (waiting, flying) in found.items()}


# --- classes without a live drone -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("living", "says"),
    [
        ({"light", "heavy"}, {}),
        ({"light"}, {"heavy": "no drone of class heavy is heard: orders of more than 2.5 kg wait"}),
        ({"heavy"}, {"light": "no drone of class light is heard: orders that ask for this class wait"}),
        (set(), {name: f"no drone of class {name} is heard: its orders wait" for name in ("light", "heavy")}),
    ],
)
def test_a_class_without_a_live_drone_is_reported(living: set[str], says: dict[str, str]) -> None:
    assert unmanned(FLEET, living) == says


@pytest.mark.parametrize(
    ("fields", "living", "says"),
    [
        ({}, {"light"}, None),
        ({}, {"heavy"}, None),
        ({"weight_kg": 5.0}, {"heavy"}, None),
        ({"weight_kg": 5.0}, {"light"}, "no drone of class heavy is heard, and no other can fly it"),
        ({"drone_class": "light"}, {"heavy"}, "no drone of class light is heard, and no other can fly it"),
        ({}, set(), "no drone of class light or heavy is heard, and no other can fly it"),
        ({"weight_kg": 50.0}, {"heavy"}, "no drone class of this fleet can fly it"),
    ],
)
def test_the_reason_why_an_order_waits_is_reported(fields: dict[str, Any], living: set[str], says: str | None) -> None:
    assert why_waiting(FLEET, order(**fields), living, CAPABLE) == says
