"""`ros2 param set` on running nodes: live parameters take effect, others are refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")
from node_process import NodeProcess, Operator
from rcl_interfaces.msg import ParameterDescriptor

from drone_orchestrator.bringup.local_fleet import free_port

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def orchestrator(domain: int) -> Iterator[NodeProcess]:
    # Parameters need no store.
    with NodeProcess(domain, "orchestrator", etcd_endpoints=f"127.0.0.1:{free_port()}") as node:
        node.wait_line("could not follow the store")
        yield node


@pytest.mark.parametrize(
    ("name", "value"),
    [("lost_grace_s", 900.0), ("lost_grace_s", 900), ("max_attempts", 3), ("retention_s", 60.0), ("log_level", "warn")],
)
def test_a_live_parameter_is_set(operator: Operator, orchestrator: NodeProcess, name: str, value: Any) -> None:
    assert operator.set_parameter("/orchestrator", name, value) == ""
    assert operator.get_parameter("/orchestrator", name) == value
    if name == "log_level":
        assert operator.set_parameter("/orchestrator", name, "default") == ""
    orchestrator.wait_line(f"{name} = {float(value) if name.endswith('_s') else value}")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("max_attempts", 0, "max_attempts"),
        ("lost_grace_s", -1.0, "lost_grace_s"),
        ("lost_grace_s", "long", "type"),
        ("log_level", "loud", "must be one of"),
        ("lease_ttl_s", 9.0, "read-only"),
        ("no_such_thing", 1, "undeclared"),
    ],
)
def test_an_invalid_value_is_refused_with_a_reason_and_changes_nothing(
    operator: Operator, orchestrator: NodeProcess, name: str, value: Any, why: str
) -> None:
    before = None if name == "no_such_thing" else operator.get_parameter("/orchestrator", name)
    reason = operator.set_parameter("/orchestrator", name, value)
    assert why in reason and "\n" not in reason
    if before is not None:
        assert operator.get_parameter("/orchestrator", name) == before


def test_every_parameter_describes_itself(operator: Operator, orchestrator: NodeProcess) -> None:
    from drone_orchestrator.nodes.orchestrator.parameters import PARAMETERS

    found: list[ParameterDescriptor] = operator.describe("/orchestrator", [each.name for each in PARAMETERS])
    for param, described in zip(PARAMETERS, found, strict=True):
        assert param.text.removesuffix(".") in described.description
        assert described.read_only == param.read_only
    assert any(not each.read_only for each in found)


def test_the_drones_of_a_process_take_up_new_periods(domain: int, operator: Operator, tmp_path: Any) -> None:
    with NodeProcess(domain, "drone_executor", drone_ids="[drone_1,drone_2]", data_dir=tmp_path) as node:
        assert operator.set_parameter("/drone_executor", "state_period_s", 0.05) == ""
        assert "telemetry_rate_hz" in operator.set_parameter("/drone_executor", "telemetry_rate_hz", 1.0)
        assert operator.hears_states("drone_2", at_least=20, within_s=90.0)
        assert node.stop() == 0


def test_each_drone_answers_for_its_own_parameters(domain: int, operator: Operator, tmp_path: Any) -> None:
    with NodeProcess(domain, "drone_executor", drone_ids="[drone_1,drone_2]", data_dir=tmp_path) as node:
        assert operator.set_parameter("/drone_1", "state_period_s", 0.05) == ""
        assert "telemetry_rate_hz" in operator.set_parameter("/drone_1", "telemetry_rate_hz", 1.0)
        assert operator.hears_states("drone_1", at_least=20, within_s=90.0)
        assert operator.get_parameter("/drone_2", "state_period_s") == 1.0
        # What is set on the executor goes to all of its drones, and takes nothing else along.
        assert operator.set_parameter("/drone_executor", "clearance_retry_s", 0.7) == ""
        assert [operator.get_parameter(f"/{name}", "clearance_retry_s") for name in ("drone_1", "drone_2")] == [0.7] * 2
        assert operator.get_parameter("/drone_1", "state_period_s") == 0.05
        assert node.stop() == 0


@pytest.mark.parametrize(
    ("choice", "drones", "offered"),
    [("auto", 10, True), ("auto", 11, False), ("never", 1, False), ("always", 200, True)],
)
def test_the_drones_of_a_large_process_offer_no_parameter_services(choice: str, drones: int, offered: bool) -> None:
    from drone_orchestrator.nodes.drone_executor.parameters import offers_services

    assert offers_services(choice, drones) is offered


def test_a_section_of_a_file_sets_a_single_drone(domain: int, operator: Operator, tmp_path: Any) -> None:
    file = tmp_path / "fleet.param.yaml"
    file.write_text("drone_2:\n  ros__parameters:\n    state_period_s: 0.5\n")
    with NodeProcess(
        domain, "drone_executor", "--params-file", str(file), drone_ids="[drone_1,drone_2]", data_dir=tmp_path
    ) as node:
        found = [operator.get_parameter(f"/{name}", "state_period_s") for name in ("drone_1", "drone_2")]
        assert found == [1.0, 0.5]
        assert node.stop() == 0
