"""``fleetctl doctor``: checks of the machine, the store and DDS, each with what to do."""
