"""What DDS needs in the environment, so that a fleet of this machine keeps to itself and survives ``SIGKILL``."""

from __future__ import annotations

import os

from .paths import share_dir

#: Fast DDS 2 reads the first, Fast DDS 3 the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def loopback() -> dict[str, str]:
    """For processes that share this machine: UDP on the loopback interface only.

    Shared memory is avoided: a process killed while it holds a mutex there makes others hang as they start. Under
    ``ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST`` rmw_fastrtps adds it whatever else is set, so a profile says it instead.
    Other RMW implementations do not read that, and get LOCALHOST.
    """
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    profile = str(share_dir() / "config" / "dds" / "loopback.xml")
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT", **dict.fromkeys(PROFILE_VARIABLES, profile)}


def across_hosts() -> dict[str, str]:
    """For processes in network namespaces of their own: UDP on every interface."""
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
