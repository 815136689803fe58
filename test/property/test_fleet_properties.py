"""The invariants hold under any failures in any order; once failures stop, every order ends."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aircraft import CUSTOMER, DEPOT, LOST
from fleet import STEP_S, Fleet, Network
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import make_order

from drone_orchestrator.core.leader.events import LeaderAlive, LeaderSilent, OperatorCampaign, OperatorResign
from drone_orchestrator.core.types import CancelRequest, CommandAction, GeoPoint, OperatorCommand, SagaStatus

S = SagaStatus
picks = st.integers(0, 9)


def happens(**strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """Declare a rule after which time may pass, so that faults strike in the middle of something."""

    def decorate(function: Callable[..., None]) -> Any:
        def and_time_passes(self: AnyFleet, then: int, **drawn: Any) -> None:
            function(self, **drawn)
            self.fleet.fly(then)

        and_time_passes.__name__ = function.__name__
        return rule(then=st.sampled_from([0, 1, 2, 3, 5, 8]), **strategies)(and_time_passes)

    return decorate


class AnyFleet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(replicas=2, drones=2)
        self.fleet.fly(2)
        self.orders = 0

    @initialize(orders=st.integers(1, 3), steps=st.integers(0, 9))
    def begins(self, orders, steps) -> None:
        for _ in range(orders):
            self.orders += 1
            self.fleet.intake.submit(make_order(self.orders, submitted_at=self.fleet.now.wall_s))
        self.fleet.fly(steps)

    def replica(self, pick: int):
        return self.fleet.replicas[pick % len(self.fleet.replicas)] if self.fleet.replicas else None

    def drone(self, pick: int):
        return list(self.fleet.drones.values())[pick % len(self.fleet.drones)]

    # --- customers and operators --------------------------------------------------------------------------------

    @precondition(lambda self: self.orders < 5)
    @happens(deadline_s=st.sampled_from([None, None, 20.0]), weight_kg=st.sampled_from([1.0, 2.9, 50.0]))
    def order(self, deadline_s, weight_kg) -> None:
        self.orders += 1
        wanted = make_order(self.orders, deadline_s=deadline_s, package_weight_kg=weight_kg)
        self.fleet.intake.submit(make_order(self.orders, **_changes(wanted, self.fleet.now.wall_s)))

    @precondition(lambda self: self.orders > 0)
    @happens(pick=picks)
    def cancel(self, pick) -> None:
        self.fleet.intake.request_cancel(CancelRequest(f"m{pick % self.orders + 1}", self.fleet.now.wall_s))

    @happens(pick=picks)
    def person_decides(self, pick) -> None:
        parked = [m for m, saga in self.fleet.sagas().items() if saga.parked]
        if parked:
            self.fleet.answer_parked(parked[pick % len(parked)])

    @precondition(lambda self: self.orders > 0)
    @happens(pick=picks)
    def person_retries_an_order(self, pick) -> None:
        """Retry an order, parked or not: a command for an order that is not parked is set aside."""
        message_id = f"m{pick % self.orders + 1}"
        self.fleet.intake.request_command(OperatorCommand(message_id, CommandAction.RETRY, self.fleet.now.wall_s))

    # --- time and network ---------------------------------------------------------------------------------------

    @rule(steps=st.sampled_from([1, 2, 4, 8, 20, 70, 70]))
    def time_passes(self, steps) -> None:
        self.fleet.fly(steps)

    @rule(steps=st.integers(1, 6))
    def time_passes_in_small_steps(self, steps) -> None:
        self.fleet.fly(steps, step_s=0.1)

    @happens(seed=st.integers(0, 999), lost=st.sampled_from([0, 0.3, 0.9]), late=st.sampled_from([0, 0.5]))
    def bad_network(self, seed, lost, late) -> None:
        self.fleet.network = Network(random.Random(seed), lost=lost, doubled=0.1, late=late)

    @happens()
    def good_network(self) -> None:
        self.fleet.network = Network()

    @happens(offset_s=st.sampled_from([0.0, -3600.0, -5.0, 30.0, 3600.0]))
    def wall_clock_is_set(self, offset_s) -> None:
        self.fleet.wall_offset_s = offset_s

    # --- the store ----------------------------------------------------------------------------------------------

    @happens(count=st.integers(1, 3), applied=st.booleans(), pick=picks)
    def answers_get_lost(self, count, applied, pick) -> None:
        replica = self.replica(pick)
        if replica is not None:
            self.fleet.backend.lose_answers(count, applied=applied, client=replica.name)

    @happens()
    def late_requests_arrive(self) -> None:
        self.fleet.backend.deliver_late()

    @happens(pick=picks, cut=st.booleans())
    def store_is_cut_off_or_back(self, pick, cut) -> None:
        replica = self.replica(pick)
        if replica is not None:
            self.fleet.backend.set_available(not cut, replica.name)

    @happens(pick=picks)
    def a_lease_runs_out(self, pick) -> None:
        keys = self.fleet.backend.leased_keys()
        if keys:
            self.fleet.backend.expire_lease_of(keys[pick % len(keys)])

    @happens(pick=picks)
    def compaction_and_a_broken_watch(self, pick) -> None:
        self.fleet.backend.pump("recorder")
        replica = self.replica(pick)
        if replica is not None:
            self.fleet.backend.break_watches(replica.name)
        self.fleet.backend.compact()

    @happens(pick=picks, late=st.booleans())
    def watch_is_late(self, pick, late) -> None:
        replica = self.replica(pick)
        if replica is not None:
            (self.fleet.hears_late.add if late else self.fleet.hears_late.discard)(replica.name)

    # --- replicas -----------------------------------------------------------------------------------------------

    @happens(pick=picks)
    def replica_crashes(self, pick) -> None:
        replica = self.replica(pick)
        if replica is not None:
            self.fleet.crash(replica)

    @precondition(lambda self: len(self.fleet.replicas) < 3)
    @happens()
    def replica_starts(self) -> None:
        self.fleet.another_replica()

    @happens(pick=picks, hangs=st.booleans())
    def replica_hangs_or_continues(self, pick, hangs) -> None:
        replica = self.replica(pick)
        if replica is not None:
            (self.fleet.hanging.add if hangs else self.fleet.hanging.discard)(replica.name)

    @happens(pick=picks, back=st.booleans())
    def replica_is_told_to_resign_or_campaign(self, pick, back) -> None:
        replica = self.replica(pick)
        if replica is not None:
            replica.inbox.append(OperatorCampaign() if back else OperatorResign())

    @happens(pick=picks, alive=st.booleans())
    def leader_is_suspected(self, pick, alive) -> None:
        """Suspect the leader, rightly or wrongly: the standby replaces it."""
        replica = self.replica(pick)
        if replica is not None and replica.core.view.leader_key is not None:
            epoch = replica.core.view.leader_key.mod_revision
            replica.inbox.append(LeaderAlive(epoch) if alive else LeaderSilent(epoch))

    # --- drones -------------------------------------------------------------------------------------------------

    @happens(pick=picks)
    def drone_program_dies(self, pick) -> None:
        self.drone(pick).die()

    @happens(pick=picks)
    def drone_program_starts(self, pick) -> None:
        self.drone(pick).start()

    @happens(pick=picks)
    def drone_loses_its_journal(self, pick) -> None:
        self.drone(pick).lose_journal()

    @happens(pick=picks)
    def drone_loses_its_package(self, pick) -> None:
        self.drone(pick).lose_package()

    @happens(pick=picks)
    def drone_breaks_down(self, pick) -> None:
        self.drone(pick).airframe.fault = "motor"

    @happens(pick=picks, empties=st.booleans())
    def drone_is_repaired(self, pick, empties) -> None:
        if empties and self.drone(pick).airframe.fault:
            self.drone(pick).remove_package()
            self.fleet._from_drone(self.drone(pick), self.drone(pick).sense(self.fleet.now))
        self.fleet.lift(self.drone(pick))

    # --- invariants ---------------------------------------------------------------------------------------------

    @invariant()
    def leaders_decide_within_their_leases(self) -> None:
        assert self.fleet.late_decisions == []

    @invariant()
    def nothing_is_dropped_twice(self) -> None:
        assert all(count <= 1 for count in self.fleet.packages.drops.values())

    def teardown(self) -> None:
        fleet = self.fleet
        fleet.verdict(complete=False)
        for replica in fleet.replicas:
            replica.inbox.append(OperatorCampaign())
        fleet.calm_down()
        report = fleet.verdict(complete=True)
        assert report.violations == ()
        for message_id, saga in fleet.sagas().items():
            place = fleet.packages.place(message_id)
            event(f"{saga.status.value} {place}")
            if saga.status is S.DELIVERED:
                assert place == CUSTOMER
            elif saga.reason != "drone_lost_with_package" and place != CUSTOMER:
                assert place in (DEPOT, LOST)
        for event_ in (entry.value for change in fleet.history for entry in change.entries if entry.kind == "events"):
            event(event_.type)


def _changes(wanted, submitted_at):
    return {
        "deadline_s": wanted.deadline_s,
        "package_weight_kg": wanted.package_weight_kg,
        "submitted_at": submitted_at,
    }


AnyFleet.TestCase.settings = settings(
    max_examples=settings().max_examples * 3, suppress_health_check=list(HealthCheck), deadline=None
)
TestAnyFleet = AnyFleet.TestCase


@pytest.mark.parametrize("hung_s", [4.5, 6.0, 60.0])
def test_a_leader_that_hung_decides_nothing_on_an_expired_lease(hung_s: float) -> None:
    fleet = Fleet(replicas=2, drones=1)
    fleet.fly(2)
    fleet.intake.submit(make_order(1, pickup=GeoPoint(37.76, -122.40)))
    fleet.fly(2)
    assert fleet.sagas()["m1"].status is S.DISPATCHED
    fleet.hanging.add(fleet.leaders()[0].name)  # the drone is about to ask for clearance
    fleet.fly(round(hung_s / STEP_S))
    fleet.hanging.clear()
    fleet.fly(8)
    fleet.calm_down()
    assert fleet.late_decisions == []


def test_a_random_fleet_meets_every_kind_of_step() -> None:
    """The rules above would prove little if no order ever left its depot."""
    seen: Counter[str] = Counter()
    for seed in range(12):
        rng = random.Random(seed)
        fleet = Fleet(replicas=2, drones=2)
        fleet.fly(2)
        for number in range(1, 6):
            fleet.intake.submit(make_order(number, submitted_at=fleet.now.wall_s))
            fleet.fly(rng.randint(1, 12))
            drone = rng.choice(list(fleet.drones.values()))
            match rng.choice(["cancel", "fault", "journal", "die", ""]):
                case "cancel":
                    fleet.intake.request_cancel(CancelRequest(f"m{number}", fleet.now.wall_s))
                case "fault":
                    drone.airframe.fault = "motor"
                case "journal":
                    drone.lose_journal()
                case "die":
                    drone.die()
        fleet.fly(70)
        fleet.calm_down()
        assert fleet.verdict(complete=True).violations == ()
        seen.update(e.value.type for c in fleet.history for e in c.entries if e.kind == "events" and e.value)
    assert {"loaded", "delivered", "abandoned", "compensated", "failed", "parked", "resolved"} <= set(seen), seen
