"""The HTTP interface over the in-memory store: which requests are accepted or refused, and with which answer."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import Any

import pytest
from gateway_fixtures import Gateway, order_document

from drone_orchestrator.core.changes import Transition
from drone_orchestrator.core.saga import ABANDONED, ASSIGNED, CANCELLED, FAILED, PARKED, apply, begin, next_event
from drone_orchestrator.core.types import Kind, LeaderRecord, SagaStatus
from drone_orchestrator.gateway.settings import GatewaySettings
from drone_orchestrator.runtime.projection import Freshness

S = SagaStatus
DEADLINE_S = 60.0


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


def assert_problem(response: Any, status: int, field: str | None = None, code: str | None = None) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert {"type", "title", "status", "detail", "field", "code"} <= body.keys()
    assert body["title"] and body["detail"] and body["code"]
    if field is not None:
        assert body["field"] == field
    if code is not None:
        assert body["code"] == code
    return body


def finish(gateway: Gateway, message_id: str, how: str) -> None:
    """Create the order's saga and end it, as the leader would."""
    view = gateway.store.find(message_id)
    assert view is not None
    epoch = gateway.store.campaign(LeaderRecord("orchestrator_a", "1", 0.0), 60.0) or gateway.epoch  # type: ignore[attr-defined]
    gateway.epoch = epoch  # type: ignore[attr-defined]
    first = begin(view.order, now_s=1.0, epoch=epoch)
    saga = apply(None, first)
    status = SagaStatus.CANCELLED if how == CANCELLED else SagaStatus.FAILED
    second = next_event(saga, how, status, now_s=2.0, epoch=epoch, reason="because")
    result = gateway.store.commit(epoch, [Transition(apply(saga, second), (first, second), 0)])
    assert result[0].revision > 0


# --- accepted orders -------------------------------------------------------------------------------------------------


def test_an_order_is_in_the_store_before_it_is_accepted(gateway: Gateway) -> None:
    document = order_document()

    response = gateway.http.post("/orders", json=document)

    assert response.status_code == 202
    body = response.json()
    assert body == {"message_id": body["message_id"], "order_id": document["order_id"], "status": "PENDING"}
    assert response.headers["location"] == f"/orders/{body['message_id']}"
    stored = gateway.store.find(body["message_id"])
    assert stored is not None and stored.order.order_id == document["order_id"]


def test_every_optional_field_is_kept(gateway: Gateway) -> None:
    document = order_document(
        message_id=str(uuid.uuid4()),
        pickup={"lat": 37.775, "lon": -122.415},
        priority="urgent",
        deadline_s=900,
        drone_class="light",
    )

    gateway.http.post("/orders", json=document)

    order = gateway.http.get(f"/orders/{document['order_id']}").json()["order"]
    assert {name: order[name] for name in document} == document


# --- refused orders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"order_id": None}, "order_id"),
        ({"order_id": ""}, "order_id"),
        ({"order_id": 7}, "order_id"),
        ({"order_id": "x" * 65}, "order_id"),
        ({"order_id": "../leader"}, "order_id"),
        ({"order_id": "a/b"}, "order_id"),
        ({"order_id": "snow☃"}, "order_id"),
        ({"order_id": "nul\x00"}, "order_id"),
        ({"destination": None}, "destination"),
        ({"destination": [37.78, -122.41]}, "destination"),
        ({"destination": {"lat": 37.78}}, "destination.lon"),
        ({"destination": {"lat": 91, "lon": 0}}, "destination.lat"),
        ({"destination": {"lat": 37.78, "lon": -181}}, "destination.lon"),
        ({"destination": {"lat": "37.78", "lon": -122.41}}, "destination.lat"),
        ({"destination": {"lat": True, "lon": -122.41}}, "destination.lat"),
        ({"destination": {"lat": 37.78, "lon": -122.41, "alt": 3}}, "destination.alt"),
        ({"destination": {"lat": 0, "lon": 0}}, "destination"),
        ({"destination": {"lat": 37.702, "lon": -122.402}}, "destination"),
        ({"package_weight_kg": 0}, "package_weight_kg"),
        ({"package_weight_kg": -1.2}, "package_weight_kg"),
        ({"package_weight_kg": "1.2"}, "package_weight_kg"),
        ({"package_weight_kg": True}, "package_weight_kg"),
        ({"package_weight_kg": 10**400}, "package_weight_kg"),
        ({"package_weight_kg": 900}, "package_weight_kg"),
        ({"package_weight_kg": 1e-46}, "package_weight_kg"),
        ({"pickup": {"lat": 10, "lon": 10}}, "pickup"),
        ({"priority": "ASAP"}, "priority"),
        ({"priority": 9}, "priority"),
        ({"deadline_s": -1}, "deadline_s"),
        ({"deadline_s": 1e300}, "deadline_s"),
        ({"deadline_s": 1e-46}, "deadline_s"),
        ({"drone_class": "zeppelin"}, "drone_class"),
        ({"message_id": "not-a-uuid"}, "message_id"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(gateway: Gateway, changes: dict[str, Any], field: str) -> None:
    before = gateway.store.snapshot()

    response = gateway.http.post("/orders", json=order_document(**changes))

    assert_problem(response, 422, field)
    assert gateway.store.snapshot() == before
    assert gateway.count("invalid") == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_named(gateway: Gateway, number: str) -> None:
    raw = json.dumps(order_document()).replace("1.2", number)

    response = gateway.http.post("/orders", content=raw, headers={"Content-Type": "application/json"})

    assert_problem(response, 422, "package_weight_kg", "not_finite")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"order_id=1", "not_json"),
        (b"{'order_id': 1}", "not_json"),
        (b"[]", "not_an_object"),
        (b'"order"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"\xff\xfe{}", "not_utf8"),
        (b'{"order_id": "a", "order_id": "b"}', "duplicate_key"),
        (b'{"destination": {"lat": 1, "lat": 2}}', "duplicate_key"),
        (b'{"order_id": "\\ud800"}', "not_unicode"),
        (b"[" * 60_000, "too_deep"),
        (b'{"a":' * 10_000, "too_deep"),
        (b'{"package_weight_kg": ' + b"9" * 60_000 + b"}", "not_json"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(gateway: Gateway, raw: bytes, code: str) -> None:
    response = gateway.http.post("/orders", content=raw, headers={"Content-Type": "application/json"})

    assert_problem(response, 422, code=code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_another_content_type_is_refused(gateway: Gateway, headers: dict[str, str]) -> None:
    response = gateway.http.post("/orders", content=json.dumps(order_document()), headers=headers)

    assert_problem(response, 415)


def test_a_content_type_with_a_charset_is_accepted(gateway: Gateway) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}

    response = gateway.http.post("/orders", content=json.dumps(order_document()), headers=headers)

    assert response.status_code == 202


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_with_and_without_its_length(gateway: Gateway, chunked: bool) -> None:
    raw = json.dumps(order_document(order_id="x" * 70_000)).encode()
    content: Any = (raw[i : i + 5000] for i in range(0, len(raw), 5000)) if chunked else raw

    response = gateway.http.post("/orders", content=content, headers={"Content-Type": "application/json"})

    assert_problem(response, 413)


def test_a_body_that_never_arrives_times_out() -> None:
    gateway = Gateway(GatewaySettings(body_timeout_s=0.05))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/orders",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"99")],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(gateway.app(scope, receive, send), DEADLINE_S))
    gateway.close()

    assert sent[0]["status"] == 408


# --- idempotency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identified_by", ["message_id", "uuid key", "text key", "quoted key", "order_id only"])
def test_a_repeated_request_gives_the_same_order(gateway: Gateway, identified_by: str) -> None:
    document, headers = order_document(), {}
    if identified_by == "message_id":
        document["message_id"] = str(uuid.uuid4())
    elif identified_by != "order_id only":
        key = {"uuid key": str(uuid.uuid4()), "text key": "cart 17", "quoted key": '"cart 18"'}[identified_by]
        headers["Idempotency-Key"] = key

    first = gateway.http.post("/orders", json=document, headers=headers)
    gateway.wall.now_s += 100.0
    again = gateway.http.post("/orders", json=document, headers=headers)

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.content == first.content
    assert gateway.count("accepted") == gateway.count("already_accepted") == 1


@pytest.mark.parametrize("identified_by", ["message_id", "key", "order_id only"])
def test_the_same_id_with_another_payload_is_a_conflict(gateway: Gateway, identified_by: str) -> None:
    document, headers = order_document(), {}
    if identified_by == "message_id":
        document["message_id"] = str(uuid.uuid4())
    elif identified_by == "key":
        headers["Idempotency-Key"] = "cart 17"
    gateway.http.post("/orders", json=document, headers=headers)

    response = gateway.http.post("/orders", json={**document, "package_weight_kg": 2.0}, headers=headers)

    assert_problem(response, 409, "order_id" if identified_by == "order_id only" else "message_id")
    stored = gateway.store.find(document["order_id"])
    assert stored is not None and stored.order.package_weight_kg == 1.2


def test_an_order_id_belongs_to_one_message_id(gateway: Gateway) -> None:
    document = order_document()
    gateway.http.post("/orders", json={**document, "message_id": str(uuid.uuid4())})

    response = gateway.http.post("/orders", json={**document, "message_id": str(uuid.uuid4())})

    assert_problem(response, 409, "order_id", "order_id_taken")


def test_equal_content_in_another_notation_is_the_same_payload(gateway: Gateway) -> None:
    document = order_document()
    gateway.http.post("/orders", json=document)

    other_form = {**document, "priority": "NORMAL", "pickup": None, "deadline_s": None}
    response = gateway.http.post("/orders", json=other_form)

    assert response.status_code == 200


def test_key_and_message_id_must_agree(gateway: Gateway) -> None:
    message_id = str(uuid.uuid4())
    document = order_document(message_id=message_id)

    agreeing = gateway.http.post("/orders", json=document, headers={"Idempotency-Key": message_id.upper()})
    differing = gateway.http.post("/orders", json=document, headers={"Idempotency-Key": str(uuid.uuid4())})

    assert agreeing.status_code == 202
    assert_problem(differing, 422, "message_id")


def test_an_invalid_idempotency_key_is_refused(gateway: Gateway) -> None:
    response = gateway.http.post("/orders", json=order_document(), headers={"Idempotency-Key": "k" * 129})

    assert_problem(response, 422, "idempotency_key")


def test_a_repeat_gets_the_same_answer_after_the_order_has_ended(gateway: Gateway) -> None:
    document = order_document()
    first = gateway.http.post("/orders", json=document)
    finish(gateway, first.json()["message_id"], FAILED)

    again = gateway.http.post("/orders", json=document)

    assert again.status_code == 200
    assert again.content == first.content


def test_an_order_across_a_no_fly_zone_is_refused_with_its_name(gateway: Gateway) -> None:
    (zoo,) = gateway.intake._fleet.no_fly_zones

    answer = gateway.http.post("/orders", json=order_document(destination={"lat": 37.695, "lon": -122.4001}))

    assert_problem(answer, 422, "destination", "no_fly_zone")
    assert f"crosses the no-fly zone {zoo.name}" in answer.text


def test_an_accepted_order_stays_accepted_if_the_fleet_shrinks(gateway: Gateway) -> None:
    document = order_document()
    first = gateway.http.post("/orders", json=document)
    gateway.intake._capable = lambda fleet, order: False

    again = gateway.http.post("/orders", json=document)
    new = gateway.http.post("/orders", json=order_document())

    assert again.status_code == 200
    assert again.content == first.content
    assert_problem(new, 422, "destination", "beyond_energy")


def test_many_identical_requests_at_once_make_one_order(gateway: Gateway) -> None:
    document = order_document()
    together = threading.Barrier(32)

    def post() -> tuple[int, bytes]:
        together.wait()
        response = gateway.http.post("/orders", json=document)
        return response.status_code, response.content

    with ThreadPoolExecutor(32) as pool:
        answers = [future.result() for future in [pool.submit(post) for _ in range(32)]]

    assert sorted(status for status, _ in answers) == [200] * 31 + [202]
    assert len({content for _, content in answers}) == 1
    assert sum(entry.kind is Kind.INBOX_ORDER for entry in gateway.store.snapshot().entries) == 1


# --- one order, cancelling -------------------------------------------------------------------------------------------


def test_an_order_is_found_by_either_id(gateway: Gateway) -> None:
    document = order_document()
    message_id = gateway.http.post("/orders", json=document).json()["message_id"]

    by_message = gateway.http.get(f"/orders/{message_id}")
    by_order = gateway.http.get(f"/orders/{document['order_id']}")

    assert by_message.status_code == 200
    assert by_message.json() == by_order.json()
    body = by_message.json()
    assert (body["status"], body["attempt"], body["drone_id"], body["reason"]) == ("PENDING", 0, None, None)
    assert body["created_at"] == body["updated_at"] == gateway.wall.now_s
    assert body["cancel_requested"] is False
    assert body["parked"] is False


def test_an_order_that_waits_for_an_operator_says_so(gateway: Gateway) -> None:
    message_id = gateway.http.post("/orders", json=order_document()).json()["message_id"]
    view = gateway.store.find(message_id)
    assert view is not None
    epoch = gateway.store.campaign(LeaderRecord("orchestrator_a", "1", 0.0), 60.0)
    events = [begin(view.order, now_s=1.0, epoch=epoch)]
    saga = apply(None, events[0])
    steps = ((ASSIGNED, S.ASSIGNED), (ABANDONED, S.COMPENSATING), (PARKED, S.COMPENSATING))
    for trigger, status in steps:
        target = S.PENDING if status is S.COMPENSATING else None
        events.append(next_event(saga, trigger, status, now_s=2.0, epoch=epoch, drone_id="drone_1", target=target))
        saga = apply(saga, events[-1])
    assert gateway.store.commit(epoch, [Transition(saga, tuple(events), 0)])[0].revision > 0

    body = gateway.http.get(f"/orders/{message_id}").json()

    assert (body["status"], body["parked"]) == ("COMPENSATING", True)


@pytest.mark.parametrize(
    "id_", ["nobody", "47abd1ed-c807-4d86-9072-2066887490af", "%00", "%E2%98%83", "a%20b", "x" * 200]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_order_is_not_found_and_does_not_count_against_the_store(
    gateway: Gateway, method: str, id_: str
) -> None:
    for _ in range(5):
        assert_problem(gateway.http.request(method, f"/orders/{id_}"), 404)

    assert gateway.breaker.state == "closed"


def test_a_cancellation_is_recorded_and_may_be_repeated(gateway: Gateway) -> None:
    document = order_document()
    message_id = gateway.http.post("/orders", json=document).json()["message_id"]

    answers = [gateway.http.delete(f"/orders/{id_}") for id_ in (document["order_id"], message_id)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == {
        "message_id": message_id,
        "order_id": document["order_id"],
        "status": "PENDING",
        "cancel_requested": True,
    }
    assert gateway.http.get(f"/orders/{message_id}").json()["cancel_requested"] is True


def test_a_cancelled_order_may_be_cancelled_again(gateway: Gateway) -> None:
    message_id = gateway.http.post("/orders", json=order_document()).json()["message_id"]
    finish(gateway, message_id, CANCELLED)

    response = gateway.http.delete(f"/orders/{message_id}")

    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")


def test_cancelling_an_order_that_ended_otherwise_is_too_late(gateway: Gateway) -> None:
    message_id = gateway.http.post("/orders", json=order_document()).json()["message_id"]
    finish(gateway, message_id, FAILED)

    assert_problem(gateway.http.delete(f"/orders/{message_id}"), 409, code="too_late")
    assert gateway.http.get(f"/orders/{message_id}").json()["reason"] == "because"


# --- listing, fleet --------------------------------------------------------------------------------------------------


def listed(gateway: Gateway, **parameters: Any) -> dict[str, Any]:
    response = gateway.http.get("/orders", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def accepted_and_seen(gateway: Gateway, count: int) -> list[str]:
    """Submit orders, each two at the same time, and wait until they are listed. Return the ids in listing order."""
    made = []
    for i in range(count):
        gateway.wall.now_s += i % 2
        made.append((gateway.wall.now_s, gateway.http.post("/orders", json=order_document()).json()["message_id"]))
    revision = gateway.store.snapshot().revision
    seen = threading.Event()
    deadline = threading.Timer(DEADLINE_S, seen.set)
    deadline.start()
    while gateway.projection.freshness().revision < revision and not seen.is_set():
        seen.wait(0.005)
    deadline.cancel()
    assert not seen.is_set(), "the projection did not follow"
    return [message_id for _, message_id in sorted(made)]


def test_pages_show_every_order_once_oldest_first(gateway: Gateway) -> None:
    made = accepted_and_seen(gateway, 11)

    pages, cursor = [], None
    while True:
        page = listed(gateway, limit=4, **({"cursor": cursor} if cursor else {}))
        pages.append([order["message_id"] for order in page["orders"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert [len(page) for page in pages] == [4, 4, 3]
    assert [message_id for page in pages for message_id in page] == made


def test_a_page_does_not_move_when_the_leader_accepts_orders(gateway: Gateway) -> None:
    made = accepted_and_seen(gateway, 4)
    first = listed(gateway, limit=2)
    finish(gateway, made[1], FAILED)
    finish(gateway, made[2], FAILED)

    second = listed(gateway, limit=2, cursor=first["next_cursor"])

    assert [order["message_id"] for order in first["orders"] + second["orders"]] == made


def test_a_listing_can_be_filtered_by_status(gateway: Gateway) -> None:
    made = accepted_and_seen(gateway, 3)
    finish(gateway, made[0], FAILED)
    accepted_and_seen(gateway, 0)

    assert [order["message_id"] for order in listed(gateway, status="FAILED")["orders"]] == made[:1]
    assert [order["message_id"] for order in listed(gateway, status="PENDING")["orders"]] == made[1:]
    assert len(listed(gateway, status=["PENDING", "FAILED"])["orders"]) == 3
    assert listed(gateway, status="DELIVERED") == {
        "orders": [],
        "next_cursor": None,
        "revision": gateway.store.snapshot().revision,
        "stale_s": 0.0,
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("status=LOST", "status"),
        ("status=", "status"),
        ("cursor=%21", "cursor"),
        ("cursor=bnVsbA", "cursor"),
        ("cursor=" + "W" * 600, "cursor"),
        ("state=FAILED", "state"),
    ],
)
def test_a_wrong_parameter_is_named(gateway: Gateway, query: str, field: str) -> None:
    assert_problem(gateway.http.get(f"/orders?{query}"), 422, field)


def test_the_fleet_shows_leader_reservations_and_counts(gateway: Gateway) -> None:
    made = accepted_and_seen(gateway, 3)
    finish(gateway, made[0], FAILED)
    accepted_and_seen(gateway, 0)

    body = gateway.http.get("/fleet").json()

    assert body["region"] == "test"
    assert body["leader"]["holder"] == "orchestrator_a"
    assert body["leader"]["epoch"] > 0
    assert body["drones"] == []
    assert (body["orders"]["PENDING"], body["orders"]["FAILED"]) == (2, 1)
    assert body["stale_s"] == 0.0


# --- the store is unavailable ----------------------------------------------------------------------------------------


def test_without_the_store_orders_are_rejected_with_a_retry_interval(gateway: Gateway) -> None:
    document = order_document()
    gateway.backend.set_available(False)

    for request in (
        lambda: gateway.http.post("/orders", json=document),
        lambda: gateway.http.get("/orders/x"),
        lambda: gateway.http.delete("/orders/x"),
        lambda: gateway.http.get("/readyz"),
    ):
        response = request()
        assert_problem(response, 503)
        assert int(response.headers["retry-after"]) >= 1

    gateway.backend.set_available(True)
    gateway.mono.now_s += 10.0
    assert gateway.http.post("/orders", json=document).status_code == 202


def test_the_readiness_probe_alone_closes_an_open_breaker(gateway: Gateway) -> None:
    """A gateway that is not ready gets no traffic, so its readiness must not depend on traffic."""
    gateway.backend.set_available(False)
    for _ in range(3):
        gateway.http.post("/orders", json=order_document())
    assert gateway.breaker.state == "open"

    gateway.backend.set_available(True)
    assert_problem(gateway.http.get("/readyz"), 503, code="not_ready")
    gateway.mono.now_s += 10.0

    assert gateway.http.get("/readyz").status_code == 200
    assert gateway.breaker.state == "closed"


def test_invalid_orders_do_not_reach_the_store_or_open_the_breaker(gateway: Gateway) -> None:
    gateway.backend.set_available(False)

    for _ in range(10):
        assert_problem(gateway.http.post("/orders", json=order_document(package_weight_kg=-1)), 422)

    assert gateway.breaker.state == "closed"


@pytest.mark.parametrize("applied", [True, False])
def test_an_unanswered_write_ends_as_one_order(gateway: Gateway, applied: bool) -> None:
    document = order_document()
    gateway.backend.lose_answers(3, applied=applied)

    response = gateway.http.post("/orders", json=document)
    gateway.backend.deliver_late()

    assert response.status_code in (200, 202)
    again = gateway.http.post("/orders", json=document)
    assert (again.status_code, again.content) == (200, response.content)


def test_listings_survive_an_outage_and_say_how_stale_they_are(gateway: Gateway) -> None:
    made = accepted_and_seen(gateway, 2)
    gateway.backend.set_available(False)
    gateway.projection._on_health(False)

    body = listed(gateway)

    assert [order["message_id"] for order in body["orders"]] == made
    assert body["stale_s"] > 0.0


def test_a_gateway_that_does_not_follow_the_store_is_not_ready_and_says_why(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = Freshness(7, 0.0)
    monkeypatch.setattr(gateway.projection, "freshness", lambda: following)
    assert gateway.http.get("/readyz").status_code == 200
    following = Freshness(7, 8.4, "ZeroDivisionError: a defect")
    body = assert_problem(gateway.http.get("/readyz"), 503)
    reason = "the store has not been followed for 8 s: ZeroDivisionError: a defect"
    assert body["reasons"] == {"view": reason}


def test_an_exception_in_the_projection_does_not_fill_the_lanes(gateway: Gateway) -> None:
    """A dead watch would count every order as waiting, until each lane refuses orders with 429."""
    apply = gateway.counts.apply

    def fail_once(*args: Any) -> None:
        gateway.counts.apply = apply  # type: ignore[method-assign]
        raise ZeroDivisionError("a defect")

    gateway.counts.apply = fail_once  # type: ignore[method-assign]
    made = accepted_and_seen(gateway, 3)
    assert [order["message_id"] for order in listed(gateway)["orders"]] == made
    assert gateway.http.get("/readyz").status_code == 200


def test_before_the_first_snapshot_listings_are_unavailable_not_empty() -> None:
    gateway = Gateway(loaded=False)

    assert_problem(gateway.http.get("/orders"), 503, code="not_loaded")
    assert_problem(gateway.http.get("/fleet"), 503, code="not_loaded")
    assert gateway.http.get("/healthz").status_code == 200
    body = assert_problem(gateway.http.get("/readyz"), 503)
    assert body["reasons"] == {"view": "not loaded yet"}
    gateway.close()


def test_requests_beyond_the_queue_are_rejected_at_once() -> None:
    gateway = Gateway(GatewaySettings(store_threads=1, max_waiting=1))
    entered, leave = threading.Event(), threading.Event()

    submit_all = gateway.store.submit_all

    def slow(orders: Any) -> Any:
        entered.set()
        assert leave.wait(DEADLINE_S)
        return submit_all(orders)

    gateway.store.submit_all = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(8) as pool:
        served = pool.submit(gateway.http.post, "/orders", json=order_document())
        assert entered.wait(DEADLINE_S)
        others = [pool.submit(gateway.http.post, "/orders", json=order_document()) for _ in range(5)]
        rejected = list(islice(as_completed(others, DEADLINE_S), 4))  # the fifth waits in the queue
        leave.set()

        assert served.result().status_code == 202
        assert [assert_problem(future.result(), 503)["code"] for future in rejected] == ["overloaded"] * 4
        assert sorted(future.result().status_code for future in others) == [202] + [503] * 4
    gateway.close()


# --- the rest --------------------------------------------------------------------------------------------------------


def test_an_unknown_path_or_method_is_a_problem_document(gateway: Gateway) -> None:
    assert_problem(gateway.http.get("/nothing"), 404)
    assert_problem(gateway.http.get("/orders/a/b"), 404)
    response = gateway.http.put("/orders", json={})
    assert_problem(response, 405)
    assert "POST" in response.headers["allow"] or "GET" in response.headers["allow"]


def test_an_unexpected_error_is_a_problem_document_without_details(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(gateway.intake, "find", broken)

    response = gateway.http.get("/orders/x")

    assert_problem(response, 500)
    assert "secret" not in response.text


def test_metrics_count_requests_by_source_and_result(gateway: Gateway) -> None:
    document = order_document()
    gateway.http.post("/orders", json=document)
    gateway.http.post("/orders", json=document)
    gateway.http.post("/orders", json=order_document(order_id=""))
    gateway.http.post("/orders", content=b"{}", headers={"Content-Type": "text/plain"})

    response = gateway.http.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain")
    for result, count in (("accepted", 1), ("already_accepted", 1), ("invalid", 2)):
        labels = f'agent_type="order_gateway",region="test",result="{result}",source="http"'
        assert f"orchestrator_requests_total{{{labels}}} {count}.0" in response.text
    assert 'circuit_breaker_state{agent_type="order_gateway",region="test",service="etcd"} 0.0' in response.text


def test_the_documentation_loads_nothing_from_other_servers_and_shows_every_path(gateway: Gateway) -> None:
    page = gateway.http.get("/docs").text
    document = gateway.http.get("/openapi.json").json()

    assert "http://" not in page and "https://" not in page and "<script" not in page
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"{method.upper()} {path}" in page
    for name in ("package_weight_kg", "destination.lat", "Idempotency-Key"):
        assert name in page
    assert {"/orders", "/orders/{id}", "/fleet", "/healthz", "/readyz", "/metrics"} <= document["paths"].keys()


def test_the_documented_example_is_accepted(gateway: Gateway) -> None:
    document = gateway.http.get("/openapi.json").json()
    body = document["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]["example"]

    assert gateway.http.post("/orders", json=body).status_code == 202
