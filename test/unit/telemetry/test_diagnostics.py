"""The fleet's diagnostics: every status has the right level, and every problem a hint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import fly
from world import FLEET, World, make_order, make_report

from drone_orchestrator.core.lanes import Level, Pressure
from drone_orchestrator.core.leader.election import Role
from drone_orchestrator.core.types import Breaker, BreakerState, Corrupt, Entry, Kind, Phase, SagaStatus, Snapshot
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.runtime.probe import Probe, look
from drone_orchestrator.runtime.projection import Freshness
from drone_orchestrator.runtime.vitals import Vitals
from drone_orchestrator.store import MemoryBackend, MemoryStore
from drone_orchestrator.telemetry import diagnostics as d
from drone_orchestrator.telemetry.diagnostics import HeardDrone, Severity, Status

OK, WARN, ERROR, STALE = Severity.OK, Severity.WARN, Severity.ERROR, Severity.STALE
NOW_S, WALL_S = 100.0, 1000.0


def found(status: Status, severity: Severity, *words: str) -> None:
    """Assert that ``status`` has this level, contains these words, and has a hint unless it is OK."""
    assert status.severity is severity, status
    for word in words:
        assert word in status.message, status
    assert bool(status.hint) == (severity is not OK)
    assert "\n" not in status.message + status.hint


def view_of(*entries: Entry) -> FleetView:
    return FleetView.of(Snapshot(99, entries))


def drone(view: FleetView | None = None, at_s: float = NOW_S, **changes: object) -> Status:
    heard = HeardDrone(make_report(**changes), at_s)
    return d.drone_status("drone_1", view or FleetView(), heard, FLEET, NOW_S, WALL_S)


# --- the fleet ------------------------------------------------------------------------------------------------------


def test_the_leader_status() -> None:
    world = World()
    found(d.leader_status(FleetView()), ERROR, "none")
    world.run()
    found(d.leader_status(world.leader.core.view), OK, "orchestrator_0")
    assert d.leader_status(world.leader.core.view).values["epoch"] == world.leader.core.epoch


@pytest.mark.parametrize(
    ("freshness", "probe", "severity", "says"),
    [
        (Freshness(0, None), None, ERROR, "never reached"),
        (Freshness(9, 5.0), None, ERROR, "degraded"),
        (Freshness(9, 0.0), None, OK, "following"),
        (Freshness(9, 0.0), Probe(True, 0.002, {"a:1": True}, "3.5", 1000), OK, "following"),
        (Freshness(9, 0.0), Probe(False, members={"a:1": False}), ERROR, "quorum"),
        (
            Freshness(9, 0.0),
            Probe(True, 0.002, {"a:1": True, "b:1": False, "c:1": True}),
            WARN,
            "1 of 3 members away: b:1",
        ),
        (Freshness(9, 0.0), Probe(True, 0.9, {"a:1": True}), WARN, "slow"),
        (Freshness(9, 0.0), Probe(True, 0.002, {"a:1": True}, "3.5", 1_700_000_000), WARN, "MiB"),
    ],
)
def test_the_store_status(freshness: Freshness, probe: Probe | None, severity: Severity, says: str) -> None:
    found(d.store_status(freshness, 3.0, probe, "a:1,b:1,c:1"), severity, says)


def test_probing_an_available_store() -> None:
    probe = look(MemoryStore(MemoryBackend(lambda: 0.0, threaded=False), "sf", "monitor"))
    assert (probe.reachable, probe.version, dict(probe.members)) == (True, "memory", {"memory": True})


def test_the_sagas_status() -> None:
    world = World()
    order = fly(world, make_order())
    view = world.leader.core.view
    saga = world.saga(order)
    found(d.saga_status(view, 600.0, saga.updated_at + 1.0), OK)
    found(d.saga_status(view, 600.0, saga.updated_at + 601.0), WARN, "1 without a change")
    failed = view_of(Entry(Kind.SAGA, saga.message_id, replace(saga, status=SagaStatus.FAILED), 99))
    found(d.saga_status(failed, 600.0, saga.updated_at), ERROR, "1 failed")
    parked = view_of(Entry(Kind.SAGA, saga.message_id, replace(saga, parked=True), 99))
    status = d.saga_status(parked, 600.0, saga.updated_at)
    found(status, ERROR, "parked")
    assert status.values["parked"] == order.order_id and "fleetctl order" in status.hint


def test_the_records_status() -> None:
    found(d.record_status(FleetView()), OK)
    corrupt = view_of(Entry(Kind.SAGA, "m1", Corrupt("{not json", "is no JSON"), 7))
    found(d.record_status(corrupt), ERROR, "1 unreadable")
    assert "m1" in str(d.record_status(corrupt).values["keys"])


@pytest.mark.parametrize(
    ("level", "severity"),
    [(Level.CLEAR, OK), (Level.SLOW_DOWN, WARN), (Level.FULL, ERROR), (Level.UNSPECIFIED, STALE)],
)
def test_the_lane_status(level: Level, severity: Severity) -> None:
    [status] = d.lane_statuses([Pressure("courier", level, 7, 8, 2, 3.0)])
    found(status, severity)
    assert status.name == "lane courier"


def test_the_breakers_status() -> None:
    found(d.breaker_status(FleetView(), WALL_S), OK)
    tripped = Breaker("drone_2", BreakerState.OPEN, 5, 3, 2, WALL_S + 30.0)
    view = view_of(Entry(Kind.BREAKER, "drone_2", tripped, 9))
    status = d.breaker_status(view, WALL_S)
    found(status, WARN, "drone_2")
    assert "30 s more" in str(status.values["drone_2"])


def test_the_status_of_a_healthy_drone() -> None:
    status = drone(energy_wh=275.0)
    found(status, OK, "IDLE", "50%")
    assert (status.name, status.values["battery"], status.values["breaker"]) == ("drone drone_1", "50%", "closed")


def test_the_status_of_a_drone_with_a_problem() -> None:
    found(drone(phase=Phase.GROUNDED), ERROR, "grounded")
    found(drone(energy_wh=55.0), WARN, "10%", "reserve")
    found(drone(drone_class="zeppelin"), ERROR, "zeppelin")
    half_open = Breaker("drone_1", BreakerState.HALF_OPEN, 5)
    found(drone(view_of(Entry(Kind.BREAKER, "drone_1", half_open, 9))), WARN, "half_open")
    found(drone(at_s=NOW_S - 10.0), STALE, "silent for 10 s")


def test_a_silent_drone_with_a_package_is_an_error() -> None:
    world = World()
    order = fly(world, make_order())
    view = world.leader.core.view
    found(drone(view, at_s=NOW_S - 10.0), ERROR, order.order_id)
    # A monitor that just started has never heard it.
    [status] = d.drone_statuses(view, {}, FLEET, NOW_S, WALL_S)
    found(status, ERROR, "never heard", order.order_id)


# --- nodes about themselves -----------------------------------------------------------------------------------------


def vitals(**changes: object) -> Vitals:
    return replace(Vitals(Role.STANDBY, 0, 5, 0, None, ()), **changes)  # type: ignore[arg-type]


def test_the_replica_status() -> None:
    found(d.replica_status(None, NOW_S), WARN, "not configured")
    found(d.replica_status(vitals(), NOW_S), OK, "standby")
    leading = d.replica_status(vitals(role=Role.LEADER, epoch=7, committed_at_s=NOW_S - 2.0), NOW_S)
    found(leading, OK, "leading with epoch 7")
    assert (leading.values["last_commit_s_ago"], leading.values["queued_commits"]) == (2.0, 0)
    found(d.replica_status(vitals(role=Role.RETIRED), NOW_S), WARN, "not campaigning")
    found(d.replica_status(vitals(queued=1000), NOW_S), WARN, "1000 commits")
    found(d.replica_status(vitals(failing=("campaign", "commit")), NOW_S), ERROR, "campaign, commit")


@pytest.mark.parametrize(
    ("changes", "severity", "says"),
    [
        ({}, OK, "IDLE"),
        ({"finalized": True}, ERROR, "shut down"),
        ({"configured": False}, ERROR, "not configured"),
        ({"configured": False, "trouble": "journal in use"}, ERROR, "not configured: journal in use"),
        ({"trouble": "No space left on device"}, ERROR, "takes no commands: No space left"),
        ({"active": False}, WARN, "inactive"),
        ({"leader_silent_s": 9.0}, WARN, "no leader"),
        ({"leader_silent_s": None}, WARN, "no leader"),
    ],
)
def test_the_executor_status(changes: dict[str, object], severity: Severity, says: str) -> None:
    state = {"configured": True, "active": True, "finalized": False, "phase": "IDLE", "leader_silent_s": 0.5}
    found(d.executor_status(**{**state, **changes}), severity, says)  # type: ignore[arg-type]


def test_the_intake_status() -> None:
    found(d.intake_status("closed", Freshness(4, 0.0)), OK)
    found(d.intake_status("open", Freshness(4, 9.0)), ERROR, "open")
    found(d.intake_status("closed", Freshness(0, None)), ERROR)


def test_long_lists_are_truncated() -> None:
    assert d._some([f"o{n}" for n in range(25)]).endswith("o19 and 5 more")
