"""The parameters of ``order_gateway``."""

from __future__ import annotations

from ...ros.common_parameters import ETCD_ENDPOINTS, FLEET_CONFIG, PLANNER, REGION, STORE_QUOTA_MIB, STORE_TIMEOUT_S
from ...ros.params import LOG_LEVEL, Param
from . import order_topic

ABOUT = "Accepts orders over HTTP, DDS services and a topic, and serves the dashboard."
PARAMETERS = (
    REGION,
    ETCD_ENDPOINTS,
    FLEET_CONFIG,
    PLANNER,
    Param("http_host", "127.0.0.1", "Address to listen on. 0.0.0.0: every network."),
    Param("http_port", 8080, "Port to listen on. 0: any free port; the log names it.", lo=0, hi=65535),
    STORE_TIMEOUT_S,
    STORE_QUOTA_MIB,
    Param("breaker_failures", 5, "Consecutive failed calls that open the breaker.", lo=1, hi=1000, read_only=False),
    Param(
        "breaker_reset_s",
        2.0,
        "Time that the breaker stays open; sent to clients as Retry-After.",
        unit="s",
        lo=0.1,
        hi=300.0,
        read_only=False,
    ),
    Param("rate_limit_per_s", 500.0, "Sustained requests per second and client. 0: unlimited.", lo=0.0, hi=1e6),
    Param("rate_limit_burst", 1000, "Burst size per client.", lo=1, hi=1_000_000),
    Param(
        "client_key_header",
        "",
        "Header that identifies a client, set or checked by a proxy in front. Empty: the client's address.",
    ),
    Param(
        "operator_token",
        "",
        "Token that permits handing over the leadership. Its value is not shown. "
        "Empty: permitted from the gateway's own machine only.",
        secret=True,
    ),
    Param("max_streams", 64, "Most concurrent clients of GET /events.", lo=1, hi=10000),
    Param(
        "client_timeout_s",
        20.0,
        "Disconnect a client that accepts no data for this long.",
        unit="s",
        lo=1.0,
        hi=300.0,
    ),
    Param(
        "shutdown_grace_s",
        8.0,
        "Time allowed for requests in flight when the process is told to end.",
        unit="s",
        lo=1.0,
        hi=300.0,
    ),
    *order_topic.PARAMETERS,
    LOG_LEVEL,
)
