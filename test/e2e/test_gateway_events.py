"""``GET /events`` of real gateways on a real etcd: resuming at any event, resets, and a prompt end."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from etcd3 import etcdrpc
from gateway_process import DEADLINE_S, REGION, GatewayProcess, eventually, order_document

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, EtcdProcess, find_etcd
from drone_orchestrator.core.changes import Transition
from drone_orchestrator.core.saga import ASSIGNED, FAILED, apply, begin, next_event
from drone_orchestrator.core.types import LeaderRecord, Saga, SagaStatus
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd]
S = SagaStatus


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    with EtcdProcess() as process:
        yield process


@pytest.fixture(scope="module")
def store(etcd: EtcdProcess) -> Iterator[EtcdStore]:
    made = EtcdStore(etcd.endpoints, REGION)
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(etcd: EtcdProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(etcd.endpoints[0]) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def leader(store: EtcdStore) -> Leader:
    return Leader(store)


def compact(etcd: EtcdProcess, revision: int) -> None:
    with grpc.insecure_channel(etcd.endpoints[0].removeprefix("http://")) as channel:
        request = etcdrpc.CompactionRequest(revision=revision, physical=True)
        etcdrpc.KVStub(channel).Compact(request, timeout=5.0)


class Leader:
    """Leader that is played by the test."""

    def __init__(self, store: EtcdStore) -> None:
        self.store = store
        self.epoch = store.campaign(LeaderRecord("orchestrator_a", "1", 77.0), 600.0)
        assert self.epoch

    def fail(self, gateway: GatewayProcess) -> str:
        """Submit an order and end it in three steps, the first two at one revision."""
        message_id = str(gateway.post(order_document(f"order-{uuid.uuid4().hex[:12]}")).json()["message_id"])
        view = self.store.find(message_id)
        assert view is not None
        first = begin(view.order, now_s=1.0, epoch=self.epoch)
        saga = apply(None, first)
        second = next_event(saga, ASSIGNED, S.ASSIGNED, now_s=2.0, epoch=self.epoch, drone_id="drone_1")
        saga = apply(saga, second)
        revision = self.commit(Transition(saga, (first, second), 0))
        third = next_event(saga, "abandoned", S.COMPENSATING, now_s=3.0, epoch=self.epoch, target=S.FAILED)
        saga = apply(saga, third)
        revision = self.commit(Transition(saga, (third,), revision))
        self.finish(saga, revision)
        return message_id

    def finish(self, saga: Saga, revision: int) -> None:
        last = next_event(saga, FAILED, S.FAILED, now_s=4.0, epoch=self.epoch, reason="test")
        self.commit(Transition(apply(saga, last), (last,), revision))

    def commit(self, change: Transition) -> int:
        (result,) = self.store.commit(self.epoch, [change])
        assert result.revision
        return result.revision


@dataclass
class Event:
    name: str
    id: str
    data: Any


class Stream:
    """A reader of an event stream that acts like a browser's ``EventSource``; a context manager."""

    def __init__(self, url: str, last_event_id: str = "", **parameters: str) -> None:
        self._client = httpx.Client(timeout=DEADLINE_S, trust_env=False)
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self._context = self._client.stream("GET", f"{url}/events", params=parameters, headers=headers)
        self.last_event_id = last_event_id
        self.comments: list[str] = []

    def __enter__(self) -> Stream:
        self.response = self._context.__enter__()
        assert self.response.status_code == 200, self.response.read()
        assert self.response.headers["content-type"].startswith("text/event-stream")
        self.events = self._read()
        return self

    def __exit__(self, *args: Any) -> None:
        self._context.__exit__(*args)
        self._client.close()

    def until(self, name: str, **data: Any) -> list[Event]:
        """Return all events up to the first with this name and these data."""
        found = []
        end = time.monotonic() + DEADLINE_S
        for event in self.events:
            found.append(event)
            if event.name == name and all(event.data.get(key) == value for key, value in data.items()):
                return found
            assert time.monotonic() < end, f"no {name} {data} among {found[-20:]}"
        raise AssertionError(f"the stream ended before {name} {data}: {found}")

    def _read(self) -> Iterator[Event]:
        name, data = "message", ""
        for line in self.response.iter_lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    yield Event(name, self.last_event_id, json.loads(data))
                name, data = "message", ""
            elif field == "id":
                self.last_event_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data += value
            elif not field:
                self.comments.append(value)


def steps(events: list[Event], message_id: str) -> list[int]:
    return [e.data["sequence"] for e in events if e.name == "saga" and e.data["message_id"] == message_id]


def test_a_stream_has_every_step_of_an_order_and_the_fleet(gateway: GatewayProcess, leader: Leader) -> None:
    with Stream(gateway.url) as stream:
        stream.until("fleet")
        message_id = leader.fail(gateway)
        events = stream.until("saga", message_id=message_id, to_status="FAILED")

    assert steps(events, message_id) == [1, 2, 3, 4]
    last = events[-1]
    assert last.id == str(last.data["revision"])
    assert (last.data["type"], last.data["from_status"], last.data["reason"]) == ("failed", "COMPENSATING", "test")
    assert all(e.data["order_id"].startswith("order-") for e in events if e.name == "saga")


def test_a_client_that_resumes_misses_nothing_at_any_gateway(
    gateway: GatewayProcess, leader: Leader, etcd: EtcdProcess
) -> None:
    """A client cut off after any event, also between two of one revision, still gets the rest."""
    with Stream(gateway.url) as stream:
        stream.until("fleet")
        began = stream.last_event_id
        message_id = leader.fail(gateway)
        stream.until("saga", message_id=message_id, sequence=4)
    with GatewayProcess(etcd.endpoints[0]) as other:  # its buffer begins after all that, so it reads the history
        other.wait_ready()
        for gone_to in (gateway, other):
            for cut in range(1, 5):
                with Stream(gone_to.url, began) as first:
                    heard = first.until("saga", message_id=message_id, sequence=cut)
                with Stream(gone_to.url, first.last_event_id) as second:
                    rest = second.until("saga", message_id=message_id, sequence=4) if cut < 4 else []
                assert sorted({*steps(heard, message_id), *steps(rest, message_id)}) == [1, 2, 3, 4]


def test_one_order_can_be_followed_alone(gateway: GatewayProcess, leader: Leader) -> None:
    with Stream(gateway.url) as stream:
        stream.until("fleet")
        began = stream.last_event_id
    one, other = leader.fail(gateway), leader.fail(gateway)

    with Stream(gateway.url, last_event_id=began, message_id=other) as stream:
        events = stream.until("saga", sequence=4)

    assert {event.data["message_id"] for event in events} == {other} != {one}
    assert steps(events, other) == [1, 2, 3, 4]


def test_a_compacted_history_causes_a_reset(
    gateway: GatewayProcess, leader: Leader, etcd: EtcdProcess, store: EtcdStore
) -> None:
    leader.fail(gateway)
    compact(etcd, store.snapshot().revision)
    with GatewayProcess(etcd.endpoints[0]) as other:
        other.wait_ready()
        with Stream(other.url, "2") as stream:
            first = next(stream.events)
            assert first.name == "reset"
            assert int(first.id) >= first.data["revision"] > 2
            message_id = leader.fail(gateway)
            assert steps(stream.until("saga", message_id=message_id, sequence=4), message_id) == [1, 2, 3, 4]


def test_a_revision_that_the_store_never_had_causes_a_reset(gateway: GatewayProcess) -> None:
    with Stream(gateway.url, "999999999") as stream:
        assert next(stream.events).name == "reset"


@pytest.mark.parametrize("bad", ["x", "-1", "1.5", "9" * 30, "1 2"])
def test_an_unknown_event_id_is_refused(gateway: GatewayProcess, bad: str) -> None:
    response = gateway.http.get("/events", headers={"Last-Event-ID": bad})
    assert (response.status_code, response.json()["field"]) == (422, "Last-Event-ID")


def test_a_new_leader_is_an_event(gateway: GatewayProcess, leader: Leader, store: EtcdStore) -> None:
    with Stream(gateway.url) as stream:
        stream.until("fleet")
        old = leader.epoch
        leader.epoch = store.campaign(LeaderRecord("orchestrator_b", "2", 78.0), 600.0, over_epoch=old)
        events = stream.until("leader", holder="orchestrator_b")
    assert events[-1].data == {"holder": "orchestrator_b", "epoch": leader.epoch, "since": 78.0}
    assert events[-1].id == str(leader.epoch)


def test_one_stream_too_many_is_refused_and_may_try_again(etcd: EtcdProcess) -> None:
    with GatewayProcess(etcd.endpoints[0], max_streams=2) as gateway:
        gateway.wait_ready()
        with Stream(gateway.url) as first:
            first.until("fleet")
            with Stream(gateway.url) as second:
                second.until("fleet")
                refused = gateway.http.get("/events")
                assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
                assert int(refused.headers["Retry-After"]) > 0

        def again() -> bool:
            with gateway.http.stream("GET", "/events") as response:
                return response.status_code == 200

        eventually("a place is free again", again)


def test_streams_end_at_once_when_the_gateway_does(etcd: EtcdProcess) -> None:
    # Longer than any deadline here: streams that last as long as the grace period fail the test.
    with GatewayProcess(etcd.endpoints[0], shutdown_grace_s=300.0) as gateway:
        gateway.wait_ready()
        with Stream(gateway.url) as stream, Stream(gateway.url) as other:
            stream.until("fleet")
            other.until("fleet")
            gateway.process.send_signal(signal.SIGTERM)
            list(stream.events), list(other.events)  # a stream that breaks raises
            assert gateway.wait() == 0
        assert not [line for line in gateway.said if "Traceback" in line or "rror" in line], gateway.said


def test_a_client_that_does_not_read_is_cut_off(etcd: EtcdProcess) -> None:
    with GatewayProcess(etcd.endpoints[0], max_streams=1, client_timeout_s=2.0) as gateway:
        gateway.wait_ready()
        host, port = gateway.url.removeprefix("http://").split(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect((host, int(port)))
            client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(16)
            eventually("the place is taken", lambda: gateway.http.get("/events").status_code == 503)

            def free() -> bool:
                with gateway.http.stream("GET", "/events") as response:
                    return response.status_code == 200

            eventually("the place of a client that does not read is free again", free)
