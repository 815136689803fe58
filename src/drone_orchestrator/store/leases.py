"""etcd leases that back drone reservations.

A drone's lease is reused for its next reservations: granting a lease costs as much as a small transaction, and the
order would wait for it. This is safe because a drone has at most one reservation, so an expiring lease deletes only
that one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..ports import FateUnknown, StoreError, StoreUnavailable
from .kv import KeyValueDriver

#: A lease is reused while at least this share of its TTL is left, by this client's monotonic clock.
FRESH_FRACTION = 0.5
#: A lease in use is renewed once less than this share of its TTL is left on top of that.
AGEING_FRACTION = 0.25
#: Maximum renewals per request: etcd renews one lease after the other within one deadline, and a follower asks its
#: leader for each.
KEPT_TOGETHER = 50


class DroneLeases:
    """Leases of ``ttl_s`` by drone. Safe to use from several threads. ``clock`` is monotonic, in seconds."""

    def __init__(self, driver: KeyValueDriver, ttl_s: float, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, int]] = {}  # drone -> mod revision of its reservation, lease or 0
        self._own: dict[str, tuple[int, float]] = {}  # drone -> lease granted to this client, fresh until then
        self._used: dict[str, None] = {}  # drones whose lease was used since it was granted or renewed

    def take(self, drones: Sequence[str]) -> dict[str, int]:
        """Return a lease for each of ``drones`` with at least half of its TTL left. Grants new ones in parallel.

        Raises what the driver raises.
        """
        now_s = self._clock()
        with self._lock:
            known = {drone: self._own[drone] for drone in drones if drone in self._own}
            leases = {drone: lease for drone, (lease, until_s) in known.items() if now_s < until_s}
            self._used.update(dict.fromkeys(leases))
        missing = [drone for drone in dict.fromkeys(drones) if drone not in leases]
        if missing:
            leases.update(zip(missing, self._driver.grant_leases(self._ttl_s, len(missing)), strict=True))
            with self._lock:
                for drone in missing:
                    self._own[drone] = (leases[drone], self._fresh_until_s(now_s))
                    self._used[drone] = None
        return leases

    def freshen(self) -> None:
        """Renew leases that will soon be too old to reuse, of drones that used theirs since the last call.

        Their next order then need not wait for a new lease. A lease with a reservation is never renewed here, because
        it must expire if the drone is not heard. Raises the same errors as :meth:`keep`.
        """
        soon_s = self._clock() + AGEING_FRACTION * self._ttl_s
        ageing: dict[str, int] = {}
        with self._lock:
            for drone in list(self._used):
                lease, until_s = self._own.get(drone, (0, 0.0))
                if until_s < soon_s and self._held.get(drone, (0, 0))[1] != lease:
                    ageing[drone] = lease
                    del self._used[drone]
        self.keep({drone: lease for drone, lease in ageing.items() if lease})

    def keep(self, leases: Mapping[str, int]) -> frozenset[str]:
        """Renew leases, given by drone. Returns the drones whose lease had not expired.

        One failed request does not stop the others, but after two the store counts as unreachable. After the renewals
        that succeed, the first error is raised.
        """
        kept: frozenset[str] = frozenset()
        failures: list[StoreError] = []
        left = list(leases.items())
        while left and len(failures) < 2:
            some, left = dict(left[:KEPT_TOGETHER]), left[KEPT_TOGETHER:]
            try:
                kept |= self._keep_together(some)
            except (StoreUnavailable, FateUnknown) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return kept

    def _keep_together(self, leases: Mapping[str, int]) -> frozenset[str]:
        now_s = self._clock()
        alive = self._driver.keep_leases(list(leases.values()))
        with self._lock:
            for (drone, lease), lives in zip(leases.items(), alive, strict=True):
                if self._own.get(drone, (0, 0.0))[0] != lease:
                    continue
                if lives:
                    self._own[drone] = (lease, self._fresh_until_s(now_s))
                else:
                    del self._own[drone]
        return frozenset(drone for drone, lives in zip(leases, alive, strict=True) if lives)

    def forget(self, drones: Iterable[str]) -> None:
        """Forget the leases of ``drones``, so that new ones are granted: one of them no longer exists in the store."""
        with self._lock:
            for drone in drones:
                self._own.pop(drone, None)

    def held_by(self, drone: str) -> int:
        """Return the lease of the drone's reservation; 0 if none is known."""
        with self._lock:
            return self._held.get(drone, (0, 0))[1]

    def note(self, drone: str, revision: int, lease: int) -> None:
        """Record the ``lease`` of the drone's reservation (0: none) as of ``revision``. Older records are ignored."""
        with self._lock:
            if revision >= self._held.get(drone, (0, 0))[0]:
                self._held[drone] = (revision, lease)

    def clear(self) -> None:
        """Forget everything: the store is another one."""
        with self._lock:
            self._held, self._own, self._used = {}, {}, {}

    def load(self, revision: int, held: dict[str, tuple[int, int]]) -> None:
        """Load all reservations as of ``revision``: mod revision and lease by drone."""
        with self._lock:
            newer = {drone: known for drone, known in self._held.items() if known[0] > revision}
            self._held = {**held, **newer}

    def _fresh_until_s(self, sent_s: float) -> float:
        return sent_s + FRESH_FRACTION * self._ttl_s
