"""The topics of a drone's flight stack: made once, watched for misfits of QoS, kept as long as the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from ...ros.qos_watch import QosWatch

Message = TypeVar("Message")


class FlightTopics:
    """Publishers and subscriptions of ``node`` by topic; what is asked for again is what is there already.

    A flight controller comes and goes with its drone's configuration, its topics do not: an entity that is destroyed
    while the events executor spins can end the process (see :mod:`.endpoints`). All calls on the executor's thread.
    """

    def __init__(self, node: Node, watch: QosWatch, on_error: Callable[[Exception], None]) -> None:
        self._node = node
        self._watch = watch
        self._on_error = on_error
        self._publishers: dict[str, Publisher] = {}
        self._subscribed: set[str] = set()
        self._callbacks: dict[str, Callable[[Any], None]] = {}

    def publisher(self, kind: type, topic: str, profile: QoSProfile) -> Publisher:
        """To ``topic``, its profile open to overrides by parameters."""
        if topic not in self._publishers:
            made = self._node.create_publisher(kind, topic, profile, **self._watch.publishing(topic, profile))
            self._publishers[topic] = made
        return self._publishers[topic]

    def subscribe(
        self, kind: type[Message], topic: str, profile: QoSProfile, callback: Callable[[Message], None]
    ) -> None:
        """Messages of ``topic`` go to ``callback`` from now on, and to none that was named before."""
        self._callbacks[topic] = callback
        if topic not in self._subscribed:
            self._subscribed.add(topic)
            options = self._watch.subscribing(topic, profile)
            self._node.create_subscription(kind, topic, lambda message: self._hear(topic, message), profile, **options)

    def silence(self) -> None:
        """Nobody hears anything, until somebody subscribes again."""
        self._callbacks.clear()

    def _hear(self, topic: str, message: Any) -> None:
        callback = self._callbacks.get(topic)
        if callback is not None:
            try:
                callback(message)
            except Exception as error:
                self._on_error(error)
