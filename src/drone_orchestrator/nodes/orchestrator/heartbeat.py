"""The leader's heartbeat, and how standbys notice that it stops.

The publisher asserts its liveliness only by publishing (``MANUAL_BY_TOPIC``), from the deciding thread. So a process
whose loop hangs counts as dead, although its DDS threads still run. DDS detects the loss on the reader's side, so a
standby whose Python code is busy does not mistake its own delay for a silent leader.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from drone_interfaces.msg import LeaderHeartbeat
from rclpy.event_handler import QoSLivelinessChangedInfo
from rclpy.lifecycle import LifecycleNode

from ...core.leader.effects import Heartbeat
from ...core.leader.events import Event, LeaderAlive, LeaderSilent
from ...ros import names, qos
from ...ros.log_bridge import bridge
from ...ros.qos_watch import QosWatch
from ...telemetry.logs import STANDING_BY
from ...telemetry.strangers import Strangers


class HeartbeatLink:
    """Sends this replica's heartbeats, and posts those of others as :class:`LeaderAlive` and :class:`LeaderSilent`.

    It lives as long as its node, and posts from :meth:`begin` to :meth:`end`. ``send`` is for the deciding thread,
    everything else for the executor's.
    """

    def __init__(
        self,
        node: LifecycleNode,
        post: Callable[[Event], None],
        timeout_s: float,
        watch: QosWatch,
        strangers: Strangers,
    ) -> None:
        self._node = node
        self._log = bridge(f"drone_orchestrator.{node.get_name()}.heartbeat", node.get_logger())
        self._post = post
        self._instance_id = ""
        self._timeout_s = timeout_s
        self._publisher: Any = None
        self._publishing = threading.Lock()  # a publisher must not be destroyed under the thread that uses it
        self._last_epoch = 0
        self._alive = 0
        self._watch = watch
        self._strangers = strangers
        self._heard_at_s = self._doubted_at_s = float("-inf")
        profile = qos.heartbeat(timeout_s)
        node.create_subscription(
            LeaderHeartbeat,
            names.LEADER_HEARTBEAT,
            self._on_heartbeat,
            profile,
            **watch.subscribing(names.LEADER_HEARTBEAT, profile, liveliness=self._on_liveliness),
        )

    def begin(self, instance_id: str) -> None:
        """Start listening on behalf of the replica ``instance_id``, which is standing by."""
        self._instance_id, self._last_epoch = instance_id, 0

    def end(self) -> None:
        """Stop sending and listening: the replica is gone."""
        self.close()
        self._instance_id = ""

    def open(self) -> None:
        """Create the publisher of a new leader; until then :meth:`send` does nothing."""
        profile = qos.heartbeat(self._timeout_s)
        publisher = self._node.create_publisher(
            LeaderHeartbeat,
            names.LEADER_HEARTBEAT,
            profile,
            **self._watch.announcing(names.LEADER_HEARTBEAT, profile),
        )
        with self._publishing:
            self._publisher = publisher

    def close(self) -> None:
        """Destroy the publisher of a former leader. Standbys notice at once."""
        with self._publishing:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            self._node.destroy_publisher(publisher)
            self._watch.withdrawn(names.LEADER_HEARTBEAT)

    def send(self, effect: Heartbeat) -> None:
        message = LeaderHeartbeat(
            stamp=self._node.get_clock().now().to_msg(),
            instance_id=self._instance_id,
            fleet_id=self._strangers.fleet_id,
            epoch=effect.epoch,
            sequence=effect.sequence,
        )
        with self._publishing:
            if self._publisher is not None:
                self._publisher.publish(message)

    def _on_heartbeat(self, message: LeaderHeartbeat) -> None:
        if message.instance_id == self._instance_id or not (message.epoch and self._instance_id):
            return
        if self._strangers.ignores("leader", message.instance_id, message.fleet_id, topic=names.LEADER_HEARTBEAT):
            return
        if message.fleet_id and not self._strangers.fleet_id:
            return  # whose leader this is cannot be told yet; heartbeats repeat
        if message.epoch < self._last_epoch:
            return  # from a replaced leader that has not noticed yet
        self._heard_at_s = time.monotonic()
        if message.epoch != self._last_epoch:
            self._log.info(STANDING_BY.format(epoch=message.epoch), extra={"epoch": message.epoch})
        self._last_epoch = message.epoch
        self._post(LeaderAlive(message.epoch))

    def _on_liveliness(self, info: QoSLivelinessChangedInfo) -> None:
        before, self._alive = self._alive, info.alive_count
        if before > info.alive_count == 0 and self._last_epoch and self._instance_id:
            # DDS counts a publisher that stopped as not alive, but does not count a destroyed one at all.
            self._post(LeaderSilent(self._last_epoch, left=info.not_alive_count_change <= 0))
        elif before > info.alive_count:
            self._doubted_at_s = time.monotonic()  # a leader of another fleet is still alive: which one left?

    def tick(self) -> None:
        """Report the leader as silent if one of several leaders left, and it is not heard any more.

        DDS counts the heartbeats of all fleets in the domain, and does not say whose have stopped. Call it about ten
        times a second.
        """
        doubted_at_s, now_s = self._doubted_at_s, time.monotonic()
        if now_s < doubted_at_s + self._timeout_s:
            return
        self._doubted_at_s = float("inf")
        if self._heard_at_s < doubted_at_s < float("inf") and self._last_epoch and self._instance_id:
            self._post(LeaderSilent(self._last_epoch))
