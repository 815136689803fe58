"""Environment of DDS that isolates a fleet on this machine and lets it survive a ``SIGKILL``."""

from __future__ import annotations

import os

from ..ros.environment import PROFILE_VARIABLES
from .paths import share_dir


def loopback() -> dict[str, str]:
    """Return the environment for processes on this machine: UDP on the loopback interface only.

    Shared memory is avoided, because a process that is killed while it holds a mutex there makes others hang at their
    start. Under ``ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST`` rmw_fastrtps always adds shared memory, so a profile is
    used instead. Other RMW implementations do not read the profile, and get LOCALHOST.
    """
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    profile = str(share_dir() / "config" / "dds" / "loopback.xml")
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT", **dict.fromkeys(PROFILE_VARIABLES, profile)}


def across_hosts() -> dict[str, str]:
    """Return the environment for processes in separate network namespaces: UDP on every interface."""
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
