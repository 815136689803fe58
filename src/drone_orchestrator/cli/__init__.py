"""The command line ``fleetctl``: :mod:`.commands` declares the commands, the other modules carry them out.

Arguments come in; tables, JSON or a report go out, with an exit code. Commands read the store and DDS, submit orders
through the store, or run a local fleet.
"""
