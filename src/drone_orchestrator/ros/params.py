"""Declarations of parameters: type, default, unit, range, and whether they may change while the node runs.

A node has a table of :class:`Param`. :func:`declare` turns it into ROS parameters and returns their values. It rejects
unknown parameters, because a misspelt name would otherwise be ignored silently. :func:`keep_live` lets
``ros2 param set`` change those that are not read-only.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.logging import LoggingSeverity, get_logger_effective_level, set_logger_level
from rclpy.node import Node
from rclpy.parameter import Parameter

from .process import ConfigurationError

#: Shown instead of the value of a secret parameter.
SECRET = "(set, not shown)"

ParamValue = bool | int | float | str | Sequence[str]

_TYPES: tuple[tuple[type, Parameter.Type], ...] = (
    (bool, Parameter.Type.BOOL),
    (int, Parameter.Type.INTEGER),
    (float, Parameter.Type.DOUBLE),
    (str, Parameter.Type.STRING),
    (tuple, Parameter.Type.STRING_ARRAY),
)
#: Parameters of ROS itself, which no node declares.
_ROS_OWN = ("use_sim_time", "start_type_description_service")
_ROS_OWN_PREFIX = "qos_overrides."


class ParameterError(ConfigurationError):
    """A parameter is unknown, of a wrong type, or out of its range."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. Its type is that of ``default`` (``bool``, ``int``, ``float``, ``str``, ``tuple`` of ``str``).

    ``text`` is what a user reads: sentences, without the unit. ``lo`` and ``hi`` are the bounds, both included.
    A parameter that is not ``read_only`` is live: the node must apply changes, see :func:`keep_live`. The value of a
    ``secret`` one is not shown to other programs: everybody in the DDS domain can read a node's parameters.
    """

    name: str
    default: ParamValue
    text: str
    _: KW_ONLY
    unit: str = ""
    lo: float | None = None
    hi: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = True
    secret: bool = False

    @property
    def ros_type(self) -> Parameter.Type:
        return next(ros for python, ros in _TYPES if isinstance(self.default, python))

    def descriptor(self) -> ParameterDescriptor:
        """Return the descriptor that ``ros2 param describe`` shows."""
        text = f"{self.text.removesuffix('.')} [{self.unit}]." if self.unit else self.text
        described = ParameterDescriptor(name=self.name, description=text, read_only=self.read_only)
        if self.choices:
            described.additional_constraints = "one of: " + ", ".join(self.choices)
        if self.lo is not None or self.hi is not None:
            if self.ros_type is Parameter.Type.INTEGER:
                low = -(2**63) if self.lo is None else int(self.lo)
                high = 2**63 - 1 if self.hi is None else int(self.hi)
                described.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
            else:
                low_f = -sys.float_info.max if self.lo is None else float(self.lo)
                high_f = sys.float_info.max if self.hi is None else float(self.hi)
                described.floating_point_range = [FloatingPointRange(from_value=low_f, to_value=high_f, step=0.0)]
        return described

    def check(self, value: Any) -> None:
        """Raise :class:`ParameterError` if ``value`` is out of range."""
        if isinstance(value, tuple):
            return
        too_low = self.lo is not None and value < self.lo
        too_high = self.hi is not None and value > self.hi
        if too_low or too_high or (isinstance(value, float) and math.isnan(value)):
            low = "" if self.lo is None else f"{self.lo:g} "
            high = "" if self.hi is None else f" {self.hi:g}"
            unit = f" {self.unit}" if self.unit else ""
            raise ParameterError(f"parameter {self.name}: must be in {low}..{high}{unit}, got {value}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {self.name}: must be one of {', '.join(self.choices)}, got {value!r}")


#: Part of every table.
LOG_LEVEL = Param(
    "log_level",
    "default",
    "Least severe level that is logged. default: the level of --log-level.",
    choices=("default", "debug", "info", "warn", "error", "fatal"),
    read_only=False,
)


def declare(node: Node, table: Iterable[Param]) -> dict[str, Any]:
    """Declare every parameter of ``table`` on ``node``, and return the values by name.

    A ``float`` parameter also accepts a whole number. String arrays are returned as tuples. Raises
    :class:`ParameterError` for an unknown parameter, a wrong type or a value out of range.
    """
    params = {param.name: param for param in table}
    _refuse_unknown(node, params, node._parameter_overrides)
    return declare_shared(node, params.values(), {name: param.default for name, param in params.items()})


def declare_shared(node: Node, table: Iterable[Param], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Do the same as :func:`declare` for a node that has ``defaults`` from elsewhere, and accept unknown parameters.

    A node that shares its process also gets the parameters that the command line gives to the others.
    """
    overrides: dict[str, Parameter] = node._parameter_overrides
    values: dict[str, Any] = {}
    for param in table:
        override = overrides.get(param.name)
        value = defaults[param.name] if override is None else _typed(param, override)
        param.check(value)
        if value == ():
            overrides.pop(param.name, None)  # rclpy reads [] as an array of bytes, so "not set" stands for empty
        else:
            initial = list(value) if isinstance(value, tuple) else SECRET if param.secret and value else value
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
        return ()  # ROS reads [] as an array of bytes
    wanted = param.ros_type.name.lower().replace("_", " ")
    raise ParameterError(f"parameter {param.name}: must be of type {wanted}, got {value!r}")


def _refuse_unknown(node: Node, params: dict[str, Param], overrides: dict[str, Parameter]) -> None:
    for name in sorted(overrides):
        known = name in params or node.has_parameter(name) or name in _ROS_OWN or name.startswith(_ROS_OWN_PREFIX)
        if known:
            continue
        nearest = difflib.get_close_matches(name, [*params, *_ROS_OWN], n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(sorted(params))}"
        raise ParameterError(f"parameter {name}: unknown to {node.get_name()}{hint}")


Check = Callable[[Mapping[str, Any]], object]  # its return value is ignored


def keep_live(
    node: Node,
    table: Iterable[Param],
    values: dict[str, Any],
    *,
    check: Check = lambda values: None,
    apply: Check = lambda values: None,
) -> None:
    """Let users change the live parameters of ``table``, and update ``values`` (of :func:`declare`) with them.

    ``check`` receives all values as they would become. If they contradict each other, it raises ``ValueError`` or
    :class:`ConfigurationError` with a one-line reason; then nothing changes, and the service returns the reason.
    ``apply`` receives the values after they are set and must not fail. ``log_level`` is applied here, to the node's
    logger.
    """
    params = {param.name: param for param in table}
    logger = node.get_logger().name
    at_start = get_logger_effective_level(logger)

    def to_float(changes: list[Parameter]) -> list[Parameter]:
        """Convert whole numbers for ``float`` parameters, as :func:`declare` does."""
        return [_as_float(each) if _is_float(params, each) else each for each in changes]

    def judge(changes: list[Parameter]) -> SetParametersResult:
        fresh = _known(params, changes)
        try:
            for name, value in fresh.items():
                params[name].check(value)
            check({**values, **fresh})
        except (ValueError, ConfigurationError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def take_in(changes: list[Parameter]) -> None:
        fresh = _known(params, changes)
        if not fresh:
            return  # e.g. a QoS override, declared with its topic
        values.update(fresh)
        told = ", ".join(f"{name} = {value}" for name, value in fresh.items())
        node.get_logger().info(f"parameters set: {told}")
        if LOG_LEVEL.name in fresh:
            _set_level(logger, at_start, fresh[LOG_LEVEL.name])
        apply(values)

    if LOG_LEVEL.name in params:
        _set_level(logger, at_start, values[LOG_LEVEL.name])
    node.add_pre_set_parameters_callback(to_float)
    node.add_on_set_parameters_callback(judge)
    node.add_post_set_parameters_callback(take_in)


def _known(params: Mapping[str, Param], changes: Iterable[Parameter]) -> dict[str, Any]:
    fresh = {each.name: each.value for each in changes if each.name in params}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fresh.items()}


def _is_float(params: Mapping[str, Param], change: Parameter) -> bool:
    param = params.get(change.name)
    return param is not None and param.ros_type is Parameter.Type.DOUBLE and change.type_ is Parameter.Type.INTEGER


def _as_float(change: Parameter) -> Parameter:
    return Parameter(change.name, Parameter.Type.DOUBLE, float(change.value))


def _set_level(logger: str, at_start: int, level: str) -> None:
    set_logger_level(logger, LoggingSeverity(at_start) if level == "default" else LoggingSeverity[level.upper()])
