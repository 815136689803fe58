"""Observability of every process: Prometheus metrics, traces, structured logs, diagnostics and the scene for rviz.

Only ``ros/`` and ``nodes/`` publish them over ROS.
"""
