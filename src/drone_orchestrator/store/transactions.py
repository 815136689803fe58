"""Translates changes into compares, puts and deletes. Pure, and the same for etcd and for memory.

A group of changes becomes one fenced transaction: it requires that the leader key's mod revision is that of the epoch
and that every compare of every change holds. If it fails, the compared keys show which change is to blame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..core.changes import (
    Change,
    Consume,
    Discard,
    Fate,
    Release,
    ReservationChange,
    Reserve,
    Retirement,
    Transition,
    WriteNote,
)
from ..core.types import Kind, Reservation, Saga, Value
from ..ports import CommitResult
from .codec import encode
from .keys import Keys, range_end
from .kv import Delete, Expect, KeyValue, Op, Put, Reading

#: etcd's default limit per transaction, for compares, success and failure operations each.
MAX_OPERATIONS = 128
#: Maximum orders per intake transaction: each has three compares, and there is room for a fence.
SUBMITTED_TOGETHER = (MAX_OPERATIONS - 1) // 3


class Written(NamedTuple):
    """A record as written. A reader that sees the same bytes can skip decoding."""

    put: Put
    kind: Kind
    id: str
    value: Value


@dataclass(frozen=True, slots=True)
class Plan:
    """One change as operations. ``proof`` is the operation that shows whether the change happened: the last event of a
    step, which no other writer can have put, a deleted key of a discard or retirement, or a note. ``written``: records
    for views."""

    expects: tuple[Expect, ...]
    ops: tuple[Op, ...]
    proof: Op
    written: tuple[Written, ...] = ()

    @property
    def keys(self) -> set[str]:
        """All keys that are compared or changed."""
        keys = {expect.key for expect in self.expects}
        keys.update([op.key for op in self.ops])
        return keys

    def conflicts_with(self, found: Mapping[str, KeyValue]) -> bool:
        """Return whether a compare of this plan fails for the keys in ``found``."""
        return any(_mod_revision(found, e.key) != e.mod_revision for e in self.expects)


def plan(change: Change, keys: Keys, lease: int = 0) -> Plan:
    """Return the operations of one change; a ``Reserve`` uses ``lease``. Raises ``ValueError`` without a proof."""
    if isinstance(change, Discard):
        if not change.consume:
            raise ValueError(f"discard for {change.message_id} must name at least one key")
        expects, deletes = _consumption(change.consume, keys)
        if change.unknown:
            absent = (keys.inbox_order(change.message_id), keys.saga(change.message_id))
            expects += tuple(Expect(key, 0) for key in absent)
        return Plan(expects, deletes, deletes[-1])
    if isinstance(change, Retirement):
        return _plan_retirement(change, keys)
    if isinstance(change, WriteNote):
        note = Put(keys.of(Kind.NOTE, change.id), encode(change.note))
        return Plan((Expect(note.key, change.revision),), (note,), note)
    return _plan_transition(change, keys, lease)


def _plan_transition(transition: Transition, keys: Keys, lease: int) -> Plan:
    if not transition.events:
        raise ValueError(f"transition of {transition.saga.message_id} must have an event, to prove that it happened")
    saga = transition.saga
    saga_put = Put(keys.saga(saga.message_id), encode(saga))
    events = [Put(keys.event(e.message_id, e.n), encode(e)) for e in transition.events]
    expects = [Expect(saga_put.key, transition.expected_revision)]
    expects += [Expect(event.key, 0) for event in events]
    ops: list[Op] = [saga_put, *events]
    written = [Written(saga_put, Kind.SAGA, saga.message_id, saga)]
    if transition.reservation is not None:
        _plan_reservation(transition.reservation, saga, keys, lease, expects, ops, written)
    if transition.breaker is not None:
        breaker, revision = transition.breaker.breaker, transition.breaker.revision
        key = keys.of(Kind.BREAKER, breaker.drone_id)
        expects.append(Expect(key, revision))
        ops.append(Put(key, encode(breaker)))
    compares, deletes = _consumption(transition.consume, keys)
    expects += compares
    ops += deletes
    if len(expects) >= MAX_OPERATIONS:
        raise ValueError(f"transition of {saga.message_id} has too many compares for a transaction: {len(expects)}")
    return Plan(tuple(expects), tuple(ops), events[-1], tuple(written))


def _plan_retirement(retirement: Retirement, keys: Keys) -> Plan:
    """Return the deletion of saga, index and all events. The events are one range; a finished saga gets no more."""
    saga = Delete(keys.saga(retirement.message_id))
    events = keys.events_of(retirement.message_id)
    compares, deletes = _consumption(retirement.consume, keys)
    ops = (saga, Delete(events, range_end(events)), Delete(keys.order_index(retirement.order_id)), *deletes)
    return Plan((Expect(saga.key, retirement.saga_revision), *compares), ops, saga)


def _consumption(consume: tuple[Consume, ...], keys: Keys) -> tuple[tuple[Expect, ...], tuple[Delete, ...]]:
    named = [(keys.of(entry.kind, entry.id), entry.revision) for entry in consume]
    return tuple(Expect(key, revision) for key, revision in named), tuple(Delete(key) for key, _ in named)


def _plan_reservation(
    change: ReservationChange,
    saga: Saga,
    keys: Keys,
    lease: int,
    expects: list[Expect],
    ops: list[Op],
    written: list[Written],
) -> None:
    key = keys.assignment(change.drone_id)
    if isinstance(change, Release):
        expects.append(Expect(key, change.revision))
        if change.revision:
            ops.append(Delete(key))
        return
    reserves = isinstance(change, Reserve)
    unknown = "" if isinstance(change, Reserve) else change.unknown
    value = Reservation(change.drone_id, saga.message_id, saga.attempt, saga.epoch, reserves, unknown)
    put = Put(key, encode(value), lease if reserves else 0)
    expects.append(Expect(key, 0 if isinstance(change, Reserve) else change.revision))
    ops.append(put)
    written.append(Written(put, Kind.ASSIGNMENT, change.drone_id, value))


def grouped(plans: Sequence[Plan], limit: int = MAX_OPERATIONS) -> list[list[int]]:
    """Return indices of ``plans`` in consecutive groups that fit ``limit`` and in which no key occurs twice.

    The order is kept: of two changes to the same key, the first is committed first.
    """
    groups: list[list[int]] = []
    used: set[str] = set()
    compares = changes = 0
    for index, item in enumerate(plans):
        keys = item.keys
        full = compares + len(item.expects) > limit or changes + len(item.ops) > limit
        if not groups or full or not used.isdisjoint(keys):
            groups.append([])
            used = set()
            compares, changes = 1, 0  # one compare for the fence
        groups[-1].append(index)
        used |= keys
        compares += len(item.expects)
        changes += len(item.ops)
    return groups


def fate_by_reading(item: Plan, reading: Reading, leader_key: str, fence: int) -> CommitResult:
    """Return the fate of an unanswered plan, from its proof and the fence read afterwards.

    If the proof is missing and the fence still holds, the fate is *unknown*: the request may still arrive. Once the
    fence has moved, the request can no longer succeed.
    """
    proof = reading.found.get(item.proof.key)
    if isinstance(item.proof, Delete):
        if proof is None:
            return CommitResult(Fate.SUCCEEDED, reading.revision)
    elif proof is not None and proof.value == item.proof.value:
        return CommitResult(Fate.SUCCEEDED, proof.mod_revision)
    if _mod_revision(reading.found, leader_key) != fence:
        return CommitResult(Fate.FENCED)
    if isinstance(item.proof, Put) and proof is not None:
        return CommitResult(Fate.CONFLICT)
    return CommitResult(Fate.UNKNOWN)


def _mod_revision(found: Mapping[str, KeyValue], key: str) -> int:
    entry = found.get(key)
    return entry.mod_revision if entry else 0
