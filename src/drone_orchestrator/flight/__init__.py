"""Flight controllers behind one protocol (:mod:`.controller`). Knows no ROS.

Commands come in, sensor readings go out. Has a kinematic model, and guidance by velocity set-points for Gazebo.
"""
