"""`fleetctl doctor` against a real etcd in real trouble."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from etcd3 import etcdrpc as rpc
from office import Office

from drone_orchestrator.bringup import fleet_config
from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.cli.context import Target
from drone_orchestrator.cli.doctor import store
from drone_orchestrator.cli.doctor.command import machine_checks
from drone_orchestrator.cli.doctor.dds import Heard, check_dds
from drone_orchestrator.cli.doctor.finding import ERROR, OK, WARNING, Finding
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.types import DroneReport, GeoPoint, Phase, SagaStatus
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.store import EtcdStore

pytestmark = pytest.mark.etcd

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "find_trouble.md"
REGION = "san_francisco"


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@pytest.fixture
def office(etcd: EtcdProcess) -> Iterator[Office]:
    office = Office(etcd)
    yield office
    office.close()


def look(office: Office) -> dict[str, Finding]:
    target = Target(office.endpoints, office.region, "", {})
    return {f.name: f for f in store.check_store(target, asked_for=True)[0]}


def raw(store: EtcdStore) -> Any:
    return store._connection.current()


def test_a_healthy_store_passes(office: Office) -> None:
    office.lead()
    found = look(office)
    levels = {name: f.level for name, f in found.items()}
    assert levels.pop("region") == WARNING  # the packaged description is of another region
    del levels["etcd speed"]  # depends on this machine's disk; tested separately
    assert set(levels.values()) == {OK}, found
    assert set(levels) == {"etcd", "etcd space", "clock", "leader", "records", "parked orders", "held"}


@pytest.mark.parametrize(("took_s", "level"), [(0.01, OK), (0.1, WARNING), (1.0, ERROR)])
def test_the_speed_of_etcd_is_judged_by_its_commits(took_s: float, level: str) -> None:
    found = store.speed(lambda: took_s)
    assert found.level == level and "ms" in found.detail


def test_a_region_without_a_leader_is_reported(office: Office) -> None:
    office.submit("ORD-1")
    found = look(office)["leader"]
    assert (found.level, found.detail) == (ERROR, "none, 1 orders wait") and "--bring-back" in found.hint


def test_a_wrong_region_is_reported(office: Office) -> None:
    office.submit("ORD-1")
    elsewhere = Office(EtcdDouble(office.endpoints), "nowhere")
    found = look(elsewhere)["region"]
    elsewhere.close()
    assert found.level == ERROR and office.region in found.detail and found.hint


class EtcdDouble:
    """Endpoints of an etcd that another process started."""

    def __init__(self, endpoints: str) -> None:
        self.endpoints = endpoints.split(",")


def test_a_clock_behind_the_leader_s_is_reported(office: Office) -> None:
    office.lead(since=time.time() + 25.0)
    assert look(office)["clock"].level == WARNING
    office.store.resign(office.epoch)
    office.lead(since=time.time() + 3600.0)
    found = look(office)["clock"]
    assert found.level == ERROR and "ahead" in found.detail and found.hint


def test_unreadable_records_are_reported(office: Office) -> None:
    key = office.store.keys.saga("m1").encode()
    raw(office.store).kv.Put(rpc.PutRequest(key=key, value=b"{not json"), timeout=5.0)
    found = look(office)["records"]
    assert found.level == ERROR and "sagas/m1" in found.detail and found.hint


def test_an_order_that_waits_for_a_person_is_reported(office: Office) -> None:
    office.lead()
    saga = office.accept(office.submit("ORD-7"), "drone_1")
    saga = office.step(saga, sagas.ABANDONED, SagaStatus.COMPENSATING, target=SagaStatus.PENDING)
    office.step(saga, sagas.PARKED, SagaStatus.COMPENSATING, reason="recall_not_obeyed", target=SagaStatus.PENDING)
    found = look(office)["parked orders"]
    assert found.level == WARNING and "ORD-7" in found.detail and "resolve" in found.hint


def test_a_full_etcd_is_reported() -> None:
    with EtcdProcess(extra_args=["--quota-backend-bytes=1000000"]) as small:
        office = Office(small)
        with pytest.raises(Exception, match=r"(?i)space"):
            for number in range(100):
                key = f"/drone_orchestrator/{office.region}/filler/{number}".encode()
                raw(office.store).kv.Put(rpc.PutRequest(key=key, value=b"x" * 100_000), timeout=5.0)
        found = look(office)
        office.close()
    assert found["etcd space"].level == ERROR and "NOSPACE" in found["etcd space"].detail
    assert "alarm disarm" in found["etcd space"].hint
    assert found["etcd speed"].level == ERROR and "nothing can be written" in found["etcd speed"].detail


def test_a_slow_etcd_is_reported() -> None:
    with EtcdProcess() as slow:
        office = Office(slow)

        def held_up() -> float:
            """Return a commit during which etcd stands still, as with a busy disk."""
            slow.pause_member(0)
            threading.Timer(0.15, slow.resume_member, (0,)).start()
            return office.store.commit_time_s()

        office.store.commit_time_s()  # connected
        found = store.speed(held_up)
        office.close()
    assert found.level in (WARNING, ERROR) and "ms" in found.detail and "fsync" in found.hint


def test_an_etcd_without_a_majority_or_unreachable_is_reported() -> None:
    with EtcdProcess(members=3) as three:
        office = Office(three)
        three.kill_member(0)
        assert look(office)["etcd"].level == WARNING  # still works, but not after another loss
        three.kill_member(1)
        found = look(office)["etcd"]
        office.close()
    assert found.level == ERROR and "no majority" in found.detail and found.hint
    target = Target("127.0.0.1:1", REGION, "", {})
    away = store.check_store(target, asked_for=True)[0]
    assert [f.level for f in away] == [ERROR] and away[0].hint
    assert [f.level for f in store.check_store(target, asked_for=False)[0]] == [WARNING]


def drone(name: str, phase: Phase = Phase.IDLE, epoch: int = 1) -> tuple[DroneReport, float]:
    return DroneReport(name, "courier", "j1", epoch, phase, GeoPoint(37.0, -122.0), 500.0), 0.1


def heard(
    office: Office, *drones: tuple[DroneReport, float], instance: str = "", region: str = ""
) -> dict[str, Finding]:
    view = FleetView.of(office.store.snapshot())
    words = Heard({report.drone_id: (report, age_s) for report, age_s in drones}, instance, region or office.region)
    return {f.name: f for f in check_dds(view, words, domain="7", region=office.region)}


def test_a_class_without_a_living_drone_is_a_warning(office: Office) -> None:
    office.lead()
    view = FleetView.of(office.store.snapshot())
    fleet = replace(fleet_config.load(), region=office.region)
    both = {"drone_1": drone("drone_1"), "drone_2": drone("drone_2")}
    both["drone_2"] = (replace(both["drone_2"][0], drone_class="heavy"), 0.1)

    def found(drones: dict[str, tuple[DroneReport, float]]) -> Finding:
        checks = check_dds(view, Heard(drones), domain="7", region=office.region, fleet=fleet)
        return next(each for each in checks if each.name == "drone classes")

    assert found(both).level == OK
    for missing in ({"drone_1": both["drone_1"]}, {**both, "drone_2": (both["drone_2"][0], 60.0)}):
        lacking = found(missing)
        assert lacking.level == WARNING and lacking.hint
        assert lacking.detail == "no drone of class heavy is heard: orders of more than 3 kg wait"


def test_the_drones_heard_are_compared_with_the_store(office: Office) -> None:
    office.lead()
    view = FleetView.of(office.store.snapshot())
    instance = view.leadership.instance_id  # type: ignore[union-attr]
    well = heard(office, drone("drone_1"), instance=instance)
    assert {f.level for f in well.values()} == {OK}, well
    nobody = heard(office)["dds"]
    assert nobody.level == ERROR and "no node is heard in domain 7" in nobody.detail and "ROS_DOMAIN_ID" in nobody.hint
    other = heard(office, drone("drone_1"), instance="another")["same fleet"]
    assert other.level == WARNING and other.hint
    assert heard(office, instance=instance, region="mars")["same fleet"].level == ERROR
    restored = heard(office, drone("drone_1", epoch=office.epoch + 1000), instance=instance)["epochs"]
    assert restored.level == ERROR and str(office.epoch + 1000) in restored.detail and "etcd_backup" in restored.hint
    office.accept(office.submit("ORD-1"), "drone_1")
    silent = heard(office, drone("drone_2"), instance=instance)["drones"]
    assert silent.level == ERROR and "drone_1" in silent.detail and silent.hint
    grounded = heard(office, drone("drone_1", Phase.GROUNDED), instance=instance)["drones"]
    assert grounded.level == WARNING and "--bring-back" in grounded.hint


def test_the_command_prints_all_findings_as_json(office: Office) -> None:
    done = office.fleetctl("doctor", "--json", "--listen", "0.1")
    assert done.returncode == 1  # there is no leader
    document = json.loads(done.stdout)
    assert document["healthy"] is False and done.stdout.count("\n") == 1
    for finding in document["findings"]:
        assert set(finding) == {"name", "level", "detail", "hint"}
        assert finding["hint"] or finding["level"] == OK
    names = [finding["name"] for finding in document["findings"]]
    assert len(set(names)) == len(names)


def test_every_check_is_explained(office: Office) -> None:
    names = {check().name for check in machine_checks([], 8080)} | set(look(office))
    names |= set(heard(office, instance="x", region="y"))
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"| `{name}` |" not in text] == []
