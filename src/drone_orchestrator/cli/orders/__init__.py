"""``fleetctl order`` and ``fleetctl events``: submitting, listing, following and cancelling orders."""
