"""Runs the pure cores: passes events in, steps the core, carries out the effects. Knows no ROS.

:mod:`.driver` runs a replica's core and :mod:`.drone_driver` a drone's state machine. The other modules support them
and the readers of a store: workers, journals, projections of the store, and the circuit breaker in front of it.
"""
