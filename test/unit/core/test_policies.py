"""Settings of the core that several programs read have one definition each."""

from __future__ import annotations

import re
from pathlib import Path

from drone_orchestrator.core.policies import DRONE_SILENT_S, STATE_PERIOD_S, DispatchPolicy
from drone_orchestrator.nodes.drone_executor.parameters import PARAMETERS

ROOT = Path(__file__).parents[3]


def test_a_drone_may_miss_two_messages_before_it_is_silent() -> None:
    period = next(param for param in PARAMETERS if param.name == "state_period_s")
    assert period.default == STATE_PERIOD_S
    assert 2 * STATE_PERIOD_S < DRONE_SILENT_S
    assert period.hi is not None and period.hi < DRONE_SILENT_S, "a drone could be silent between two messages"


def test_the_leader_and_the_dashboard_use_the_same_silence() -> None:
    assert DispatchPolicy().drone_silent_s == DRONE_SILENT_S
    source = (ROOT / "frontend" / "src" / "map" / "picture.js").read_text(encoding="utf-8")
    shown = re.search(r"DRONE_SILENT_S = ([0-9.]+);", source)
    assert shown is not None and float(shown.group(1)) == DRONE_SILENT_S


def test_the_silence_of_a_drone_has_one_definition() -> None:
    others = re.compile(r"^[A-Z_]*SILENT_(AFTER_)?S\b.*=.*\d", re.MULTILINE)
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in sorted((ROOT / "src" / "drone_orchestrator").rglob("*.py"))
        for match in others.finditer(path.read_text(encoding="utf-8"))
        if path.name != "policies.py"
    }
    assert found == {"src/drone_orchestrator/simulation/replica.py": "SILENT_S = 2.5"}, "that one is of the leader"
