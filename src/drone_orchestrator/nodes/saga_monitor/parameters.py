"""The parameters of ``saga_monitor``."""

from __future__ import annotations

from ...ros import observability
from ...ros.common_parameters import ETCD_ENDPOINTS, FLEET_CONFIG, FRAME_ID, PLANNER, REGION
from ...ros.params import LOG_LEVEL, Param

ABOUT = "Publishes the store's contents: saga table, saga events, back-pressure and diagnostics."
PARAMETERS = (
    REGION,
    ETCD_ENDPOINTS,
    FLEET_CONFIG,
    PLANNER,
    Param(
        "table_rows",
        200,
        "Most rows of the saga table: active orders first, then the latest finished ones.",
        lo=1,
        hi=10000,
        read_only=False,
    ),
    Param("period_s", 1.0, "Shortest period of the saga table.", unit="s", lo=0.1, hi=60.0, read_only=False),
    Param(
        "stuck_after_s",
        600.0,
        "Report active orders that are unchanged for this long.",
        unit="s",
        lo=1.0,
        hi=86400.0,
        read_only=False,
    ),
    Param(
        "stale_after_s",
        3.0,
        "Report the store as unavailable after this long without an answer.",
        unit="s",
        lo=0.5,
        hi=60.0,
        read_only=False,
    ),
    Param("marker_rate_hz", 2.0, "Rate of fleet_markers, while the topic has subscribers.", unit="Hz", lo=0.2, hi=5.0),
    FRAME_ID,
    LOG_LEVEL,
    *observability.PARAMETERS,
)
