"""The physical truth of an order whose customer lives next to the depot."""

from __future__ import annotations

from drone_orchestrator.core.types import GeoPoint, Order
from drone_orchestrator.simulation.physics import SAME_PLACE_DEG, Packages

DEPOT = GeoPoint(37.0, -122.0)
NEIGHBOUR = GeoPoint(37.0 + SAME_PLACE_DEG / 2, -122.0)


def test_a_package_for_a_neighbour_of_the_depot_is_dropped_or_back_by_where_the_drone_is() -> None:
    """It counted as back in the depot in either case (intense, seed 124)."""
    packages = Packages(DEPOT)
    packages.may_take = lambda message_id, drone_id: True
    packages.add(Order("m1", "o1", NEIGHBOUR, 1.0, submitted_at=0.0), 0.0)
    packages.take("m1", "d1", DEPOT)
    packages.put("m1", "d1", DEPOT)
    assert packages.of("m1").at_depot and not packages.of("m1").drops
    packages.take("m1", "d1", DEPOT)
    packages.put("m1", "d1", NEIGHBOUR)
    assert packages.of("m1").drops == 1 and not packages.of("m1").at_depot
    assert packages.broken == []
