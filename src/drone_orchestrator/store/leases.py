"""The leases that drones' reservations hang on.

A drone has one lease for many reservations, one after another: granting one costs the store as much as a small
transaction, and the order would wait for it. What makes that safe is that a drone has at most one reservation: a lease
that runs out takes nothing with it but that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..ports import FateUnknown, StoreError, StoreUnavailable
from .kv import KeyValueDriver

#: A lease is used again while at least this share of its time is left, by the own monotonic clock.
FRESH_FRACTION = 0.5
#: A lease that is used again and again is prolonged while this share of its time is left on top of that.
AGEING_FRACTION = 0.25
#: Leases that are kept by one request at most: etcd prolongs one after the other, within one deadline, and a follower
#: asks its leader for each.
KEPT_TOGETHER = 50


class DroneLeases:
    """Leases of ``ttl_s`` (s) by drone. Safe to use from several threads. ``clock`` is monotonic, in seconds."""

    def __init__(self, driver: KeyValueDriver, ttl_s: float, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, int]] = {}  # drone -> mod revision of its reservation, lease or 0
        self._own: dict[str, tuple[int, float]] = {}  # drone -> lease granted to this client, fresh until then
        self._used: dict[str, None] = {}  # drones whose own lease was used since it was granted or prolonged

    def take(self, drones: Sequence[str]) -> dict[str, int]:
        """A lease for each of ``drones``, with at least half of its time left; new ones in one parallel round trip.

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
        """Prolong leases that will soon be too old to be used again, of drones that have used theirs since the last
        time: their next order need not wait for a new one. Raises as :meth:`keep`.

        Never one that a reservation hangs on now: it has to run out if the drone is not heard.
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
        """Prolong the leases, by drone. Those that have not run out.

        A request that fails takes none of the others with it, but after two the store is away: raises what the driver
        raised first, when the others are kept.
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
        """The store knows a lease of one of these no more: ask for new ones."""
        with self._lock:
            for drone in drones:
                self._own.pop(drone, None)

    def held_by(self, drone: str) -> int:
        """The lease that the drone's reservation hangs on, 0 where it is not known to hang on one."""
        with self._lock:
            return self._held.get(drone, (0, 0))[1]

    def note(self, drone: str, revision: int, lease: int) -> None:
        """The drone's reservation was put on ``lease`` (0: on none, or gone) at ``revision``. Older news is dropped."""
        with self._lock:
            if revision >= self._held.get(drone, (0, 0))[0]:
                self._held[drone] = (revision, lease)

    def load(self, revision: int, held: dict[str, tuple[int, int]]) -> None:
        """All reservations as of ``revision``: mod revision and lease by drone."""
        with self._lock:
            newer = {drone: known for drone, known in self._held.items() if known[0] > revision}
            self._held = {**held, **newer}

    def _fresh_until_s(self, sent_s: float) -> float:
        return sent_s + FRESH_FRACTION * self._ttl_s
