"""The ids known to a running fleet: orders, parked orders, drones and leaders, each with a short description."""

from __future__ import annotations

from collections.abc import Callable

from ...core.view import FleetView
from ...store import EtcdStore
from ..context import find_target

_STORE_TIMEOUT_S = 0.5


def find(kind: str, endpoints: str | None, region: str | None) -> dict[str, str]:
    """Return the ids of a ``kind`` that the fleet's store has. Raises what the store raises."""
    target = find_target(endpoints, region)
    store = EtcdStore(target.endpoints.split(","), target.region, timeout_s=_STORE_TIMEOUT_S)
    try:
        return _PICKS[kind](FleetView.of(store.snapshot()))
    finally:
        store.close()


def _orders(view: FleetView) -> dict[str, str]:
    """Return order ids with their statuses, open orders first."""
    orders = sorted(view.orders(), key=lambda each: (each.saga is not None, each.status.is_terminal, -each.updated_at))
    return {each.order.order_id: each.status.value for each in orders}


def _parked(view: FleetView) -> dict[str, str]:
    sagas = (stored.value for stored in view.sagas.values())
    return {saga.order_id: saga.reason or "" for saga in sagas if saga.parked}


def _drones(view: FleetView) -> dict[str, str]:
    names = {*view.reservations, *view.breakers}
    names |= {stored.value.drone_id for stored in view.sagas.values() if stored.value.drone_id}
    return {name: "has an order" if name in view.reservations else "" for name in sorted(names)}


def _leaders(view: FleetView) -> dict[str, str]:
    leader = view.leadership
    return {leader.holder: "leads"} if leader is not None else {}


_PICKS: dict[str, Callable[[FleetView], dict[str, str]]] = {
    "orders": _orders,
    "parked": _parked,
    "drones": _drones,
    "leaders": _leaders,
}
