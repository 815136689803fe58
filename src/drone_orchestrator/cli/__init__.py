"""The command line, fleetctl: ``commands/`` declares the commands, the other modules carry them out."""
