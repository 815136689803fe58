"""The golden scripts: what the core does on each command, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest
import stage
import world

SCRIPTS = sorted((Path(__file__).resolve().parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_core_acts_as_scripted(script: Path, rewrite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = script.read_text(encoding="utf-8")
    played = stage.play(expected, lambda fleet: monkeypatch.setattr(world, "FLEET", fleet))
    if rewrite:
        script.write_text(played, encoding="utf-8")
    else:
        assert played == expected, f"{script.name}: if intended, run with --rewrite-golden and review the difference"
    assert "violations, inbox" in played, "a script ends with an audit"
    assert ", 0 violations, inbox 0" in played
