"""What a run was like: heard from the store while it went on, judged from the store and the journals at its end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ...bringup.local_fleet import LocalFleet
from ...core.types import Entry, Kind, LeaderRecord, Saga, SagaEvent, SagaStatus, StoreChange
from ...core.view import CurrentLeader, FleetView
from ...runtime.projection import Projection
from ...store import EtcdStore
from ...verification.records import CheckReport
from ..audit import audit_store, read_journals
from ..output import Failure

T = TypeVar("T")

_LOAD_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that was injected; ``at`` by the wall clock, in s. ``leader``: it hit the leader of that moment."""

    at: float
    kind: str
    target: str
    hold_s: float
    leader: bool = False
    how: str = ""

    @property
    def is_final(self) -> bool:
        """Whether what was hit cannot go on by itself, so that a leader has to be replaced."""
        return self.kind in ("kill", "restart")


@dataclass
class RunRecord:
    """What happened when, as the store told it; times by this machine's wall clock, in s."""

    events: list[SagaEvent] = field(default_factory=list)
    leaders: list[tuple[float, str, int]] = field(default_factory=list)  # (seen at, holder, epoch)
    faults: list[Fault] = field(default_factory=list)
    assigned: list[tuple[float, int]] = field(default_factory=list)  # (seen at, epoch)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def hear(self, change: StoreChange) -> None:
        """A listener of the projection, on the store's thread."""
        now = time.time()
        with self.changed:
            for entry in change.entries:
                self._note(entry, now)
            self.changed.notify_all()

    def _note(self, entry: Entry, now: float) -> None:
        if isinstance(entry.value, SagaEvent):
            self.events.append(entry.value)
            if entry.value.type == "assigned":
                self.assigned.append((now, entry.value.epoch))
        elif entry.kind is Kind.LEADER and isinstance(entry.value, LeaderRecord):
            self.leaders.append((now, entry.value.holder, entry.mod_revision))

    def failovers(self, lease_ttl_s: float) -> list[dict[str, Any]]:
        """How long each leader that was hit was missed: to the next leader, and to that one's first assignment.

        A leader that was only hung or cut off may have kept its office: then the next one has another cause.
        """
        out: list[dict[str, Any]] = []
        for fault in self.faults:
            successor = next(((seen, epoch) for seen, _, epoch in self.leaders if seen > fault.at), None)
            if not fault.leader or successor is None:
                continue
            seen, epoch = successor
            if not fault.is_final and seen > fault.at + fault.hold_s + lease_ttl_s:
                continue
            first = next((t for t, e in self.assigned if e >= epoch), None)
            out.append(
                {
                    "kind": fault.kind,
                    "to_new_leader_s": round(seen - fault.at, 3),
                    "to_next_assignment_s": round(first - fault.at, 3) if first is not None else None,
                }
            )
        return out


class Observer:
    """Follows the store of a fleet on a connection of its own; a context manager."""

    def __init__(self, fleet: LocalFleet, record: RunRecord | None = None) -> None:
        self.record = record or RunRecord()
        self._fleet = fleet
        self._store = EtcdStore(fleet.options.etcd_endpoints.split(","), fleet.options.region)
        self._projection = Projection(self._store, listener=self.record.hear)

    def __enter__(self) -> Observer:
        self._projection.start()
        if not self._projection.wait_loaded(_LOAD_TIMEOUT_S):
            self.close()
            raise Failure(f"the store was not there within {_LOAD_TIMEOUT_S:.0f} s")
        # Whoever leads already is in the snapshot, and no change will tell of it.
        leader = self.leadership()
        with self.record.changed:
            if leader is not None and not self.record.leaders:
                self.record.leaders.append((time.time(), leader.holder, leader.epoch))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._projection.close()
        self._store.close()

    def look(self, select: Callable[[FleetView], T]) -> T:
        return self._projection.read(select)[0]

    def sagas(self) -> list[Saga]:
        return self.look(lambda view: [stored.value for stored in view.sagas.values()])

    def leader(self) -> str | None:
        """Return the name of the replica that leads now."""
        leader = self.leadership()
        return leader.holder if leader is not None else None

    def leadership(self) -> CurrentLeader | None:
        return self.look(lambda view: view.leadership)

    def counts(self) -> dict[SagaStatus, int]:
        """Return the number of orders by status."""
        return self.look(lambda view: view.counts())

    def ended(self) -> int:
        """How many orders have reached a terminal status."""
        return sum(n for status, n in self.counts().items() if status.is_terminal)

    def audit(self) -> tuple[CheckReport, list[str]]:
        """All invariants on the whole history, the run being over; and a line per journal that cannot be read."""
        journals, unreadable = read_journals(Path(self._fleet.options.data_dir))
        return audit_store(self._store, journals, complete=True), unreadable

    def figures(self, accepted: Mapping[str, str], report: CheckReport) -> dict[str, Any]:
        """What became of the orders that were accepted (order id to message id)."""
        sagas = self.sagas()
        counts = Counter(saga.status for saga in sagas)
        ended = {saga.message_id for saga in sagas if saga.status.is_terminal}
        delivered = Counter(event.message_id for event in self.record.events if event.type == "delivered")
        per_order = Counter(saga.order_id for saga in sagas)
        duplicates = sum(n - 1 for n in per_order.values()) + sum(n - 1 for n in delivered.values())
        return {
            "orders_submitted": len(accepted),
            "delivered": counts[SagaStatus.DELIVERED],
            "cancelled": counts[SagaStatus.CANCELLED],
            "failed": counts[SagaStatus.FAILED],
            "lost": sum(1 for message_id in accepted.values() if message_id not in ended),
            "duplicates": duplicates,
            "failovers": self.record.failovers(self._fleet.options.lease_ttl_s),
            "reassigned": sum(1 for saga in sagas if saga.attempt > 1),
            "invariants": report.invariants,
            "violations": [v.text for v in report.violations],
        }
