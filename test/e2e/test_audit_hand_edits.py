"""``fleetctl audit`` on a real etcd whose keys were edited, moved or deleted by hand, with orders under way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from etcd3 import etcdrpc
from office import Office

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.cli.audit import audit_store
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.types import Saga, SagaStatus
from drone_orchestrator.store.keys import Keys

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@dataclass
class Town:
    """Orders in four states, and edits that bypass every fence, as ``etcdctl`` does."""

    office: Office
    waiting: Saga
    assigned: Saga
    flying: Saga
    delivered: Saga

    @property
    def keys(self) -> Keys:
        return Keys(self.office.region)

    def put(self, key: str, value: bytes) -> None:
        self._kv.Put(etcdrpc.PutRequest(key=key.encode(), value=value), timeout=5.0)

    def get(self, key: str) -> bytes:
        [found] = self._kv.Range(etcdrpc.RangeRequest(key=key.encode()), timeout=5.0).kvs
        return bytes(found.value)

    def delete(self, key: str) -> None:
        assert self._kv.DeleteRange(etcdrpc.DeleteRangeRequest(key=key.encode()), timeout=5.0).deleted == 1

    def edit(self, key: str, /, **fields: Any) -> None:
        document = json.loads(self.get(key))
        assert all(document[name] != value for name, value in fields.items()), "the edit changes nothing"
        self.put(key, json.dumps({**document, **fields}).encode())

    def edit_saga(self, saga: Saga, /, **fields: Any) -> None:
        self.edit(self.keys.saga(saga.message_id), **fields)

    def edit_assignment(self, drone: str, /, **fields: Any) -> None:
        self.edit(self.keys.assignment(drone), **fields)

    def move_assignment(self, source: str, target: str) -> None:
        value = self.get(self.keys.assignment(source))
        self.delete(self.keys.assignment(source))
        self.put(self.keys.assignment(target), value.replace(source.encode(), target.encode()))

    def give_away(self, drone_id: str, saga: Saga) -> None:
        document = {"drone_id": drone_id, "message_id": saga.message_id, "attempt": 1, "epoch": self.office.epoch}
        self.put(self.keys.assignment(drone_id), json.dumps({**document, "leased": False}).encode())

    @property
    def _kv(self) -> Any:
        return self.office.store._driver._connection.current().kv


@pytest.fixture
def town(etcd: EtcdProcess) -> Iterator[Town]:
    office = Office(etcd)
    office.lead()
    assigned = office.accept(office.submit("ORD-ASSIGNED"), "drone_0")
    loading = office.accept(office.submit("ORD-FLYING"), "drone_1")
    flying = office.step(loading, sagas.CLEARED, SagaStatus.LOADING, journal_id="j1")
    delivered = office.deliver(office.accept(office.submit("ORD-DELIVERED"), "drone_2"))
    yield Town(office, office.accept(office.submit("ORD-WAITING")), assigned, flying, delivered)
    office.close()


Edit = Callable[[Town], None]
EDITS: dict[str, tuple[Edit, set[str], str]] = {
    "a saga's state": (lambda t: t.edit_saga(t.flying, status="IN_TRANSIT"), {"I6"}, "IN_TRANSIT"),
    "a saga's end": (lambda t: t.edit_saga(t.waiting, status="DELIVERED"), {"I6"}, "DELIVERED"),
    "a saga's drone": (lambda t: t.edit_saga(t.flying, drone_id="drone_3"), {"I1", "I6"}, "drone_3"),
    "a saga's attempt": (lambda t: t.edit_saga(t.flying, attempt=7), {"I1", "I6"}, "attempt 7"),
    "a saga's epoch": (lambda t: t.edit_saga(t.waiting, epoch=1), {"I4", "I6"}, "epoch 1"),
    "an ended saga": (lambda t: t.edit_saga(t.delivered, status="FAILED"), {"I3", "I6"}, "had ended DELIVERED"),
    "a saga that is no JSON": (lambda t: t.put(t.keys.saga(t.waiting.message_id), b"{"), {"I6"}, "cannot be read"),
    "a saga deleted": (lambda t: t.delete(t.keys.saga(t.waiting.message_id)), {"I3", "I6"}, "was deleted"),
    "an event deleted": (lambda t: t.delete(t.keys.event(t.waiting.message_id, 1)), {"I6"}, "event"),
    "an event edited": (lambda t: t.edit(t.keys.event(t.flying.message_id, 2), drone_id="x"), {"I6"}, "event"),
    "an assignment's order": (lambda t: t.give_away("drone_1", t.waiting), {"I1"}, "names no drone"),
    "an assignment's attempt": (lambda t: t.edit_assignment("drone_1", attempt=2), {"I1"}, "attempt 2"),
    "an assignment's epoch": (lambda t: t.edit_assignment("drone_1", epoch=1), {"I4"}, "epoch 1"),
    "an assignment's drone": (lambda t: t.edit_assignment("drone_1", drone_id="drone_3"), {"I6"}, "drone_3"),
    "an assignment moved": (lambda t: t.move_assignment("drone_1", "drone_3"), {"I1", "I4"}, "drone_3"),
    "an assignment deleted": (lambda t: t.delete(t.keys.assignment("drone_1")), {"I4"}, "without a step of its saga"),
    "a second assignment": (lambda t: t.give_away("drone_3", t.flying), {"I1"}, "drone_1 and drone_3 at once"),
    "an assignment of an ended order": (lambda t: t.give_away("drone_2", t.delivered), {"I3"}, "still reserved"),
}


def test_an_unedited_store_is_clean(town: Town) -> None:
    assert town.office.document("audit")["violations"] == []


def test_deleting_a_reservation_before_clearance_is_legal_as_its_lease_may_expire(town: Town) -> None:
    town.delete(town.keys.assignment(town.assigned.drone_id or ""))
    assert town.office.document("audit")["violations"] == []


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_by_hand_is_reported(town: Town, name: str) -> None:
    edit, broken, says = EDITS[name]
    edit(town)
    report = audit_store(town.office.store, [], complete=False)
    assert {violation.invariant for violation in report.violations} == broken
    assert any(says in violation.text for violation in report.violations)


def test_the_command_reports_it_in_words_and_by_its_exit_code(town: Town) -> None:
    town.edit_saga(town.flying, drone_id="drone_3")
    done = town.office.fleetctl("audit", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout.splitlines()[-1])
    assert {invariant for invariant, count in document["invariants"].items() if count} == {"I1", "I6"}
    assert "drone_3" in done.stderr
