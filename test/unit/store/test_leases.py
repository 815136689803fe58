"""A drone's lease serves one reservation after another while enough of its time is left."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from drone_orchestrator.ports import FateUnknown, StoreUnavailable
from drone_orchestrator.store.leases import DroneLeases

TTL_S = 10.0


class Server:
    """Grants leases numbered from 1, and knows which have not expired."""

    def __init__(self) -> None:
        self.granted: list[int] = []
        self.living: set[int] = set()
        self.available = True
        self.kept: list[int] = []  # the number of leases renewed by each request
        self.failing = 0

    def grant_leases(self, ttl_s: float, count: int) -> list[int]:
        assert ttl_s == TTL_S
        if not self.available:
            raise StoreUnavailable("away")
        fresh = [len(self.granted) + i + 1 for i in range(count)]
        self.granted += fresh
        self.living |= set(fresh)
        return fresh

    def keep_leases(self, leases: Sequence[int]) -> list[bool]:
        self.kept.append(len(leases))
        if len(self.kept) <= self.failing:
            raise FateUnknown(f"request {len(self.kept)}")
        return [lease in self.living for lease in leases]


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def leases(server: Server, clock: Clock) -> DroneLeases:
    return DroneLeases(server, TTL_S, clock)  # type: ignore[arg-type]


def test_the_next_reservation_of_a_drone_needs_no_new_lease(leases: DroneLeases, server: Server, clock: Clock) -> None:
    assert leases.take(["a", "b", "a"]) == {"a": 1, "b": 2}
    clock.now_s += TTL_S / 2 - 0.1
    assert leases.take(["b", "c"]) == {"b": 2, "c": 3}
    assert server.granted == [1, 2, 3]


def test_a_lease_with_less_than_half_its_time_left_is_not_reused(leases: DroneLeases, clock: Clock) -> None:
    assert leases.take(["a"]) == {"a": 1}
    clock.now_s += TTL_S / 2
    assert leases.take(["a"]) == {"a": 2}


def test_a_renewed_lease_is_as_good_as_new(leases: DroneLeases, clock: Clock) -> None:
    leases.take(["a"])
    clock.now_s += TTL_S - 1.0
    assert leases.keep({"a": 1})
    clock.now_s += TTL_S / 2 - 0.1
    assert leases.take(["a"]) == {"a": 1}


def test_an_expired_lease_is_replaced(leases: DroneLeases, server: Server) -> None:
    leases.take(["a"])
    server.living.clear()
    assert not leases.keep({"a": 1})
    assert leases.take(["a"]) == {"a": 2}


@pytest.mark.parametrize(("failing", "requests"), [(0, [50, 50, 20]), (1, [50, 50, 20]), (2, [50, 50])])
def test_many_leases_are_renewed_in_batches_and_a_failed_batch_affects_no_earlier_one(
    leases: DroneLeases, server: Server, clock: Clock, failing: int, requests: list[int]
) -> None:
    drones = [f"drone_{number}" for number in range(120)]
    granted = leases.take(drones)
    server.failing = failing
    clock.now_s += TTL_S - 1.0
    if failing:
        with pytest.raises(FateUnknown, match="request 1"):
            leases.keep(granted)
    else:
        assert leases.keep(granted) == set(drones)
    assert server.kept == requests

    clock.now_s += TTL_S / 2 - 0.1
    fresh = leases.take(drones)
    assert [drone for drone in drones if fresh[drone] != granted[drone]] == drones[: [0, 50, 120][failing]]


def test_renewing_the_lease_of_a_former_leader_does_not_change_our_own(leases: DroneLeases, server: Server) -> None:
    leases.take(["a"])
    assert not leases.keep({"a": 77})
    assert leases.take(["a"]) == {"a": 1}
    leases.forget(["a", "unknown"])
    assert leases.take(["a"]) == {"a": 2}


def test_a_lease_that_could_not_be_granted_is_requested_again(leases: DroneLeases, server: Server) -> None:
    server.available = False
    with pytest.raises(StoreUnavailable):
        leases.take(["a"])
    server.available = True
    assert leases.take(["a"]) == {"a": 1}


def test_an_older_revision_of_a_reservation_does_not_replace_a_newer_one(leases: DroneLeases) -> None:
    leases.note("a", 5, 11)
    leases.note("a", 4, 10)
    assert leases.held_by("a") == 11
    leases.load(3, {"a": (3, 9), "b": (2, 8)})
    assert (leases.held_by("a"), leases.held_by("b"), leases.held_by("c")) == (11, 8, 0)
    leases.load(6, {})
    assert leases.held_by("a") == 0


def test_a_lease_in_repeated_use_is_renewed_before_it_is_too_old(
    leases: DroneLeases, server: Server, clock: Clock
) -> None:
    lease = leases.take(["d1"])["d1"]
    leases.freshen()
    assert server.kept == [], "it has more than half of its useful time left"
    clock.now_s += 3.0
    leases.take(["d1"])
    leases.freshen()
    clock.now_s += 4.0
    assert leases.take(["d1"]) == {"d1": lease}, "7 s after it was granted, 4 s after it was renewed"
    assert (server.kept, len(server.granted)) == ([1], 1)


def test_a_lease_is_renewed_once_per_use(leases: DroneLeases, server: Server, clock: Clock) -> None:
    leases.take(["d1"])
    for _ in range(5):
        clock.now_s += 3.0
        leases.freshen()
    assert server.kept == [1], "an unused drone costs no request"


def test_a_lease_that_backs_a_reservation_is_not_renewed_on_its_own(
    leases: DroneLeases, server: Server, clock: Clock
) -> None:
    lease = leases.take(["d1"])["d1"]
    leases.note("d1", 5, lease)
    clock.now_s += 4.0
    leases.freshen()
    assert server.kept == []
    leases.note("d1", 6, 0)  # the package is on board: the reservation has no lease any more
    leases.freshen()
    assert server.kept == [1]
