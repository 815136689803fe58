"""Starts the processes of a fleet: on one machine, or with ROS 2 launch.

A fleet configuration and the options of ``fleetctl up`` come in and become one plan of processes. The local runner and
the launch files start from the same plan. Running processes, their logs and a record of the fleet go out.
"""
