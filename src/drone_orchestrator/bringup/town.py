"""The town that demos deliver to: real places in San Francisco, within reach of the depot at Pier 70."""

from __future__ import annotations

import math
import random

#: name, latitude in degrees, longitude in degrees (WGS 84)
PLACES: tuple[tuple[str, float, float], ...] = (
    ("Ferry Building", 37.7955, -122.3937),
    ("Dolores Park", 37.7596, -122.4269),
    ("Oracle Park", 37.7786, -122.3893),
    ("UCSF Parnassus", 37.7631, -122.4586),
    ("Alamo Square", 37.7763, -122.4328),
    ("Coit Tower", 37.8024, -122.4058),
    ("Bernal Heights Park", 37.7433, -122.4144),
    ("General Hospital", 37.7557, -122.4048),
    ("Japantown", 37.7850, -122.4297),
    ("Lombard Street", 37.8021, -122.4187),
    ("Twin Peaks", 37.7544, -122.4477),
    ("Glen Park", 37.7340, -122.4330),
    ("Haight-Ashbury", 37.7692, -122.4481),
    ("Union Square", 37.7880, -122.4075),
    ("Chase Center", 37.7680, -122.3877),
    ("Noe Valley", 37.7502, -122.4337),
    ("Potrero Hill", 37.7605, -122.4009),
    ("Conservatory of Flowers", 37.7726, -122.4603),
)


def orders(count: int, seed: int, *, heaviest_kg: float = math.inf) -> list[dict[str, object]]:
    """Return ``count`` bodies of ``POST /orders``, the same for the same seed. The first order is always City Hall's.

    ``heaviest_kg`` limits the weight.
    """
    rng = random.Random(seed)
    out: list[dict[str, object]] = []
    for number in range(1, count + 1):
        if number == 1:
            lat, lon, weight_kg = 37.7749, -122.4194, 2.3
        else:
            _, lat, lon = rng.choice(PLACES)
            lat, lon = round(lat + rng.uniform(-0.001, 0.001), 6), round(lon + rng.uniform(-0.001, 0.001), 6)
            weight_kg = round(rng.uniform(3.2, 6.0) if rng.random() < 0.15 else rng.uniform(0.2, 2.8), 2)
        order: dict[str, object] = {
            "order_id": f"ORD-2026-{number:03d}",
            "destination": {"lat": lat, "lon": lon},
            "package_weight_kg": min(weight_kg, heaviest_kg),
        }
        if number > 1 and rng.random() < 0.2:
            order["priority"] = rng.choice(["low", "high", "urgent"])
        out.append(order)
    return out
