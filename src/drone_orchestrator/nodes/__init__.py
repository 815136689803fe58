"""The four programs: thin ROS 2 shells around the pure packages, one package each.

DDS messages, HTTP requests and timers come in and become events of the core; the core's effects go out as ROS calls.
Decisions belong in :mod:`drone_orchestrator.core`, ROS code that several programs use in :mod:`drone_orchestrator.ros`.
"""
