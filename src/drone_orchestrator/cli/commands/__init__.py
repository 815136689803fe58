"""``fleetctl``'s commands as they are declared: names, options, help. Importing one imports nothing of what it runs."""
