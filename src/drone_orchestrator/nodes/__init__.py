"""Thin ROS 2 shells around the core."""
