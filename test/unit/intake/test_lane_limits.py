"""Bulkheads at the intake: a flood in one lane is refused with a typed reason and does not affect other lanes."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from gateway_fixtures import FLEET, Clock, Gateway, anything_flies, order_document

from drone_orchestrator.core.leader.steps import build_transition
from drone_orchestrator.core.saga import CANCELLED, apply, begin, next_event
from drone_orchestrator.core.types import (
    Entry,
    FleetSpec,
    GeoPoint,
    Kind,
    LeaderRecord,
    Order,
    Saga,
    SagaStatus,
    Snapshot,
    StoreChange,
)
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.gateway.settings import GatewaySettings
from drone_orchestrator.intake.answers import Answer, Result
from drone_orchestrator.intake.bulkheads import Bulkheads, LaneClosed, Place
from drone_orchestrator.intake.token_bucket import TokenBucket
from drone_orchestrator.ports import FateUnknown

BOUND = 50
DEADLINE_S = 60.0


def two_lanes(**bounds: Any) -> FleetSpec:
    """Return a fleet of ``light`` with these limits, and ``heavy`` with the default ones."""
    light = replace(FLEET.classes[0], **{"max_waiting": BOUND, "intake_burst": 1000, **bounds})
    return replace(FLEET, classes=(light, replace(light, name="heavy", max_payload_kg=8.0, max_waiting=1000)))


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway(fleet=two_lanes())
    yield made
    made.close()


@pytest.fixture
def blind() -> Iterator[Gateway]:
    """Yield a gateway whose projection shows nothing, as if it lagged behind forever."""
    made = Gateway(loaded=False, fleet=two_lanes())
    yield made
    made.close()


def submit(gateway: Gateway, count: int = 1, **changes: Any) -> list[Answer]:
    return [gateway.intake.accept(order_document(**changes), "http") for _ in range(count)]


def results(answers: list[Answer]) -> dict[Result, int]:
    return dict(Counter(answer.result for answer in answers))


def fill(gateway: Gateway) -> list[dict[str, Any]]:
    """Fill the lane ``light``, and return its orders."""
    documents = [order_document(message_id=str(uuid.uuid4())) for _ in range(BOUND)]
    assert {gateway.intake.accept(document, "http").result for document in documents} == {Result.ACCEPTED}
    assert submit(gateway)[0].result is Result.LANE_FULL
    return documents


def cancel_all(gateway: Gateway, documents: list[dict[str, Any]]) -> None:
    """End these orders as the leader would, and wait until the gateway's projection shows it."""
    epoch = gateway.store.campaign(LeaderRecord("orchestrator_a", "1", 0.0), 60.0)
    view = FleetView.of(gateway.store.snapshot())
    for document in documents:
        wanted = view.order_of(document["message_id"])
        assert wanted is not None
        first = begin(wanted, now_s=1.0, epoch=epoch)
        second = next_event(
            apply(None, first), CANCELLED, SagaStatus.CANCELLED, now_s=2.0, epoch=epoch, reason="because"
        )
        assert gateway.store.commit(epoch, [build_transition(view, (first, second), None)])[0].revision > 0
    seen(gateway)


def seen(gateway: Gateway) -> None:
    """Wait until the projection has caught up with the store."""
    revision, late = gateway.store.snapshot().revision, threading.Event()
    deadline = threading.Timer(DEADLINE_S, late.set)
    deadline.start()
    while gateway.projection.freshness().revision < revision and not late.wait(0.005):
        pass
    deadline.cancel()
    assert not late.is_set(), "the projection did not follow"


def metric(gateway: Gateway, name: str, lane: str) -> float | None:
    labels = {"agent_type": "order_gateway", "region": "test", "drone_class": lane}
    return gateway.metrics.registry.get_sample_value(name, labels)


# --- the limit on waiting orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["gateway", "blind"], ids=["following", "nothing shown yet"])
def test_a_burst_fills_its_lane_exactly_and_does_not_affect_the_other(
    view: str, request: pytest.FixtureRequest
) -> None:
    gateway: Gateway = request.getfixturevalue(view)
    with ThreadPoolExecutor(8) as pool:
        flood = [pool.submit(submit, gateway, 1) for _ in range(300)]
        heavy = [pool.submit(submit, gateway, 1, drone_class="heavy") for _ in range(20)]
        light = [future.result()[0] for future in flood]
        others = [future.result()[0] for future in heavy]

    assert results(light) == {Result.ACCEPTED: BOUND, Result.LANE_FULL: 300 - BOUND}
    assert results(others) == {Result.ACCEPTED: 20}
    refused = next(answer for answer in light if answer.result is Result.LANE_FULL)
    assert (refused.code, refused.message_id) == ("lane_full", "")
    assert "lane light" in refused.reason
    assert 1.0 <= refused.retry_after_s <= 60.0
    stored = [entry for entry in gateway.store.snapshot().entries if entry.kind is Kind.INBOX_ORDER]
    assert len(stored) == BOUND + 20
    assert metric(gateway, "lane_rejections_total", "light") == 300 - BOUND
    assert metric(gateway, "lane_rejections_total", "heavy") == 0
    assert metric(gateway, "lane_depth", "light") == BOUND
    assert metric(gateway, "lane_depth", "heavy") == 20


def test_a_lane_accepts_as_many_orders_as_have_left(gateway: Gateway) -> None:
    documents = fill(gateway)

    cancel_all(gateway, documents[:7])

    assert metric(gateway, "lane_depth", "light") == BOUND - 7
    assert results(submit(gateway, 10)) == {Result.ACCEPTED: 7, Result.LANE_FULL: 3}


def test_a_repeat_is_recognised_while_the_lane_is_full(gateway: Gateway, blind: Gateway) -> None:
    for each in (gateway, blind):
        documents = fill(each)
        again = each.intake.accept(documents[3], "http")
        assert (again.result, again.message_id) == (Result.ALREADY_ACCEPTED, documents[3]["message_id"])


def test_a_repeat_of_an_ended_order_is_no_new_order(gateway: Gateway) -> None:
    documents = fill(gateway)
    cancel_all(gateway, documents[:1])
    assert submit(gateway)[0].result is Result.ACCEPTED  # full again

    assert gateway.intake.accept(documents[0], "http").result is Result.ALREADY_ACCEPTED


def test_a_client_without_message_ids_may_repeat_orders_too(gateway: Gateway) -> None:
    document = order_document()
    first = gateway.intake.accept(document, "http")
    submit(gateway, BOUND)

    again = gateway.intake.accept(document, "http")

    assert (again.result, again.message_id) == (Result.ALREADY_ACCEPTED, first.message_id)


@pytest.mark.parametrize(
    ("taken", "changes"),
    [("message_id", {"package_weight_kg": 0.3}), ("order_id", {"message_id": str(uuid.uuid4())})],
)
def test_a_conflict_is_reported_even_if_the_lane_is_full(gateway: Gateway, taken: str, changes: dict[str, Any]) -> None:
    documents = fill(gateway)

    answer = gateway.intake.accept({**documents[0], **changes}, "http")

    assert (answer.result, answer.field, answer.code) == (Result.CONFLICT, taken, f"{taken}_taken")


def test_an_order_id_equal_to_a_message_id_is_no_conflict(gateway: Gateway) -> None:
    documents = fill(gateway)

    [answer] = submit(gateway, order_id=documents[0]["message_id"])

    assert answer.result is Result.LANE_FULL


def test_an_invalid_order_is_reported_even_if_the_lane_is_full(gateway: Gateway) -> None:
    fill(gateway)

    assert submit(gateway, package_weight_kg=-1.0)[0].result is Result.INVALID
    assert submit(gateway, package_weight_kg=99.0)[0].result is Result.INVALID


def test_a_failed_request_releases_its_place(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(order: Order, **_: object) -> Any:
        raise FateUnknown("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(gateway.store, "submit", away)
        assert submit(gateway)[0].result is Result.STORE_UNAVAILABLE
    gateway.mono.now_s += 10.0  # the breaker allows another attempt

    assert results(submit(gateway, BOUND + 1)) == {Result.ACCEPTED: BOUND, Result.LANE_FULL: 1}


# --- the limit on the rate --------------------------------------------------------------------------------------------


def test_the_rate_is_bounded_with_a_retry_interval() -> None:
    gateway = Gateway(fleet=two_lanes(max_waiting=1000, intake_rate_per_s=2.0, intake_burst=3))

    answers = submit(gateway, 4)
    assert results(answers) == {Result.ACCEPTED: 3, Result.LANE_FULL: 1}
    assert (answers[3].code, answers[3].retry_after_s) == ("lane_rate", 0.5)
    assert "lane light" in answers[3].reason and "2 " in answers[3].reason
    gateway.mono.now_s += answers[3].retry_after_s
    assert results(submit(gateway, 2)) == {Result.ACCEPTED: 1, Result.LANE_FULL: 1}
    gateway.close()


def test_repeats_do_not_count_against_the_rate() -> None:
    gateway = Gateway(fleet=two_lanes(intake_rate_per_s=1.0, intake_burst=3))
    document = order_document()
    for _ in range(10):
        assert gateway.intake.accept(document, "http").message_id

    assert results(submit(gateway, 3)) == {Result.ACCEPTED: 2, Result.LANE_FULL: 1}
    gateway.close()


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    bucket = TokenBucket(10.0, 2, now_s=0.0)
    bucket.give_back()

    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.1)]
    assert bucket.take(99.0) == pytest.approx(0.1)  # a clock that goes back adds no token


# --- places -----------------------------------------------------------------------------------------------------------


def order(message_id: str) -> Order:
    return Order(message_id, f"order-{message_id}", GeoPoint(37.78, -122.41), 1.0, 0.0)


def entry(value: Order | Saga, revision: int) -> Entry:
    return Entry(Kind.SAGA if isinstance(value, Saga) else Kind.INBOX_ORDER, value.message_id, value, revision)


def entered(bulkheads: Bulkheads, message_id: str) -> Place:
    place = bulkheads.enter(order(message_id))
    assert isinstance(place, Place)
    return place


def test_two_requests_for_one_order_hold_one_place_until_both_end() -> None:
    bulkheads = Bulkheads(two_lanes(), anything_flies, clock=Clock())
    first, second = entered(bulkheads, "m1"), entered(bulkheads, "m1")
    assert bulkheads.depth("light") == 1

    bulkheads.leave(second, committed=False)
    assert bulkheads.depth("light") == 1
    bulkheads.leave(first, committed=False)
    assert bulkheads.depth("light") == 0


def test_an_order_shown_before_its_request_ends_counts_once() -> None:
    bulkheads, view = Bulkheads(two_lanes(), anything_flies, clock=Clock()), FleetView()
    place = entered(bulkheads, "m1")

    view.load(Snapshot(1, (entry(order("m1"), 1),)))
    bulkheads.load(view)
    bulkheads.leave(place, committed=True)

    assert bulkheads.depth("light") == 1


def test_a_repeat_of_a_shown_order_takes_no_room() -> None:
    bulkheads, view = Bulkheads(two_lanes(max_waiting=2), anything_flies, clock=Clock()), FleetView()
    view.load(Snapshot(1, (entry(order("m1"), 1),)))
    bulkheads.load(view)

    repeat = entered(bulkheads, "m1")

    assert bulkheads.depth("light") == 1
    bulkheads.leave(repeat, committed=False)
    assert bulkheads.depth("light") == 1


def test_a_snapshot_releases_places_of_committed_orders_but_not_of_open_requests() -> None:
    bulkheads = Bulkheads(two_lanes(), anything_flies, clock=Clock())
    bulkheads.leave(entered(bulkheads, "archived since"), committed=True)
    entered(bulkheads, "under way")

    bulkheads.load(FleetView())

    assert bulkheads.depth("light") == 1


@pytest.mark.parametrize(("pause_s", "says_s"), [(0.0, 2.0), (200.0, 60.0)], ids=["draining", "stalled"])
def test_the_retry_interval_of_a_full_lane_follows_the_speed_at_which_it_drains(pause_s: float, says_s: float) -> None:
    clock, view = Clock(0.0), FleetView()
    bulkheads = Bulkheads(two_lanes(max_waiting=20), anything_flies, clock=clock)
    waiting = [order(f"m{n}") for n in range(30)]
    view.load(Snapshot(1, tuple(entry(each, 1) for each in waiting)))
    bulkheads.load(view)

    assert retry_after_s(bulkheads) == 60.0  # nothing has left yet
    for n in range(10):  # one every two seconds
        clock.now_s += 2.0
        gone = Saga(waiting[n].message_id, waiting[n], SagaStatus.ASSIGNED, 0.0, 0.0)
        bulkheads.apply(view, view.apply(StoreChange(2 + n, (entry(gone, 2 + n),))))

    clock.now_s += pause_s
    assert retry_after_s(bulkheads) == pytest.approx(says_s)  # 20 wait, one must leave


def retry_after_s(bulkheads: Bulkheads) -> float:
    closed = bulkheads.enter(order("one more"))
    assert isinstance(closed, LaneClosed)
    return closed.retry_after_s


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_http_answers_429_with_retry_after_and_the_lane(gateway: Gateway) -> None:
    documents = fill(gateway)

    response = gateway.http.post("/orders", json=order_document())

    assert response.status_code == 429
    assert response.headers["content-type"] == "application/problem+json"
    assert 1 <= int(response.headers["retry-after"]) <= 60
    body = response.json()
    assert (body["code"], body["title"], body["field"]) == ("lane_full", "Too Many Requests", None)
    assert "lane light" in body["detail"]
    assert gateway.count("lane_full") == 2
    assert gateway.http.post("/orders", json=order_document(drone_class="heavy")).status_code == 202
    assert gateway.http.post("/orders", json=documents[0]).status_code == 200
    assert "429" in gateway.http.get("/openapi.json").json()["paths"]["/orders"]["post"]["responses"]


def test_a_flood_of_one_class_leaves_room_in_the_request_queue() -> None:
    gateway = Gateway(GatewaySettings(store_threads=1, max_waiting=7), fleet=two_lanes())
    waiting, leave, submit_all = threading.Event(), threading.Event(), gateway.store.submit_all

    def slow(orders: Sequence[Order]) -> Any:
        waiting.set()
        assert leave.wait(DEADLINE_S)
        return submit_all(orders)

    gateway.store.submit_all = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(12) as pool:

        def post(lane: str) -> Any:
            return pool.submit(gateway.http.post, "/orders", json=order_document(drone_class=lane))

        flood = [post("light") for _ in range(8)]
        assert waiting.wait(DEADLINE_S)
        turned_away = list(islice(as_completed(flood, DEADLINE_S), 2))
        heavy = [post("heavy") for _ in range(2)]
        assert not any(done(future, 0.2) for future in heavy)
        leave.set()

        assert [future.result().status_code for future in turned_away] == [503, 503]
        assert "light" in turned_away[0].result().json()["detail"]
        assert [future.result().status_code for future in heavy] == [202, 202]
    gateway.close()


def done(future: Future[Any], timeout_s: float) -> bool:
    wait([future], timeout_s)
    return future.done()
