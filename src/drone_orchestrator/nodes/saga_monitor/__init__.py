"""The program ``saga_monitor``: publishes the progress of every order, for people and tools.

The store's changes and the drones' states come in. Saga events, the saga table, back-pressure, markers for rviz and
diagnostics go out. It only reads the store.
"""
