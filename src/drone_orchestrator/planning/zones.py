"""No-fly zones for drones × orders: the rules of :mod:`drone_orchestrator.core.zones` for many ways at a time.

The arithmetic is that of the core, operation by operation, so both give the same result for a way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..core.types import DroneReport, FleetSpec, GeoPoint, Order
from ..core.zones import MAX_ZONES, Airspace, Place, Shape, airspace, blocked_way
from .arrays import BoolArray, FloatArray, IndexArray

#: Up to this many orders are checked one by one with the core's cached results, which is faster than arrays.
FEW_ORDERS = 16


def clear_of_zones(
    fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[Order], mask: BoolArray
) -> BoolArray:
    """Return ``mask`` ``(n, m)`` without the pairs that would fly over a zone. Pairs outside ``mask`` are not examined.

    An order's own ways are straight: depot, pickup, destination, depot. A drone may fly anywhere in the triangle of its
    position, the pickup and the depot. An empty drone on its way home flies on while its next goal is sent, so it turns
    somewhere on that way. A recalled drone turns home somewhere on its way to the pickup. Raises
    :class:`drone_orchestrator.core.zones.InvalidZone`.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return mask
    space = airspace(fleet)
    flown = [orders[j] for j in columns.tolist()]
    pickups: dict[GeoPoint, int] = {}
    pickup_of = np.array([pickups.setdefault(o.pickup or fleet.depot, len(pickups)) for o in flown], dtype=np.intp)
    pickup = _places(space, list(pickups))
    if len(flown) <= FEW_ORDERS:
        blocked = np.array([blocked_way(fleet, order) is not None for order in flown])
    else:
        blocked = _blocked(space, pickup, pickup_of, _places(space, [order.destination for order in flown]))
    clear = mask.copy()
    clear[:, columns[blocked]] = False
    wanted = _drones_by_pickup(clear[np.ix_(rows, columns)], pickup_of, len(pickups))
    row, place = np.nonzero(wanted)
    drone = _places(space, [drones[i].position for i in rows.tolist()])
    lost = np.zeros_like(wanted)
    lost[row, place] = any_triangle_meets(drone[row], pickup[place], space.shapes)
    clear[np.ix_(rows, columns)] &= ~lost[:, pickup_of]
    return clear


def _blocked(space: Airspace, pickup: FloatArray, pickup_of: IndexArray, destination: FloatArray) -> BoolArray:
    """Return the mask ``(m,)`` of orders with a way that meets a zone."""
    depot = np.zeros(2)
    return np.asarray(
        any_way_meets(depot, pickup, space.shapes)[pickup_of]
        | any_way_meets(pickup[pickup_of], destination, space.shapes)
        | any_way_meets(destination, depot, space.shapes)
    )


def any_way_meets(start: FloatArray, end: FloatArray, shapes: Sequence[Shape]) -> BoolArray:
    """Return the mask ``(s,)`` of straight ways from ``start`` to ``end`` that enter or touch a zone.

    Both are ``(s, 2)``, or ``(2,)`` for one place, in metres east and north of the depot.
    """
    start, end = np.broadcast_arrays(np.atleast_2d(start), np.atleast_2d(end))
    low, high = np.minimum(start, end), np.maximum(start, end)
    met = np.zeros(len(start), dtype=np.bool_)
    for shape in shapes:
        corners = _corners(shape)
        near = np.flatnonzero(_near(low, high, corners) & ~met)
        if near.size:
            met[near] = _ways_meet(start[near], end[near], corners)
    return met


def any_triangle_meets(drone: FloatArray, pickup: FloatArray, shapes: Sequence[Shape]) -> BoolArray:
    """Return the mask ``(s,)`` of triangles of ``drone``, ``pickup`` (both ``(s, 2)``) and the depot that meet a zone.

    The depot is the origin. The side from the depot to the pickup is left out, because it is the order's own way.
    """
    depot = np.zeros_like(drone)
    low = np.minimum(np.minimum(drone, pickup), 0.0)
    high = np.maximum(np.maximum(drone, pickup), 0.0)
    met = np.zeros(len(drone), dtype=np.bool_)
    for shape in shapes:
        corners = _corners(shape)
        near = np.flatnonzero(_near(low, high, corners) & ~met)
        if not near.size:
            continue
        a, b, c = drone[near], pickup[near], depot[near]
        # No side meets the zone, so it is completely inside the triangle or completely outside: test one corner.
        turns = np.stack([_turn(p, q, corners[0]) for p, q in ((a, b), (b, c), (c, a))])
        inside = (turns > 0.0).all(axis=0) | (turns < 0.0).all(axis=0)
        met[near] = inside | _ways_meet(a, b, corners) | _ways_meet(a, c, corners)
    return met


def _ways_meet(start: FloatArray, end: FloatArray, corners: FloatArray) -> BoolArray:
    """Return the mask ``(s,)`` of ways from ``start`` to ``end`` (``(s, 2)``) that meet the polygon ``corners``
    (``(k, 2)``)."""
    a, b = start[:, None, :], end[:, None, :]  # (s, 1, 2) against edges (k, 2)
    p, q = corners, np.roll(corners, -1, axis=0)
    a_side = _turn(p, q, a)
    crosses = (
        (_turn(a, b, p) * _turn(a, b, q) <= 0.0)
        & (a_side * _turn(p, q, b) <= 0.0)
        & ((np.minimum(a, b) <= np.maximum(p, q)).all(axis=-1) & (np.minimum(p, q) <= np.maximum(a, b)).all(axis=-1))
    )
    y = a[..., 1]
    upwards = (p[:, 1] <= y) & (y < q[:, 1]) & (a_side > 0.0)
    downwards = (q[:, 1] <= y) & (y < p[:, 1]) & (a_side < 0.0)
    starts_inside = upwards.sum(axis=1) != downwards.sum(axis=1)
    return np.asarray(crosses.any(axis=1) | starts_inside, dtype=np.bool_)


def _turn(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Return :func:`drone_orchestrator.core.zones.turn`; the inputs broadcast except for their last axis, of length
    2."""
    return np.asarray(
        (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
    )


def _near(low: FloatArray, high: FloatArray, corners: FloatArray) -> BoolArray:
    """Return the mask ``(s,)`` of boxes from ``low`` to ``high`` that meet the polygon's box."""
    return np.asarray((low <= corners.max(axis=0)).all(axis=1) & (corners.min(axis=0) <= high).all(axis=1))


@lru_cache(maxsize=MAX_ZONES)
def _corners(shape: Shape) -> FloatArray:
    return np.array(shape.corners)


def _places(space: Airspace, points: Sequence[GeoPoint]) -> FloatArray:
    return np.array([_place(space, point) for point in points], dtype=np.float64).reshape(-1, 2)


@lru_cache(maxsize=4096)
def _place(space: Airspace, point: GeoPoint) -> Place:
    """Return ``point`` in the plane of ``space``. Cached: most drones do not move, and most pickups are the depot."""
    return space.place(point)


def _drones_by_pickup(mask: BoolArray, pickup_of: IndexArray, pickups: int) -> BoolArray:
    """Return the mask ``(n, pickups)`` of pickups with an order that the drone may fly. ``mask`` is ``(n, m)``."""
    order = np.argsort(pickup_of, kind="stable")
    starts = np.searchsorted(pickup_of[order], np.arange(pickups))
    return np.asarray(np.logical_or.reduceat(mask[:, order], starts, axis=1))
