"""Histories recorded by earlier versions are read, folded and written back unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drone_orchestrator.core.saga import TRANSITIONS, fold
from drone_orchestrator.core.types import Corrupt, Entry, Kind, Saga, SagaEvent, StoreChange
from drone_orchestrator.store.codec import decode, encode
from drone_orchestrator.store.keys import Keys
from drone_orchestrator.verification.checker import check
from drone_orchestrator.verification.justified_end import JustifiedEnd
from drone_orchestrator.verification.park_with_cause import ParkWithCause

HISTORIES = sorted((Path(__file__).resolve().parent / "histories").glob("*.json"))


def changes_of(path: Path) -> list[StoreChange]:
    """Decode the file; each record must be written as exactly the bytes that were read."""
    document = json.loads(path.read_text(encoding="utf-8"))
    keys, changes = Keys(document["region"]), []
    for change in document["changes"]:
        entries = []
        for key, text, leased in change["keys"]:
            kind, id_ = keys.parse(key)
            value = None if text is None else decode(kind, id_, text.encode(), leased)
            assert not isinstance(value, Corrupt), f"{key}: {value}"
            assert value is None or encode(value) == text.encode(), f"{key} would now be written differently"
            entries.append(Entry(kind, id_, value, change["revision"]))
        changes.append(StoreChange(change["revision"], tuple(entries)))
    return changes


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_is_read_folded_and_written_back_unchanged(path: Path) -> None:
    changes = changes_of(path)
    events: dict[str, list[SagaEvent]] = {}
    for change in changes:
        for entry in change.entries:
            if isinstance(entry.value, SagaEvent):
                events.setdefault(entry.value.message_id, []).append(entry.value)
        for entry in change.entries:
            if isinstance(entry.value, Saga):
                assert fold(events[entry.id]) == entry.value
    assert check(changes, complete=True, judges=(JustifiedEnd(), ParkWithCause())).violations == ()


def test_the_recorded_histories_have_every_type_of_event_and_kind_of_key() -> None:
    entries = [entry for path in HISTORIES for change in changes_of(path) for entry in change.entries]
    assert {e.value.type for e in entries if isinstance(e.value, SagaEvent)} == {type_ for _, type_ in TRANSITIONS}
    assert {entry.kind for entry in entries} == set(Kind) - {Kind.OTHER, Kind.NOTE}
