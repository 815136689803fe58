"""Parameter declarations: the form of their texts, and the parameters that nodes share."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

pytest.importorskip("rclpy")
from drone_orchestrator.ros import common_parameters
from drone_orchestrator.ros.params import Param, ParameterError

NODES = ("orchestrator", "drone_executor", "saga_monitor", "order_gateway")
SENTENCE = re.compile(r"[A-Z0-9].*\.", re.DOTALL)


def table(node: str) -> tuple[Param, ...]:
    parameters: tuple[Param, ...] = import_module(f"drone_orchestrator.nodes.{node}.parameters").PARAMETERS
    return parameters


@pytest.mark.parametrize("node", NODES)
def test_the_text_of_a_parameter_is_a_sentence(node: str) -> None:
    for param in table(node):
        assert SENTENCE.fullmatch(param.text), param


@pytest.mark.parametrize("node", NODES)
def test_a_parameter_whose_name_has_a_unit_declares_it(node: str) -> None:
    for param in table(node):
        if param.name.endswith("_s") and not param.name.endswith("_per_s"):
            assert param.unit == "s", param


@pytest.mark.parametrize("node", ["orchestrator", "saga_monitor", "order_gateway"])
@pytest.mark.parametrize("name", ["REGION", "ETCD_ENDPOINTS", "FLEET_CONFIG", "PLANNER"])
def test_nodes_share_the_declaration_of_a_common_parameter(node: str, name: str) -> None:
    assert getattr(common_parameters, name) in table(node)


def test_the_description_ends_with_the_unit_in_brackets() -> None:
    assert Param("a", 0.5, "Time.", unit="s").descriptor().description == "Time [s]."
    assert Param("a", 0.5, "Factor.").descriptor().description == "Factor."


def test_a_bound_is_part_of_the_range() -> None:
    param = Param("a", 0.5, "Time.", unit="s", lo=0.1, hi=30.0)
    for value in (0.1, 30.0):
        param.check(value)
    for value in (0.09, 30.1, float("nan")):
        with pytest.raises(ParameterError, match=r"parameter a: must be in 0\.1 \.\. 30 s, got"):
            param.check(value)
