"""The pure core: makes every decision about orders, drones and leadership, and carries out none of them.

Events and the time (:class:`~drone_orchestrator.core.types.Instant`) come in, effects for a shell go out. No module in
here imports ROS, etcd, a clock, a random source, threads or asyncio. The same core runs in the real nodes, in the
simulation and in the tests.
"""
