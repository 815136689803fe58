"""``fleetctl order`` and ``fleetctl events``: submit, list, follow, cancel and resolve orders.

Orders as options or JSON files come in and go to the store's inbox; orders and events go out as text or JSON.
"""
