"""Counts QoS events of a node's topics: incompatible profiles, missed deadlines, lost liveliness.

Create topics with the keyword arguments of :meth:`QosWatch.publishing` and :meth:`QosWatch.subscribing`, which include
those of :func:`.qos.options`. Each kind of event costs the executor an entity, so only kinds that can occur with the
profile are requested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from rclpy.duration import Duration
from rclpy.event_handler import (
    PublisherEventCallbacks,
    QoSLivelinessChangedInfo,
    QoSRequestedIncompatibleQoSInfo,
    SubscriptionEventCallbacks,
)
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.topic_endpoint_info import TopicEndpointInfo

from ..telemetry.diagnostics import Severity, Status
from . import qos

#: A missed deadline or lost liveliness is reported for this long (s).
SHOWN_S = 10.0
#: Node name that rclpy gives a peer until discovery has named it.
_NOT_YET_KNOWN = "_NODE_NAME_UNKNOWN_"
#: DDS durations of this length and more mean "not limited".
_ENDLESS_NS = 10**17


@dataclass(slots=True)
class _Topic:
    """One end of a topic. ``profile`` is the effective one: rclpy writes overrides into it."""

    name: str
    profile: QoSProfile
    writes: bool
    unfit: int = 0  # incompatible peers so far
    policy: str = ""
    deadlines: int = 0
    deadline_at_s: float = float("-inf")
    silenced: int = 0
    silenced_at_s: float = float("-inf")
    silent: int = 0  # writers whose liveliness is lost now
    is_bare: bool = False  # no QoS events, so incompatible peers are looked up
    extra: Callable[[QoSLivelinessChangedInfo], None] | None = field(default=None, repr=False)


class QosWatch:
    """QoS events of the topics of ``node`` and of other nodes of its process. All calls on the executor's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._topics: dict[tuple[str, bool], _Topic] = {}

    def publishing(self, topic: str, profile: QoSProfile) -> dict[str, Any]:
        """Return keyword arguments for ``create_publisher``, besides ``profile``."""
        end = self._end(topic, profile, writes=True)
        manual = profile.liveliness is LivelinessPolicy.MANUAL_BY_TOPIC
        callbacks = PublisherEventCallbacks(
            incompatible_qos=lambda info: _unfit(end, info),
            deadline=(lambda info: _missed(end, info.total_count_change)) if manual else None,
            liveliness=(lambda info: _silenced(end, info.total_count_change)) if manual else None,
        )
        return {"event_callbacks": callbacks, **qos.options()}

    def announcing(self, topic: str, profile: QoSProfile) -> dict[str, Any]:
        """Return the same for a publisher that comes and goes. Its peers are examined instead of counting QoS events.

        QoS events are entities, and entities must not be destroyed while the events executor spins.
        """
        self._end(topic, profile, writes=True).is_bare = True
        return {"event_callbacks": PublisherEventCallbacks(use_default_callbacks=False), **qos.options()}

    def withdrawn(self, topic: str) -> None:
        """Forget the publisher created with :meth:`announcing`."""
        self._topics.pop((self._node.resolve_topic_name(topic), True), None)

    def subscribing(
        self,
        topic: str,
        profile: QoSProfile,
        liveliness: Callable[[QoSLivelinessChangedInfo], None] | None = None,
    ) -> dict[str, Any]:
        """Return keyword arguments for ``create_subscription``. ``liveliness`` is called on liveliness changes."""
        end = self._end(topic, profile, writes=False)
        end.extra = liveliness
        has_deadline = _is_limit(profile.deadline)
        has_lease = _is_limit(profile.liveliness_lease_duration)
        callbacks = SubscriptionEventCallbacks(
            incompatible_qos=lambda info: _unfit(end, info),
            deadline=(lambda info: _missed(end, info.total_count_change)) if has_deadline else None,
            liveliness=(lambda info: _liveliness(end, info)) if has_lease or liveliness else None,
        )
        return {"event_callbacks": callbacks, **qos.options()}

    def statuses(self) -> Iterable[Status]:
        """Return one status, ``qos``, for all topics."""
        now_s = time.monotonic()
        errors: list[str] = []
        warnings: list[str] = []
        values: dict[str, object] = {}
        for end in self._topics.values():
            peers = self._unfit_peers(end) if end.unfit or end.is_bare else []
            errors += [f"{end.name}: {peer}" for peer in peers]
            warnings += _warnings(end, now_s)
            values |= _values(end, peers)
        if errors:
            hint = "give both sides compatible profiles, see `ros2 topic info -v TOPIC` and docs/qos.md"
            return [Status("qos", Severity.ERROR, f"incompatible profiles: {'; '.join(errors)}", hint, values)]
        if warnings:
            hint = "a busy machine or network, or a peer that died"
            return [Status("qos", Severity.WARN, "; ".join(warnings), hint, values)]
        return [Status("qos", Severity.OK, f"{len(self._topics)} topics compatible", values=values)]

    def unfit(self) -> dict[str, str]:
        """Return the topics whose peers are incompatible now, each with those peers."""
        found = {end.name: self._unfit_peers(end) for end in self._topics.values() if end.unfit or end.is_bare}
        return {topic: f"profiles do not fit: {', '.join(peers)}" for topic, peers in found.items() if peers}

    def _end(self, topic: str, profile: QoSProfile, *, writes: bool) -> _Topic:
        key = (self._node.resolve_topic_name(topic), writes)
        end = self._topics.get(key)
        if end is None:
            end = self._topics[key] = _Topic(key[0], profile, writes)
        end.profile = profile  # a topic that is created again keeps its counters
        return end

    def _unfit_peers(self, end: _Topic) -> list[str]:
        """Return the incompatible peers that discovery knows now, as ``/node (policy)``."""
        look = self._node.get_subscriptions_info_by_topic if end.writes else self._node.get_publishers_info_by_topic
        found = []
        for peer in look(end.name):
            pair = (end.profile, peer.qos_profile) if end.writes else (peer.qos_profile, end.profile)
            policies = misfits(*pair)
            if policies:
                side = "subscriber" if end.writes else "publisher"
                found.append(f"{side} {_name(peer)} ({', '.join(policies)})")
        return sorted(found)


def misfits(offered: QoSProfile, requested: QoSProfile) -> list[str]:
    """Return the policies that keep a reader of profile ``requested`` from matching a writer of profile ``offered``.

    rclpy's ``qos_check_compatible`` treats an unset duration as shorter than an infinite one.
    """
    found = []
    if requested.reliability == ReliabilityPolicy.RELIABLE != offered.reliability:
        found.append("reliability")
    if requested.durability == DurabilityPolicy.TRANSIENT_LOCAL != offered.durability:
        found.append("durability")
    if _limit_ns(offered.deadline) > _limit_ns(requested.deadline):
        found.append("deadline")
    manual = LivelinessPolicy.MANUAL_BY_TOPIC
    lease = _limit_ns(offered.liveliness_lease_duration) > _limit_ns(requested.liveliness_lease_duration)
    if lease or requested.liveliness == manual != offered.liveliness:
        found.append("liveliness")
    return found


def _limit_ns(duration: Duration) -> int:
    return duration.nanoseconds if _is_limit(duration) else _ENDLESS_NS


def _is_limit(duration: Duration) -> bool:
    return bool(0 < duration.nanoseconds < _ENDLESS_NS)


def _name(peer: TopicEndpointInfo) -> str:
    if peer.node_name == _NOT_YET_KNOWN:
        return "of a node that discovery has not named yet"
    return f"{peer.node_namespace.rstrip('/')}/{peer.node_name}"


def _unfit(end: _Topic, info: QoSRequestedIncompatibleQoSInfo) -> None:
    end.unfit = info.total_count
    end.policy = qos_policy_name_from_kind(info.last_policy_kind)


def _missed(end: _Topic, count: int) -> None:
    end.deadlines += count
    end.deadline_at_s = time.monotonic()


def _silenced(end: _Topic, count: int) -> None:
    end.silenced += count
    end.silenced_at_s = time.monotonic()


def _liveliness(end: _Topic, info: QoSLivelinessChangedInfo) -> None:
    end.silent = info.not_alive_count
    if info.not_alive_count_change > 0:
        _silenced(end, info.not_alive_count_change)
    if end.extra is not None:
        end.extra(info)


def _warnings(end: _Topic, now_s: float) -> list[str]:
    found = []
    if now_s - end.deadline_at_s < SHOWN_S:
        found.append(f"{end.name}: {end.deadlines} deadlines missed")
    if end.silent:
        found.append(f"{end.name}: {end.silent} publishers silent")
    elif now_s - end.silenced_at_s < SHOWN_S:
        found.append(f"{end.name}: liveliness was lost")
    return found


def _values(end: _Topic, peers: list[str]) -> dict[str, object]:
    """Return the problems of a topic, for diagnostics."""
    side = "writer" if end.writes else "reader"
    values: dict[str, object] = {}
    if end.unfit:
        values[f"{end.name} {side} unfit peers"] = f"{end.unfit} ever, last by {end.policy}"
    if peers:
        values[f"{end.name} {side} unfit now"] = "; ".join(peers)
    if end.deadlines:
        values[f"{end.name} {side} deadlines missed"] = end.deadlines
    if end.silenced:
        values[f"{end.name} {side} liveliness lost"] = end.silenced
    return values
