"""Observability of every process: Prometheus metrics, traces, structured logs, diagnostics and the scene for rviz.

Durable steps, drone reports and views of the store come in; series, spans, log records and statuses go out. Only
``ros/`` and ``nodes/`` publish them over ROS.
"""
