"""The parameters of ``saga_monitor``."""

from __future__ import annotations

import os

from ...ros import observability
from ...ros.params import LOG_LEVEL, Param
from ...ros.planner_plugins import PLANNER_GROUP

ABOUT = "Shows what the store says: saga table, saga events, back-pressure and diagnostics."
PARAMETERS = (
    Param("region", "san_francisco", "shard that is shown: part of every key in the store"),
    Param("etcd_endpoints", os.environ.get("ETCD_ENDPOINTS", "127.0.0.1:2379"), "host:port, several with commas"),
    Param("fleet_config", "", "path of the fleet description; empty: the one that comes with the package"),
    Param("planner", "assignment", f"entry point of the group {PLANNER_GROUP}; says which lane an order is in"),
    Param(
        "table_rows",
        200,
        "rows of the saga table: active orders first, then the latest that ended",
        "",
        1,
        10000,
        read_only=False,
    ),
    Param("period_s", 1.0, "shortest period of the saga table", "s", 0.1, 60.0, read_only=False),
    Param(
        "stuck_after_s",
        600.0,
        "an active order without a change for so long is reported",
        "s",
        1.0,
        86400.0,
        read_only=False,
    ),
    Param(
        "stale_after_s",
        3.0,
        "the store counts as away when nothing was heard for so long",
        "s",
        0.5,
        60.0,
        read_only=False,
    ),
    Param("marker_rate_hz", 2.0, "rate of fleet_markers, while somebody looks at them", "Hz", 0.2, 5.0),
    LOG_LEVEL,
    *observability.PARAMETERS,
)
