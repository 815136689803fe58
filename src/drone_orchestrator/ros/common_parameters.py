"""Parameters that several nodes declare, each with one default and one text."""

from __future__ import annotations

import os

from . import names
from .params import Param
from .planner_plugins import PLANNER_GROUP

REGION = Param("region", "san_francisco", "Region of the orders; part of every key in the store.")
ETCD_ENDPOINTS = Param(
    "etcd_endpoints",
    os.environ.get("ETCD_ENDPOINTS", "127.0.0.1:2379"),
    "Endpoints of etcd, HOST:PORT, separated by commas.",
)
FLEET_CONFIG = Param("fleet_config", "", "Path of the fleet configuration (YAML). Empty: the packaged one.")
PLANNER = Param(
    "planner",
    "assignment",
    "Planner that assigns orders to drones and decides which drone class can fly an order: "
    f"an entry point of the group {PLANNER_GROUP}.",
)
FRAME_ID = Param(
    "frame_id",
    names.MAP_FRAME,
    "Frame of poses and markers: metres east, north and up of the depot. Fleets with different depots need different "
    "frames to be seen together.",
)
STORE_TIMEOUT_S = Param("store_timeout_s", 2.0, "Timeout of one call to the store.", unit="s", lo=0.1, hi=30.0)
STORE_QUOTA_MIB = Param(
    "store_quota_mib",
    2048,
    "Quota of etcd's database, as --quota-backend-bytes says. From 60 % on ended orders leave early, from 80 % on no "
    "new order is accepted.",
    unit="MiB",
    lo=1,
    hi=1_048_576,
)
