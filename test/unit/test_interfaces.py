"""Constants of the core equal those of the messages."""

from __future__ import annotations

from enum import IntEnum

import drone_interfaces.action
import drone_interfaces.msg
import drone_interfaces.srv
import pytest

from drone_orchestrator.core.lanes import Level
from drone_orchestrator.core.types import Outcome, Phase, Priority, Verdict


def constants(message: object, names: set[str]) -> dict[str, int]:
    return {name: getattr(message, name) for name in names}


@pytest.mark.parametrize(
    ("enum", "message"),
    [
        (Phase, "msg.DroneState"),
        (Phase, "action.ExecuteDelivery.Feedback"),
        (Outcome, "msg.DeliveryOutcome"),
        (Outcome, "action.ExecuteDelivery.Result"),
        (Verdict, "srv.RequestClearance.Response"),
        (Priority, "msg.Order"),
        (Level, "msg.BackPressure"),
    ],
)
def test_message_constants_equal_those_of_the_core(enum: type[IntEnum], message: str) -> None:
    found: object = drone_interfaces
    for part in message.split("."):
        found = getattr(found, part)
    assert constants(found, {member.name for member in enum}) == {member.name: int(member) for member in enum}
    assert found.UNSPECIFIED == 0  # type: ignore[attr-defined]
