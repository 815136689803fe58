"""Runs the pure cores: events in, one step, effects carried out. Knows no ROS.

``driver`` runs a leader's core and ``drone_driver`` a drone's machine. The rest is what they and the readers of a store
stand on: workers, journals, projections of the store, and the circuit breaker in front of it.
"""
