"""The ids that a running fleet knows: of orders, parked orders, drones and leaders, each with a word about it."""

from __future__ import annotations

from collections.abc import Callable

from ..core.types import LeaderRecord, Order, Saga
from ..core.view import FleetView
from ..store import EtcdStore
from .context import find_target

_STORE_TIMEOUT_S = 0.5


def find(kind: str, endpoints: str | None, region: str | None) -> dict[str, str]:
    """Return the ids of a ``kind`` that the fleet's store has. Raises what the store raises."""
    target = find_target(endpoints, region)
    store = EtcdStore(target.endpoints.split(","), target.region, timeout_s=_STORE_TIMEOUT_S)
    try:
        view = FleetView()
        view.load(store.snapshot())
        return _PICKS[kind](view)
    finally:
        store.close()


def _orders(view: FleetView) -> dict[str, str]:
    """Order ids, those that are open first, each with its status."""
    sagas = [e.value for e in view.sagas.values() if isinstance(e.value, Saga)]
    sagas.sort(key=lambda saga: (saga.status.is_terminal, -saga.updated_at))
    waiting = [e.value for e in view.inbox.values() if isinstance(e.value, Order)]
    return {order.order_id: "PENDING" for order in waiting} | {s.order_id: s.status.value for s in sagas}


def _parked(view: FleetView) -> dict[str, str]:
    sagas = [e.value for e in view.sagas.values() if isinstance(e.value, Saga)]
    return {saga.order_id: saga.reason or "" for saga in sagas if saga.parked}


def _drones(view: FleetView) -> dict[str, str]:
    names = {*view.reservations, *view.breakers}
    names |= {e.value.drone_id for e in view.sagas.values() if isinstance(e.value, Saga) and e.value.drone_id}
    return {name: "has an order" if name in view.reservations else "" for name in sorted(names)}


def _leaders(view: FleetView) -> dict[str, str]:
    record = view.leader.value if view.leader is not None else None
    return {record.holder: "leads"} if isinstance(record, LeaderRecord) else {}


_PICKS: dict[str, Callable[[FleetView], dict[str, str]]] = {
    "orders": _orders,
    "parked": _parked,
    "drones": _drones,
    "leaders": _leaders,
}
