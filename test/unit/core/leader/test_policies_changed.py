"""An operator changes bounds and periods while orders are in flight."""

from __future__ import annotations

import pytest
from scenes import fly, flying
from world import World, make_order, make_report

from drone_orchestrator.core.leader.events import PoliciesChanged
from drone_orchestrator.core.policies import DispatchPolicy, RetentionPolicy
from drone_orchestrator.core.types import CancelRequest, DeliveryOutcome, Outcome, SagaStatus

S = SagaStatus
LONG_S = 1000.0


def test_a_shorter_grace_applies_to_a_drone_that_is_already_silent() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=LONG_S))
    order = fly(world, make_order())
    world.pass_time(40)
    assert world.saga(order).status is S.IN_TRANSIT
    world.tell(PoliciesChanged(dispatch=DispatchPolicy(lost_grace_s=60.0)))
    world.pass_time(10)
    assert world.saga(order).status is S.IN_TRANSIT  # the silence counts from its start, not from the change
    world.pass_time(15)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "drone_lost_with_package")


def test_a_longer_grace_applies_to_a_drone_that_is_already_silent() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=30.0))
    order = fly(world, make_order())
    world.pass_time(20)
    world.tell(PoliciesChanged(dispatch=DispatchPolicy(lost_grace_s=LONG_S)))
    world.pass_time(60)
    assert world.saga(order).status is S.IN_TRANSIT
    world.pass_time(1, hear=[flying(order)])
    assert world.saga(order).status is S.IN_TRANSIT


def test_a_lower_attempt_limit_applies_to_the_next_failure() -> None:
    world = World(dispatch=DispatchPolicy(max_attempts=10))
    world.run()
    world.hear(make_report())
    order = make_order()
    world.intake.submit(order)
    world.run()
    world.tell(PoliciesChanged(dispatch=DispatchPolicy(max_attempts=1)))
    fault = DeliveryOutcome(order.message_id, 1, Outcome.FAULT_BEFORE_LOADING, "motor")
    world.pass_time(5, hear=[make_report(outcomes=(fault,))])
    assert world.saga(order).status is S.FAILED


def test_an_ended_order_is_retired_by_the_new_retention() -> None:
    world = World(retention=RetentionPolicy(LONG_S))
    order = make_order()
    world.intake.submit(order)
    world.run()
    world.intake.request_cancel(CancelRequest(order.message_id, 0.0))
    world.pass_time(20)
    assert world.intake.find(order.message_id) is not None
    world.tell(PoliciesChanged(retention=RetentionPolicy(10.0)))
    world.run()
    assert world.intake.find(order.message_id) is None
    assert [archived.saga.message_id for archived in world.archive.orders] == [order.message_id]


def test_a_standby_decides_by_the_new_policy_once_it_leads() -> None:
    world = World(replicas=2, dispatch=DispatchPolicy(lost_grace_s=LONG_S))
    order = fly(world, make_order())
    leader = world.leader
    standby = next(replica for replica in world.replicas if replica is not leader)
    standby.inbox.append(PoliciesChanged(dispatch=DispatchPolicy(lost_grace_s=20.0)))
    world.run()
    world.crash(leader)
    world.pass_time(40)
    assert world.saga(order).status is S.FAILED


def test_a_retention_cannot_be_set_without_an_archive() -> None:
    world = World()
    world.run()
    with pytest.raises(ValueError, match="keeps all orders"):
        world.tell(PoliciesChanged(retention=RetentionPolicy(10.0)))
