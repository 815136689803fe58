"""The decisions of one replica: election, assignment, the steps of each order, retention, drones' breakers.

Changes of the store, drone reports and answers to earlier effects come in as events (:mod:`.events`). Commits, goals,
clearances and lease renewals go out as effects (:mod:`.effects`). :mod:`.orchestrator` is the only entry point,
:mod:`.dispatch` the file to read first.
"""
