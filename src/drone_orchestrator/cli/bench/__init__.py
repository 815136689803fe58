"""``fleetctl bench``: a module per benchmark of a whole fleet, and what they share."""
