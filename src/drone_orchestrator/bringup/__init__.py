"""Processes of a fleet, and the means to run them on one machine or with ROS 2 launch."""
