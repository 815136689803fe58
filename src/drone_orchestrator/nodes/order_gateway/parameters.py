"""The parameters of ``order_gateway``."""

from __future__ import annotations

import os

from ...ros.params import LOG_LEVEL, Param
from ...ros.planner_plugins import PLANNER_GROUP
from . import order_topic

ABOUT = "Takes orders in over HTTP, DDS services and a topic, and serves the dashboard."
PARAMETERS = (
    Param("region", "san_francisco", "shard that orders are taken in for: part of every key in the store"),
    Param("etcd_endpoints", os.environ.get("ETCD_ENDPOINTS", "127.0.0.1:2379"), "host:port, several with commas"),
    Param("fleet_config", "", "path of the fleet description; empty: the one that comes with the package"),
    Param("planner", "assignment", f"entry point of the group {PLANNER_GROUP}; says what the fleet can fly at all"),
    Param("http_host", "127.0.0.1", "address to listen on; 0.0.0.0 for every network"),
    Param("http_port", 8080, "port to listen on; 0: any free one, see the log", "", 0, 65535),
    Param("store_timeout_s", 2.0, "deadline of one call to the store", "s", 0.1, 30.0),
    Param(
        "breaker_failures",
        5,
        "failed calls in a row after which the store is left alone",
        "",
        1,
        1000,
        read_only=False,
    ),
    Param(
        "breaker_reset_s",
        2.0,
        "how long the store is left alone then, and what Retry-After says",
        "s",
        0.1,
        300.0,
        read_only=False,
    ),
    Param("rate_limit_per_s", 500.0, "requests a second that one client may make, lasting; 0: any", "", 0.0, 1e6),
    Param("rate_limit_burst", 1000, "... and at once, after a pause", "", 1, 1_000_000),
    Param(
        "client_key_header",
        "",
        "header that tells clients apart, set or checked by a proxy in front; empty: their addresses",
    ),
    Param(
        "operator_token",
        "",
        "whoever has it may hand leadership over; empty: whoever asks from the gateway's own machine",
    ),
    Param("max_streams", 64, "clients of GET /events at a time; one more is turned away", "", 1, 10000),
    Param("client_timeout_s", 20.0, "a client that takes nothing of what it is sent is cut off then", "s", 1.0, 300.0),
    Param("shutdown_grace_s", 8.0, "time for requests under way when the process is told to end", "s", 1.0, 300.0),
    *order_topic.PARAMETERS,
    LOG_LEVEL,
)
