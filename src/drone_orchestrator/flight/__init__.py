"""Flight controllers behind one protocol (:mod:`.controller`): commands go in, sensed state comes out. No ROS."""
