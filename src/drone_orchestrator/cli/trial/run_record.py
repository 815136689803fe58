"""Record of a run from the store's watch, checked against store and journals at its end."""

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
from ...core.view import CurrentLeader, FleetView, epoch_in
from ...runtime.projection import Projection
from ...store import EtcdStore
from ...verification.records import CheckReport
from ..audit import audit_store, read_journals
from ..output import Failure

T = TypeVar("T")

_LOAD_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Injected fault; ``at`` by the wall clock (s). ``leader``: it hit the leader at that time."""

    at: float
    kind: str
    target: str
    hold_s: float
    leader: bool = False
    how: str = ""

    @property
    def is_final(self) -> bool:
        """Return True if the target cannot continue by itself, so that a leader has to be replaced."""
        return self.kind in ("kill", "restart")


@dataclass
class RunRecord:
    """Events of a run as reported by the store; times by this machine's wall clock (s)."""

    events: list[SagaEvent] = field(default_factory=list)
    leaders: list[tuple[float, str, int]] = field(default_factory=list)  # (seen at, holder, epoch)
    faults: list[Fault] = field(default_factory=list)
    assigned: list[tuple[float, int]] = field(default_factory=list)  # (seen at, epoch)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def hear(self, change: StoreChange) -> None:
        """Record a change. Called by the projection on the store's thread."""
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
            self.leaders.append((now, entry.value.holder, epoch_in(entry)))

    def failovers(self, lease_ttl_s: float) -> list[dict[str, Any]]:
        """Return, for each leader that was hit, the times to the next leader and to its first assignment (s).

        A leader that was only hung or cut off may have stayed leader; then the next change has another cause.
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
    """Follower of a fleet's store on its own connection; a context manager."""

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
        # The current leader is in the snapshot; no change will report it.
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
        """Return the number of orders in a terminal status."""
        return sum(n for status, n in self.counts().items() if status.is_terminal)

    def audit(self) -> tuple[CheckReport, list[str]]:
        """Check all invariants on the whole history of the finished run. Also return a line per unreadable journal."""
        journals, unreadable = read_journals(Path(self._fleet.options.data_dir))
        return audit_store(self._store, journals, complete=True), unreadable

    def figures(self, accepted: Mapping[str, str], report: CheckReport) -> dict[str, Any]:
        """Return the figures of the accepted orders (order id to message id)."""
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
