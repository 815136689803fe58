"""ROS 2 plumbing that the nodes share: names, QoS, parameters, messages, actions, processes."""
