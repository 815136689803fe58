"""The four programs: thin ROS 2 shells around the core, a package each."""
