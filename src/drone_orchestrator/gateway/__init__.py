"""The HTTP entry, and the intake that it shares with DDS. It knows nothing of ROS."""
