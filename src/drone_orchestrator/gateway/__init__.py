"""The HTTP application: orders, the fleet, events, probes and the dashboard. Knows no ROS.

Requests come in; orders and cancellations go through :mod:`drone_orchestrator.intake` to the store. Answers come from
a projection of the store and from live drone states, which a ROS node feeds in.
"""
