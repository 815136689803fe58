"""One region's store on top of a key-value driver: reader, inbox and the leader's half.

All logic is here: which keys a step compares, what an unanswered request may have done, which change of a failed group
is to blame. The drivers only carry requests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ..core.changes import Change, Fate, ReservationChange, Reserve, Transition
from ..core.types import FleetIdentity, LeaderRecord
from ..core.view import epoch_of, split_epoch
from ..ports import CommitResult, FateUnknown, StoreError, StoreUnavailable
from .codec import encode
from .inbox import Inbox
from .keys import Keys
from .kv import Delete, Expect, KeyValueDriver, LeaseGone, Put
from .leases import DroneLeases
from .own_writes import OwnWrites
from .transactions import MAX_OPERATIONS, Plan, fate_by_reading, grouped, plan

MIN_LEASE_S = 2.0


class RegionStore(Inbox):
    """The store of ``region`` over ``driver``: all three roles of :mod:`drone_orchestrator.ports`.

    ``reservation_ttl_s`` (s, at least 2): how long a drone's reservation outlives its last ``keep_reservations``.
    Safe to use from several threads.
    """

    def __init__(
        self,
        driver: KeyValueDriver,
        region: str,
        *,
        reservation_ttl_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if reservation_ttl_s < MIN_LEASE_S:
            raise ValueError(f"reservation_ttl_s must be at least {MIN_LEASE_S:g} (etcd), got {reservation_ttl_s:g}")
        super().__init__(driver, Keys(region), DroneLeases(driver, reservation_ttl_s, clock), OwnWrites())
        self._lock = threading.Lock()
        self._leader_lease: tuple[int, int] | None = None  # (epoch, lease)

    # --- leadership --------------------------------------------------------------------------------------------------

    def campaign(
        self,
        record: LeaderRecord,
        ttl_s: float,
        over_epoch: int = 0,
        fleet: FleetIdentity | None = None,
        fleet_revision: int = 0,
    ) -> int:
        """See :meth:`drone_orchestrator.ports.StoreLeader.campaign`. The epoch holds the leader key's mod revision."""
        try:
            lease = self._driver.grant_leases(ttl_s, 1)[0]
        except FateUnknown as error:  # at worst an unused lease remains until it expires
            raise StoreUnavailable(f"campaign: {error}") from error
        key = self.keys.leader
        expects, ops = [Expect(key, _revision(over_epoch))], [Put(key, encode(record), lease)]
        if fleet is not None:
            expects.append(Expect(self.keys.fleet, fleet_revision))
            if not fleet_revision:
                ops.append(Put(self.keys.fleet, encode(fleet)))
        try:
            result = self._driver.txn(expects, ops)
        except FateUnknown:
            revision = self._won_after_all(lease)
        except (StoreUnavailable, LeaseGone) as error:
            raise StoreUnavailable(f"campaign: {error}") from error
        else:
            revision = result.revision if result.succeeded else 0
            if not revision:
                self._revoke(lease)
        epoch = epoch_of(record.generation, revision) if revision else 0
        if epoch:
            with self._lock:
                self._leader_lease = (epoch, lease)
        return epoch

    def _won_after_all(self, lease: int) -> int:
        """Return the leader key's revision if the unanswered campaign succeeded. Otherwise return 0, and revoke its
        lease, so that it cannot succeed later."""
        try:
            holder = self._driver.read((self.keys.leader,)).found.get(self.keys.leader)
            if holder is None or holder.lease != lease:  # each campaign has a lease of its own
                self._driver.revoke_lease(lease)
                return 0
            return holder.mod_revision
        except StoreError as error:
            raise FateUnknown(f"campaign: {error}") from error

    def hold(self, fleet: FleetIdentity, revision: int, epoch: int = 0) -> bool:
        """See :meth:`drone_orchestrator.ports.StoreLeader.hold`."""
        fence = (Expect(self.keys.leader, _revision(epoch)),) if epoch else ()
        put = Put(self.keys.fleet, encode(fleet))
        return self._driver.txn((*fence, Expect(put.key, revision)), (put,)).succeeded

    def lift(self, fleet: FleetIdentity, revision: int) -> bool:
        """See :meth:`drone_orchestrator.ports.StoreInbox.lift`."""
        ops = (Put(self.keys.fleet, encode(fleet)), Delete(self.keys.leader))
        return self._driver.txn((Expect(self.keys.fleet, revision),), ops).succeeded

    def refresh_lease(self, epoch: int) -> bool:
        """Renew the leader's lease. ``False``: expired, revoked, or not this epoch's."""
        lease = self._lease_of(epoch)
        return bool(lease) and self._driver.keep_leases((lease,))[0]

    def resign(self, epoch: int) -> None:
        """Delete the leader key if it still has this epoch, and revoke its lease.

        Tried once: if the store does not answer, the lease expires.
        """
        key = self.keys.leader
        self._driver.txn((Expect(key, _revision(epoch)),), (Delete(key),))
        lease = self._lease_of(epoch)
        if lease:
            with self._lock:
                self._leader_lease = None
            self._revoke(lease)

    def _lease_of(self, epoch: int) -> int:
        with self._lock:
            return self._leader_lease[1] if self._leader_lease and self._leader_lease[0] == epoch else 0

    # --- the leader's writes -----------------------------------------------------------------------------------------

    def commit(self, epoch: int, changes: Sequence[Change]) -> list[CommitResult]:
        """See :meth:`drone_orchestrator.ports.StoreLeader.commit`. Raises only ``StoreDenied`` and programming errors.

        If a group was fenced or not clearly answered, the remaining groups are not sent: their fate is ``FENCED`` or
        ``UNAVAILABLE``, and the call stays short while the store is unreachable.
        """
        if epoch <= 0:
            raise ValueError(f"epoch must be above 0, got {epoch}")
        reserved = [_reserved(change) for change in changes]
        try:
            leases = self._leases.take([drone for drone in reserved if drone])
        except (StoreUnavailable, FateUnknown):
            return [CommitResult(Fate.UNAVAILABLE)] * len(changes)
        results = [CommitResult(Fate.UNAVAILABLE)] * len(changes)
        plans: list[Plan] = []
        places: list[int] = []  # of each plan in the results
        for index, (change, drone) in enumerate(zip(changes, reserved, strict=True)):
            try:
                plans.append(plan(change, self.keys, leases.get(drone, 0)))
                places.append(index)
            except ValueError as error:  # what it says cannot be stored: this must not cost the others
                results[index] = CommitResult(Fate.REFUSED, error=str(error))
        self._own_writes.remember(plans)
        for group in grouped(plans):
            outcome = self._commit_group(_revision(epoch), [plans[i] for i in group])
            for index, result in zip(group, outcome, strict=True):
                results[places[index]] = result
            fates = {result.fate for result in outcome}
            if Fate.FENCED in fates:
                for place in places[group[-1] + 1 :]:
                    results[place] = CommitResult(Fate.FENCED)
                break
            if fates & {Fate.UNKNOWN, Fate.UNAVAILABLE}:
                break
        for change, result in zip(changes, results, strict=True):
            held = _reservation(change)
            if held is not None and result.fate is Fate.SUCCEEDED:
                lease = leases.get(held.drone_id, 0) if isinstance(held, Reserve) else 0
                self._leases.note(held.drone_id, result.revision, lease)
        return results

    def _commit_group(self, fence: int, plans: Sequence[Plan]) -> list[CommitResult]:
        """Commit one transaction under ``fence``, the leader key's revision. If it conflicts, leave out the changes to
        blame and retry the others."""
        leader = self.keys.leader
        results = [CommitResult(Fate.CONFLICT)] * len(plans)
        pending = list(range(len(plans)))
        to_blame = False
        while pending:
            batch = [plans[i] for i in pending]
            expects = [Expect(leader, fence), *(expect for item in batch for expect in item.expects)]
            try:
                # Conflicts are rare, so only after one is the larger request sent that shows which keys differ.
                outcome = self._driver.txn(expects, [op for item in batch for op in item.ops], read=to_blame)
            except FateUnknown:
                fates = self._resolve(fence, batch)
            except LeaseGone:
                leased = [op.key for item in batch for op in item.ops if isinstance(op, Put) and op.lease]
                self._leases.forget(self.keys.parse(key)[1] for key in leased)
                fates = [CommitResult(Fate.UNAVAILABLE)] * len(batch)
            except StoreUnavailable:
                fates = [CommitResult(Fate.UNAVAILABLE)] * len(batch)
            else:
                holder = outcome.found.get(leader)
                if outcome.succeeded:
                    fates = [CommitResult(Fate.SUCCEEDED, outcome.revision)] * len(batch)
                elif not to_blame:
                    to_blame = True
                    continue
                elif holder is None or holder.mod_revision != fence:
                    fates = [CommitResult(Fate.FENCED)] * len(batch)
                else:
                    innocent = [i for i in pending if not plans[i].conflicts_with(outcome.found)]
                    if len(innocent) == len(pending):
                        raise StoreError("the store refused a transaction although all of its compares hold")
                    pending = innocent
                    continue
            for index, fate in zip(pending, fates, strict=True):
                results[index] = fate
            break
        return results

    def _resolve(self, fence: int, batch: Sequence[Plan]) -> list[CommitResult]:
        """Determine the fate of an unanswered transaction by reading."""
        try:
            reading = self._driver.read((self.keys.leader, *(item.proof.key for item in batch)))
        except StoreUnavailable:
            return [CommitResult(Fate.UNKNOWN)] * len(batch)
        return [fate_by_reading(item, reading, self.keys.leader, fence) for item in batch]

    # --- reservations ------------------------------------------------------------------------------------------------

    def keep_reservations(self, drone_ids: Sequence[str]) -> frozenset[str]:
        """Renew reservation leases. Returns the drones whose lease was renewed; the rest hold none."""
        leases = {drone: self._leases.held_by(drone) for drone in drone_ids}
        kept = self._leases.keep({drone: lease for drone, lease in leases.items() if lease})
        return kept | self._leases.keep(self._look_up_leases([drone for drone, lease in leases.items() if not lease]))

    def freshen_leases(self) -> None:
        """See :meth:`drone_orchestrator.ports.StoreLeader.freshen_leases`."""
        self._leases.freshen()

    def compact(self, revision: int) -> None:
        """See :meth:`drone_orchestrator.ports.StoreLeader.compact`."""
        self._driver.compact(revision)

    def _look_up_leases(self, drone_ids: Sequence[str]) -> dict[str, int]:
        """Read the lease of each drone's reservation from the store; reservations without one are left out."""
        leases: dict[str, int] = {}
        for start in range(0, len(drone_ids), MAX_OPERATIONS):
            keys = {self.keys.assignment(drone): drone for drone in drone_ids[start : start + MAX_OPERATIONS]}
            for key, current in self._driver.read(list(keys)).found.items():
                self._leases.note(keys[key], current.mod_revision, current.lease)
                if current.lease:
                    leases[keys[key]] = current.lease
        return leases

    def _revoke(self, lease: int) -> bool:
        """Revoke an unneeded lease. ``False``: the store is unreachable, and the lease will expire instead."""
        try:
            self._driver.revoke_lease(lease)
        except (StoreUnavailable, FateUnknown):
            return False
        return True


def _revision(epoch: int) -> int:
    """Return the leader key's mod revision in an epoch: the fence."""
    return split_epoch(epoch)[1]


def _reserved(change: Change) -> str:
    """Return the drone that ``change`` reserves on a lease; empty if it reserves none."""
    held = _reservation(change)
    return held.drone_id if isinstance(held, Reserve) else ""


def _reservation(change: Change) -> ReservationChange | None:
    return change.reservation if isinstance(change, Transition) else None
