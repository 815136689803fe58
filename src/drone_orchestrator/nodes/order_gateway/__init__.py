"""The program ``order_gateway``: accepts orders over HTTP, ROS services and a signed topic.

Every request goes through the intake into the store's inbox. Answers and views of the fleet go out over HTTP. The HTTP
application itself is :mod:`drone_orchestrator.gateway`.
"""
