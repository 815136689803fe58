"""Senders of other fleets: counted, named, and forgotten once they are silent."""

from __future__ import annotations

import pytest

from drone_orchestrator.telemetry.metrics import Metrics
from drone_orchestrator.telemetry.strangers import FORGOTTEN_AFTER_S, MOST_SENDERS, Strangers, is_foreign


class Hall:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.metrics = Metrics("drone_executor", "here")
        self.strangers = Strangers(self.metrics, lambda: self.now_s)

    def hear(self, sender: str = "leader a", fleet_id: str = "theirs") -> None:
        self.strangers.hear(sender, fleet_id, "fleet ours", topic="leader")


@pytest.mark.parametrize(
    ("fleet_id", "own", "foreign"),
    [("a", "a", False), ("a", "b", True), ("", "b", False), ("a", "", False), ("", "", False)],
)
def test_only_two_known_fleets_that_differ_are_foreign(fleet_id: str, own: str, foreign: bool) -> None:
    assert is_foreign(fleet_id, own) is foreign


def test_both_fleets_are_named() -> None:
    hall = Hall()
    assert hall.strangers.found() == {}
    for sender in ("leader a", "drone d1", "leader a"):
        hall.hear(sender)
    hall.hear(fleet_id="")
    found = hall.strangers.found()
    assert set(found) == {"theirs", "without id"}
    assert all(word in found["theirs"] for word in ("leader a", "drone d1", "theirs", "ours"))
    assert 'foreign_messages_total{agent_type="drone_executor",region="here",topic="leader"} 4.0' in (
        hall.metrics.render().decode()
    )


def test_a_silent_stranger_is_forgotten() -> None:
    hall = Hall()
    hall.hear()
    hall.now_s = FORGOTTEN_AFTER_S
    assert hall.strangers.found()
    hall.now_s += 0.1
    assert not hall.strangers.found()


def test_memory_and_text_are_bounded() -> None:
    hall = Hall()
    for number in range(MOST_SENDERS + 5):
        hall.hear(f"drone d{number}")
    assert f"and {MOST_SENDERS - 20} more" in hall.strangers.found()["theirs"]
