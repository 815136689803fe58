"""The pure core: it decides, and does nothing else.

No module in here imports ROS, etcd, a clock, a random source, threads or asyncio. Time comes in as an
:class:`~drone_orchestrator.core.types.Instant`, what happened comes in as events, and what is to be done goes out as
effects. The same core runs in the real nodes, in the simulation and in the tests.
"""
