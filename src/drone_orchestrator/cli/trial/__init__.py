"""``fleetctl demo`` and ``fleetctl chaos``: fleets under faults, recorded and judged."""
