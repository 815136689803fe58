"""Checks the environment variables that ROS reads, before rclpy is imported.

rcl handles bad values poorly: a non-numeric domain raises deep inside ``rclpy.init``, a domain that is too large aborts
the process, and an unknown RMW implementation ends it with an exit code of its own. This module does not import ROS.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

#: Highest domain. DDS derives its ports from the domain, and those of 233 would exceed 65535.
MAX_DOMAIN = 232
DEFAULT_RMW = "rmw_fastrtps_cpp"
#: With fewer descriptors than this, DDS and the store end a node at a random place of its start.
MIN_DESCRIPTORS = 128
#: Fast DDS 2 reads the first, Fast DDS 3 the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_PROBE = "import sys, rclpy; rclpy.init(args=sys.argv); rclpy.try_shutdown()"
_PROBE_TIMEOUT_S = 20.0


class UnusableEnvironment(Exception):
    """ROS cannot start with these variables. The message is one line that names the variable and a valid value."""


def check(environment: Mapping[str, str], *, runs: bool = True, logs: bool = True) -> None:
    """Raise :class:`UnusableEnvironment` if ROS cannot start.

    ``runs``: the program runs nodes, instead of only importing ROS. ``logs``: the nodes write log files.
    """
    judges = [judge_rmw]
    if runs:
        judges += [judge_domain, judge_profile, judge_limits]
    if runs and logs:
        judges.append(judge_log_folder)
    for judge in judges:
        problem = judge(environment)
        if problem:
            raise UnusableEnvironment(problem)


def judge_domain(environment: Mapping[str, str]) -> str:
    """Return what is wrong with ``ROS_DOMAIN_ID``, or an empty string."""
    domain = environment.get("ROS_DOMAIN_ID", "")
    if domain and not (domain.isascii() and domain.isdecimal() and int(domain) <= MAX_DOMAIN):
        return f"ROS_DOMAIN_ID must be a number from 0 to {MAX_DOMAIN}, got {domain!r}"
    return ""


def judge_rmw(environment: Mapping[str, str]) -> str:
    """Return what is wrong with ``RMW_IMPLEMENTATION``, or an empty string."""
    name = environment.get("RMW_IMPLEMENTATION", "")
    if not name:
        return ""
    installed = _installed_rmws(environment.get("AMENT_PREFIX_PATH", ""))
    if name in installed or (not installed and (name == DEFAULT_RMW or _starts(name))):
        return ""
    return f"RMW_IMPLEMENTATION={name} is not installed; use {_any_of(installed or {DEFAULT_RMW})}, or unset it"


def judge_profile(environment: Mapping[str, str]) -> str:
    """Return why a DDS profile named by the environment cannot be used, or an empty string.

    Fast DDS logs an error for such a file and continues without it, on other interfaces than the user asked for.
    """
    for variable in PROFILE_VARIABLES:
        path = environment.get(variable, "")
        if path and not os.access(path, os.R_OK):
            return f"{variable}={path} cannot be read: correct it, or unset it"
    return ""


def judge_limits(environment: Mapping[str, str]) -> str:
    """Return which limit of this process is too low for a node, or an empty string. ``environment`` is not used."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != resource.RLIM_INFINITY and soft < MIN_DESCRIPTORS:
        return f"at most {soft} files may be open, a node needs {MIN_DESCRIPTORS}: ulimit -n 4096"
    return ""


def judge_log_folder(environment: Mapping[str, str]) -> str:
    """Return why ROS could not write its log files, or an empty string. Creates the folder, as ROS does."""
    folder = log_folder(environment)
    if folder is None:
        return "ROS has no log folder: set HOME, ROS_HOME or ROS_LOG_DIR"
    reason = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f" ({error.strerror})"
    if reason or not os.access(folder, os.W_OK | os.X_OK):
        return f"ROS cannot write its logs to {folder}{reason}: set ROS_LOG_DIR to a writable folder"
    return ""


def log_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of ROS log files, or ``None`` if no variable gives one."""
    home = environment.get("HOME", "")
    for variable, below in (("ROS_LOG_DIR", ""), ("ROS_HOME", "log"), ("HOME", ".ros/log")):
        value = environment.get(variable, "")
        if value == "~" or value.startswith("~/"):
            value = home + value[1:] if home else ""
        if value:
            return Path(value) / below
    return None


def _installed_rmws(prefixes: str) -> frozenset[str]:
    """Return the RMW implementations listed in ament's index; empty without an index."""
    index = "share/ament_index/resource_index/rmw_typesupport"
    folders = [Path(prefix) / index for prefix in prefixes.split(os.pathsep) if prefix]
    return frozenset(file.name for folder in folders if folder.is_dir() for file in folder.iterdir())


@cache
def _starts(rmw: str) -> bool:
    """Return whether ROS starts with ``rmw`` in a child process: the only test there is without ament's index."""
    environment = {**os.environ, "RMW_IMPLEMENTATION": rmw, "ROS_DOMAIN_ID": "0"}
    command = [sys.executable, "-c", _PROBE, "--ros-args", "--disable-external-lib-logs"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _any_of(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))
