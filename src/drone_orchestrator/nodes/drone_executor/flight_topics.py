"""The topics of a drone's flight stack. Created once, checked for incompatible QoS, kept until the process ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from ...ros.qos_watch import QosWatch

Message = TypeVar("Message")


class FlightTopics:
    """Publishers and subscriptions of ``node``, one per topic; a second request returns the existing one.

    A flight controller exists only while its drone is configured. Its topics stay, because destroying an entity while
    the events executor spins can crash the process (see :mod:`.endpoints`). An exception in a callback goes to
    ``on_error``. All calls happen on the executor's thread.
    """

    def __init__(self, node: Node, watch: QosWatch, on_error: Callable[[Exception], None]) -> None:
        self._node = node
        self._watch = watch
        self._on_error = on_error
        self._publishers: dict[str, Publisher] = {}
        self._subscribed: set[str] = set()
        self._callbacks: dict[str, Callable[[Any], None]] = {}

    def publisher(self, kind: type, topic: str, profile: QoSProfile) -> Publisher:
        """Return the publisher of ``topic``. Parameters can override its profile."""
        if topic not in self._publishers:
            made = self._node.create_publisher(kind, topic, profile, **self._watch.publishing(topic, profile))
            self._publishers[topic] = made
        return self._publishers[topic]

    def subscribe(
        self, kind: type[Message], topic: str, profile: QoSProfile, callback: Callable[[Message], None]
    ) -> None:
        """Send messages of ``topic`` to ``callback`` from now on, instead of to an earlier one."""
        self._callbacks[topic] = callback
        if topic not in self._subscribed:
            self._subscribed.add(topic)
            options = self._watch.subscribing(topic, profile)
            self._node.create_subscription(kind, topic, lambda message: self._hear(topic, message), profile, **options)

    def silence(self) -> None:
        """Drop all messages until the next :meth:`subscribe`."""
        self._callbacks.clear()

    def _hear(self, topic: str, message: Any) -> None:
        callback = self._callbacks.get(topic)
        if callback is not None:
            try:
                callback(message)
            except Exception as error:
                self._on_error(error)
