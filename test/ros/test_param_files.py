"""``config/*.param.yaml``: a node with the packaged file has every default, whatever its name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context

from drone_orchestrator.bringup.local_fleet import DomainReservation
from drone_orchestrator.bringup.plan import FleetOptions, in_sections, processes
from drone_orchestrator.ros.params import declare

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).resolve().parents[2] / "config"
NODES = ("orchestrator", "drone_executor", "saga_monitor", "order_gateway")


@pytest.fixture
def context() -> Iterator[Context]:
    context, reservation = Context(), DomainReservation()
    rclpy.init(args=[], context=context, domain_id=reservation.domain)
    yield context
    rclpy.try_shutdown(context=context)
    reservation.release()


@pytest.mark.parametrize("name", NODES)
def test_the_packaged_file_has_every_default(name: str, context: Context) -> None:
    table = import_module(f"drone_orchestrator.nodes.{name}.parameters").PARAMETERS
    file = CONFIG / f"{name}.param.yaml"
    node = rclpy.create_node(
        name, context=context, namespace="north", cli_args=["--ros-args", "--params-file", str(file)]
    )
    try:
        given = set(node._parameter_overrides)
        values = declare(node, table)
    finally:
        node.destroy_node()
    assert values == {param.name: param.default for param in table}
    assert {param.name for param in table} - given <= {"etcd_endpoints", "drone_ids"}
    for param in table:
        assert f"{param.name}:" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("section", ["/**/order_gateway", "/north/order_gateway", "/**"])
def test_the_plan_overrides_a_file(section: str, context: Context, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    given = {"region": "elsewhere", "http_port": 1234}
    path.write_text(yaml.safe_dump({section: {"ros__parameters": given}}), encoding="utf-8")
    plan = FleetOptions(region="here", params_file=str(path), namespace="north")
    [spec] = [each for each in processes(plan) if each.role == "gateway"]
    node = rclpy.create_node("order_gateway", context=context, cli_args=spec.arguments())
    try:
        overrides = node._parameter_overrides
        assert (overrides["region"].value, overrides["http_port"].value) == ("here", 1234)
    finally:
        node.destroy_node()


@pytest.mark.parametrize("name", NODES)
def test_values_for_every_node_of_a_kind_are_found(name: str) -> None:
    document = yaml.safe_load((CONFIG / f"{name}.param.yaml").read_text(encoding="utf-8"))
    assert in_sections(str(CONFIG / f"{name}.param.yaml"), f"/**/{name}") == document[f"/**/{name}"]["ros__parameters"]
