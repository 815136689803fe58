"""``fleetctl bench``: a module per benchmark of a whole fleet, and the modules that they share."""
