"""Parameters declared once, with type, default, unit and range.

A node keeps a table of :class:`Param`; :func:`declare` turns it into ROS parameters and gives their values. A parameter
that no table knows is refused: a misspelt name would otherwise be ignored in silence.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from .process import ConfigurationError

ParamValue = bool | int | float | str | Sequence[str]

_TYPES: tuple[tuple[type, Parameter.Type], ...] = (
    (bool, Parameter.Type.BOOL),
    (int, Parameter.Type.INTEGER),
    (float, Parameter.Type.DOUBLE),
    (str, Parameter.Type.STRING),
    (tuple, Parameter.Type.STRING_ARRAY),
)
#: Parameters that ROS itself understands; they are no node's own.
_ROS_OWN = ("use_sim_time", "start_type_description_service")
_ROS_OWN_PREFIX = "qos_overrides."


class ParameterError(ConfigurationError):
    """A parameter is unknown, of a wrong type, or out of its range."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. Its type is that of ``default`` (``bool``, ``int``, ``float``, ``str``, ``tuple`` of ``str``)."""

    name: str
    default: ParamValue
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = True

    @property
    def ros_type(self) -> Parameter.Type:
        return next(ros for python, ros in _TYPES if isinstance(self.default, python))

    def descriptor(self) -> ParameterDescriptor:
        """What ``ros2 param describe`` shows."""
        text = f"{self.description} [{self.unit}]" if self.unit else self.description
        described = ParameterDescriptor(name=self.name, description=text, read_only=self.read_only)
        if self.choices:
            described.additional_constraints = "one of: " + ", ".join(self.choices)
        if self.minimum is not None or self.maximum is not None:
            if self.ros_type is Parameter.Type.INTEGER:
                low = -(2**63) if self.minimum is None else int(self.minimum)
                high = 2**63 - 1 if self.maximum is None else int(self.maximum)
                described.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
            else:
                low_f = -sys.float_info.max if self.minimum is None else float(self.minimum)
                high_f = sys.float_info.max if self.maximum is None else float(self.maximum)
                described.floating_point_range = [FloatingPointRange(from_value=low_f, to_value=high_f, step=0.0)]
        return described

    def check(self, value: Any) -> None:
        """Raises :class:`ParameterError` where ``value`` is out of range."""
        if isinstance(value, tuple):
            return
        too_low = self.minimum is not None and value < self.minimum
        too_high = self.maximum is not None and value > self.maximum
        if too_low or too_high or (isinstance(value, float) and math.isnan(value)):
            low = "" if self.minimum is None else f"{self.minimum:g} "
            high = "" if self.maximum is None else f" {self.maximum:g}"
            unit = f" {self.unit}" if self.unit else ""
            raise ParameterError(f"parameter {self.name}: {value} is not in {low}..{high}{unit}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {self.name}: {value!r} is not one of {', '.join(self.choices)}")


def declare(node: Node, table: Iterable[Param]) -> dict[str, Any]:
    """Declare every parameter of ``table`` on ``node``; their values by name.

    A whole number is taken for a ``float`` parameter; string arrays come back as tuples. Raises
    :class:`ParameterError` for an unknown parameter, a wrong type or a value out of range.
    """
    params = {param.name: param for param in table}
    overrides: dict[str, Parameter] = node._parameter_overrides
    _refuse_unknown(node, params, overrides)
    values: dict[str, Any] = {}
    for param in params.values():
        override = overrides.get(param.name)
        value = param.default if override is None else _typed(param, override)
        param.check(value)
        if value == ():
            overrides.pop(param.name, None)  # rclpy takes an empty list for an array of bytes; not set means empty
        else:
            initial = list(value) if isinstance(value, tuple) else value
            overrides[param.name] = Parameter(param.name, param.ros_type, initial)
        node.declare_parameter(param.name, param.ros_type, param.descriptor())
        values[param.name] = value
    return values


def _typed(param: Param, override: Parameter) -> Any:
    value = override.value
    if param.ros_type is Parameter.Type.DOUBLE and override.type_ is Parameter.Type.INTEGER:
        return float(value)
    if override.type_ is param.ros_type:
        return tuple(value) if isinstance(value, list) else value
    if param.ros_type is Parameter.Type.STRING_ARRAY and override.type_ is Parameter.Type.NOT_SET:
        return ()  # how ROS reads []
    wanted = param.ros_type.name.lower().replace("_", " ")
    raise ParameterError(f"parameter {param.name}: {value!r} is not of type {wanted}")


def _refuse_unknown(node: Node, params: dict[str, Param], overrides: dict[str, Parameter]) -> None:
    for name in sorted(overrides):
        known = name in params or node.has_parameter(name) or name in _ROS_OWN or name.startswith(_ROS_OWN_PREFIX)
        if known:
            continue
        nearest = difflib.get_close_matches(name, [*params, *_ROS_OWN], n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(sorted(params))}"
        raise ParameterError(f"parameter {name}: unknown to {node.get_name()}{hint}")
