"""Planning as pure numpy functions: feasibility, energy, cost, assignment.

The fleet description, drone reports and waiting orders come in; pairs of drones and orders go out
(:class:`drone_orchestrator.core.planner.Planner`). :mod:`.planner` has the implementations.
"""
