"""Resilient orchestration of a fleet of delivery drones on ROS 2 and etcd."""

__version__ = "0.1.0"
