"""The lifecycle services of orchestrators and drones, as `ros2 lifecycle` and lifecycle managers use them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from lifecycle_msgs.msg import Transition
from node_process import NodeProcess, Operator

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.paths import default_fleet_config
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.runtime.drone_journal import DroneJournal
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

T = Transition
REGION = "san_francisco"


@pytest.fixture(scope="module")
def etcd() -> Iterator[str]:
    with EtcdProcess() as process:
        yield process.endpoints[0].removeprefix("http://")


def orchestrator(domain: int, etcd: str, name: str, **parameters: object) -> NodeProcess:
    return NodeProcess(domain, "orchestrator", "-r", f"__node:={name}", etcd_endpoints=f'"{etcd}"', **parameters)


def leader(etcd: str) -> str | None:
    store = EtcdStore([etcd], REGION)
    try:
        leads = FleetView.of(store.snapshot()).leadership
    finally:
        store.close()
    return leads.holder if leads is not None else None


def test_deactivating_the_leader_hands_over_and_activating_lets_it_campaign_again(
    domain: int, etcd: str, operator: Operator
) -> None:
    lease_s = 60.0
    with orchestrator(domain, etcd, "first", lease_ttl_s=lease_s) as first:
        first.wait_line("leading with epoch")
        assert operator.state("/first") == "active"
        with orchestrator(domain, etcd, "second", lease_ttl_s=lease_s) as second:
            second.wait_line("standing by")
            assert operator.state("/second") == "active"
            assert operator.change_state("/first", T.TRANSITION_DEACTIVATE)
            second.wait_line("leading with epoch", timeout_s=0.75 * lease_s)  # the lease has no part in it
            assert (operator.state("/first"), leader(etcd)) == ("inactive", "second")
            # The replica that resigned does not campaign, even without a leader, until it is activated.
            assert operator.change_state("/second", T.TRANSITION_DEACTIVATE)
            operator.wait("nobody leads", lambda: leader(etcd) is None)
            assert operator.change_state("/first", T.TRANSITION_ACTIVATE)
            first.wait_line("leading with epoch", times=2)
            # A standby is taken out of service and put back without a word from the leader.
            assert operator.change_state("/second", T.TRANSITION_ACTIVATE)
            assert operator.change_state("/second", T.TRANSITION_DEACTIVATE)
            assert (operator.state("/first"), leader(etcd)) == ("active", "first")
            assert (first.stop(), second.stop()) == (0, 0)
    assert leader(etcd) is None


def test_a_lifecycle_manager_brings_replicas_and_drones_up_and_down(
    domain: int, etcd: str, operator: Operator, tmp_path: Path
) -> None:
    """Play Nav2's lifecycle manager without bonds. After each transition it asks for the state, and gives up if the
    answer is no, or the state another one."""
    nodes = ("/managed_a", "/managed_b", "/drone_4")

    def change(transition: int, state: str, wanted: tuple[str, ...]) -> None:
        for name in wanted:
            assert operator.change_state(name, transition), f"{name} refused transition {transition}"
            assert operator.state(name) == state, name

    with (
        orchestrator(domain, etcd, "managed_a", autostart=False) as first,
        orchestrator(domain, etcd, "managed_b", autostart=False) as second,
        NodeProcess(domain, "drone_executor", drone_ids="[drone_4]", data_dir=tmp_path, autostart=False) as drones,
    ):
        change(T.TRANSITION_CONFIGURE, "inactive", nodes)
        operator.wait_status("managed_b: replica", lambda status: "not campaigning" in status.message)
        assert leader(etcd) is None
        change(T.TRANSITION_ACTIVATE, "active", nodes)
        operator.wait("a replica leads", lambda: leader(etcd))
        led, stands = (first, second) if leader(etcd) == "managed_a" else (second, first)
        led.wait_line("leading with epoch")
        stands.wait_line("standing by")
        assert [operator.state(name) for name in nodes] == ["active"] * 3
        down = tuple(reversed(nodes))
        change(T.TRANSITION_DEACTIVATE, "inactive", down)
        assert leader(etcd) is None
        change(T.TRANSITION_CLEANUP, "unconfigured", down)
        change(T.TRANSITION_UNCONFIGURED_SHUTDOWN, "finalized", down)
        assert (first.stop(), second.stop(), drones.stop()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("before", "transition"),
    [
        ("unconfigured", T.TRANSITION_UNCONFIGURED_SHUTDOWN),
        ("inactive", T.TRANSITION_INACTIVE_SHUTDOWN),
        ("active", T.TRANSITION_ACTIVE_SHUTDOWN),
    ],
)
def test_an_orchestrator_is_shut_down_in_any_state(
    domain: int, etcd: str, operator: Operator, before: str, transition: int
) -> None:
    name = f"shut_down_{before}"
    with orchestrator(domain, etcd, name, autostart=before != "unconfigured") as node:
        if before != "unconfigured":
            node.wait_line("leading with epoch")
            operator.wait_state(f"/{name}", "active")
        if before == "inactive":
            assert operator.change_state(f"/{name}", T.TRANSITION_DEACTIVATE)
        assert operator.state(f"/{name}") == before
        assert operator.change_state(f"/{name}", transition)
        assert operator.state(f"/{name}") == "finalized"
        assert leader(etcd) is None  # at once, not when the lease is over
        assert node.stop(signal.SIGTERM) == 0
        assert not any("Traceback" in line or "FATAL" in line for line in node.lines)


def test_an_orchestrator_that_cannot_be_configured_says_why_and_can_be_once_the_cause_is_gone(
    domain: int, etcd: str, operator: Operator, tmp_path: Path
) -> None:
    config = tmp_path / "fleet.yaml"
    with orchestrator(domain, etcd, "waiting", autostart=False, fleet_config=config) as node:
        assert operator.state("/waiting") == "unconfigured"
        for times in (1, 2):
            assert not operator.change_state("/waiting", T.TRANSITION_CONFIGURE)
            assert str(config) in node.wait_line("cannot configure", times)
            assert operator.state("/waiting") == "unconfigured"
        assert sum("fleet.yaml" in line for line in node.lines) == 2  # one line each
        config.write_text(default_fleet_config().read_text())
        assert operator.change_state("/waiting", T.TRANSITION_CONFIGURE)
        assert operator.change_state("/waiting", T.TRANSITION_ACTIVATE)
        node.wait_line("leading with epoch")
        # All the way down, and up again.
        assert operator.change_state("/waiting", T.TRANSITION_DEACTIVATE)
        assert operator.change_state("/waiting", T.TRANSITION_CLEANUP)
        assert operator.state("/waiting") == "unconfigured"
        assert operator.change_state("/waiting", T.TRANSITION_CONFIGURE)
        assert operator.change_state("/waiting", T.TRANSITION_ACTIVATE)
        node.wait_line("leading with epoch", times=2)
        assert node.stop() == 0


def test_a_drone_that_cannot_be_configured_says_why_and_can_be_once_the_cause_is_gone(
    domain: int, operator: Operator, tmp_path: Path
) -> None:
    (tmp_path / "drones").mkdir()
    held = DroneJournal.open(tmp_path / "drones" / "drone_1.journal")  # as if another process had it
    with NodeProcess(domain, "drone_executor", drone_ids="[drone_1]", data_dir=tmp_path, autostart=False) as node:
        assert not operator.change_state("/drone_1", T.TRANSITION_CONFIGURE)
        assert operator.state("/drone_1") == "unconfigured"
        node.wait_line("drone_1.journal")
        held.close()
        assert operator.change_state("/drone_1", T.TRANSITION_CONFIGURE)
        assert operator.change_state("/drone_1", T.TRANSITION_ACTIVATE)
        assert operator.state("/drone_1") == "active"
        assert operator.change_state("/drone_1", T.TRANSITION_ACTIVE_SHUTDOWN)
        assert operator.state("/drone_1") == "finalized"
        assert node.stop() == 0


def test_autostart_of_one_drone_leaves_drones_that_an_operator_took_out_alone(
    domain: int, operator: Operator, tmp_path: Path
) -> None:
    (tmp_path / "drones").mkdir()
    held = DroneJournal.open(tmp_path / "drones" / "drone_9.journal")
    ids = "[drone_7,drone_8,drone_9]"
    with NodeProcess(domain, "drone_executor", drone_ids=ids, data_dir=tmp_path) as node:
        operator.wait_state("/drone_7", "active")
        assert operator.change_state("/drone_7", T.TRANSITION_DEACTIVATE)
        assert operator.change_state("/drone_8", T.TRANSITION_ACTIVE_SHUTDOWN)
        tries = sum("drone_9.journal" in line for line in node.lines)
        node.wait_line("drone_9.journal", tries + 2)  # autostart goes on for this one
        held.close()
        operator.wait_state("/drone_9", "active")
        assert (operator.state("/drone_7"), operator.state("/drone_8")) == ("inactive", "finalized")
        assert node.stop() == 0
    assert os.path.exists(tmp_path / "drones" / "drone_9.journal")
