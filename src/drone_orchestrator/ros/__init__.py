"""ROS 2 plumbing shared by the nodes: names, QoS, parameters, message conversion, actions, services, processes.

DDS messages and command-line settings come in; core types and checked values go out, and the other way round. A node
passes a table of parameters and a function that creates it to :func:`.process.run_node`. Decides nothing itself.
"""
