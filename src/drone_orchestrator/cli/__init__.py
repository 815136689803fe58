"""The command line: fleetctl."""
