"""Checks of this machine. Each examines one thing, which is an argument."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import psutil

from ... import __version__
from ...bringup import fleet_config, paths, running_fleets
from ...bringup.etcd_process import EtcdNotStarted, find_etcd
from ...bringup.operator_files import FileRefused
from ...ros.environment import judge_log_folder, judge_profile, judge_rmw, log_folder
from .finding import OK, Finding, error, ok, warning

MIN_FREE_BYTES = 1 << 30
TOO_FEW_BYTES = 64 << 20
#: A process of six drones has about a hundred descriptors open; a gateway needs one more per client.
MIN_DESCRIPTORS = 1024
TOO_FEW_DESCRIPTORS = 256
#: Higher domains would use ports in the ephemeral range of Linux.
MAX_DOMAIN = 101
_SHM_NAMES = ("fastrtps_", "fastdds_", "sem.fastrtps_", "sem.fastdds_")
_CHANGES_SHOWN = 3


def python_version(version: tuple[int, int] = (sys.version_info[0], sys.version_info[1])) -> Finding:
    """Check that wheels exist for this Python."""
    if not (3, 10) <= version <= (3, 13):
        found = ".".join(map(str, version))
        return error("python", found, "use Python 3.10 to 3.13: make setup PYTHON=python3.12")
    return ok("python", f"{platform.python_version()} at {sys.executable}")


def ros_installation(environment: Mapping[str, str]) -> Finding:
    """Check that rclpy and the messages can be imported."""
    problem = judge_rmw(environment)
    if problem:  # importing rclpy would end this process
        return error("ros", problem, "unset RMW_IMPLEMENTATION, or install what it names")
    try:
        from ...ros import fleet_client
    except ImportError as missing:
        hint = "make setup, or source your ROS 2 installation and the workspace (colcon build)"
        return error("ros", str(missing), hint)
    return ok("ros", fleet_client.installation())


def interfaces(share: Path | None, sources: Path | None, version: str = __version__) -> Finding:
    """Check that the built messages match this program.

    ``share``: the installed share folder of drone_interfaces, or ``None``. ``sources``: the package in a checkout, or
    ``None``.
    """
    name, hint = "interfaces", "make interfaces, or colcon build and source it again in every terminal"
    if share is None or not share.is_dir():
        return error(name, "drone_interfaces is not built", hint)
    try:
        built = ElementTree.parse(share / "package.xml").findtext("version") or "?"
    except (OSError, ElementTree.ParseError) as problem:
        return error(name, f"{share}: {problem}", hint)
    if built != version:
        return error(name, f"built for version {built}, but this program is {version}", hint)
    changed = _changed_messages(share, sources) if sources is not None else []
    if changed:
        more = f" and {len(changed) - _CHANGES_SHOWN} more" if len(changed) > _CHANGES_SHOWN else ""
        return error(name, f"changed since they were built: {', '.join(changed[:_CHANGES_SHOWN])}{more}", hint)
    return ok(name, f"version {built}, as in {share}")


def _changed_messages(share: Path, sources: Path) -> list[str]:
    """Return messages whose source differs from the built one, or that are not built."""
    changed = []
    for path in sorted(p for kind in ("msg", "srv", "action") for p in (sources / kind).glob(f"*.{kind}")):
        built = share / path.parent.name / path.name
        if not built.is_file() or built.read_bytes() != path.read_bytes():
            changed.append(f"{path.parent.name}/{path.name}")
    return changed


def etcd_binary() -> Finding:
    """Check that there is an etcd for a local fleet."""
    try:
        return ok("etcd binary", find_etcd())
    except EtcdNotStarted as problem:
        return error("etcd binary", str(problem), "apt install etcd-server, or set ETCD_BIN")


def fleet_description(path: str | None = None) -> Finding:
    """Check that the fleet description is valid."""
    try:
        spec = fleet_config.load(path)
    except (FileRefused, FileNotFoundError) as problem:
        return error("fleet config", str(problem), "correct the file")
    notes = fleet_config.cautions(spec)
    if notes:
        return warning("fleet config", notes[0], "correct the corners of the zone, or remove it")
    return ok("fleet config", f"{spec.region}: {', '.join(c.name for c in spec.classes)}")


def loopback() -> Finding:
    """Check UDP over loopback, which DDS needs on one machine."""
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(1.0)
            sender.sendto(b"ping", receiver.getsockname())
            receiver.recv(16)
    except OSError as problem:
        return error("loopback", str(problem), "ip link set lo up; check the firewall")
    return ok("loopback", "UDP on 127.0.0.1 arrives")


def ros_domain(environment: Mapping[str, str], fleets: Iterable[running_fleets.RunningFleet] = ()) -> Finding:
    """Check that ROS programs of this terminal can discover others, in particular a fleet of this machine."""
    name, domain = "dds domain", environment.get("ROS_DOMAIN_ID", "0") or "0"
    if not domain.isdecimal() or int(domain) > MAX_DOMAIN:
        return error(name, f"ROS_DOMAIN_ID={domain}", f"export ROS_DOMAIN_ID= a number from 0 to {MAX_DOMAIN}")
    problem = judge_profile(environment)
    if problem:
        return error(name, problem, "no node starts; give the whole path of the profile")
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if reach.upper() == "OFF":
        hint = "unset ROS_AUTOMATIC_DISCOVERY_RANGE, or SUBNET; on one machine LOCALHOST"
        return error(name, "ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: programs cannot discover each other", hint)
    if environment.get("ROS_LOCALHOST_ONLY", "0") == "1":
        hint = "unset ROS_LOCALHOST_ONLY, unless all of the fleet is on this machine"
        return warning(name, "ROS_LOCALHOST_ONLY=1: drones on other machines are not heard", hint)
    others = sorted({f.environment.get("ROS_DOMAIN_ID", "0") for f in fleets} - {domain})
    if others:
        hint = f"fleetctl finds the fleet by itself; for ros2 tools: export ROS_DOMAIN_ID={others[0]}"
        return Finding(name, OK, f"{domain} here, {', '.join(others)} in the fleet of this machine", hint)
    return ok(name, f"{domain}, discovery {reach or 'as ROS has it by default'}")


def ros_logs(environment: Mapping[str, str]) -> Finding:
    """Check that ROS nodes can write their log files."""
    problem = judge_log_folder(environment)
    if problem:
        return error("ros logs", problem, "without them no node starts; fleetctl up keeps those of its own fleet")
    return ok("ros logs", f"in {log_folder(environment)}")


def temporary_folder(folder: Path) -> Finding:
    """Check the space for logs, journals and the history of etcd."""
    return _folder("disk", folder, "free some space, or set TMPDIR")


def data_folder(folder: Path | None = None) -> Finding:
    """Check that journals and archives can be written. A missing folder is made by the node that needs it."""
    name, hint = "data folder", "give the folder to the user that runs the drones, or set data_dir (ROS_HOME)"
    try:
        folder = folder or paths.default_data_dir()
    except FileNotFoundError as problem:
        return error(name, str(problem), hint)
    return _folder(name, folder, hint)


def _folder(name: str, folder: Path, hint: str) -> Finding:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not existing.is_dir():
        return error(name, f"{existing} is not a folder", hint)
    if not os.access(existing, os.W_OK | os.X_OK):
        return error(name, f"{existing} is not writable", hint)
    free = shutil.disk_usage(existing).free
    if free < TOO_FEW_BYTES:
        return error(name, f"{free >> 20} MiB free in {existing}", hint)
    if free < MIN_FREE_BYTES:
        return warning(name, f"{free >> 20} MiB free in {existing}", hint)
    return ok(name, f"{free >> 30} GiB free in {existing}")


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Check that killed DDS processes left nothing in shared memory: a mutex in it can make others hang."""
    try:
        left = left_in_shared_memory(folder)
    except OSError as problem:
        hint = "mount a tmpfs there, or run DDS over UDP only"
        return warning("shared memory", f"{folder}: {problem.strerror}", hint)
    if left:
        hint = f"stop ROS programs, then: rm {folder}/{{fastrtps,fastdds,sem.fastrtps}}_*   (or: fastdds shm clean)"
        return warning("shared memory", f"{len(left)} files of killed DDS processes, such as {left[0]}", hint)
    return ok("shared memory", "DDS left nothing behind")


def left_in_shared_memory(folder: Path = Path("/dev/shm")) -> list[str]:
    """Return this user's DDS segments that no process uses, and their mutexes. Raises ``OSError``."""
    mine = {p.name for p in folder.iterdir() if p.name.startswith(_SHM_NAMES) and p.stat().st_uid == os.getuid()}
    used = {Path(path).name for path in (_in_use(str(folder)) if mine else ())}
    # A mapped mutex has another name than its file; it lives as long as its segment.
    return sorted(name for name in mine if name.removeprefix("sem.").removesuffix("_mutex") not in used)


def _in_use(folder: str) -> set[str]:
    """Return files below ``folder`` that a process of this user has open or mapped. Locks nothing."""
    found: set[str] = set()
    for pid in psutil.pids():
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            found |= {line[line.index(folder) :].removesuffix(" (deleted)") for line in lines if folder in line}
            descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue  # it ended, or belongs to another user
        for link in descriptors:
            try:
                found.add(os.readlink(link))
            except OSError:
                pass  # closed meanwhile
    return found


def open_files(limit: int | None = None) -> Finding:
    """Check the limit of open files and sockets per process."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    hint = "ulimit -n 4096 (LimitNOFILE= in a systemd unit)"
    if soft != resource.RLIM_INFINITY and soft < MIN_DESCRIPTORS:
        found = error if soft < TOO_FEW_DESCRIPTORS else warning
        return found("open files", f"{soft} for each process", hint)
    return ok("open files", "unlimited" if soft == resource.RLIM_INFINITY else f"{soft} for each process")


def http_port(port: int, fleets: Iterable[running_fleets.RunningFleet], host: str = "127.0.0.1") -> Finding:
    """Check that the gateway's port is free, or used by the gateway of a local fleet."""
    name = "http port"
    if any(fleet.url.endswith(f":{port}") for fleet in fleets):
        return ok(name, f"{port} is that of the local fleet")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            who = _listener(port)
            hint = f"stop {who or 'what listens there'}, or choose another port: fleetctl up --http-port 0"
            return warning(name, f"{port} is in use by {who or 'another user'}: {problem.strerror}", hint)
    return ok(name, f"{port} is free")


def _listener(port: int) -> str:
    """Return the process that listens on a TCP port, or an empty string if unknown."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.laddr and found.laddr.port == port and found.status == psutil.CONN_LISTEN and found.pid:
                return f"{psutil.Process(found.pid).name()} (pid {found.pid})"
    except psutil.Error:
        return ""
    return ""


def supervision() -> Finding:
    """Check that processes end with the program that started them."""
    if shutil.which("setpriv") is None:
        hint = "apt install util-linux; without it a killed runner leaves its processes behind"
        return warning("setpriv", "not found", hint)
    return ok("setpriv", "processes end with their runner")


def local_fleets(fleets: Iterable[running_fleets.RunningFleet]) -> Finding:
    """List the fleets that ``fleetctl up`` runs here."""
    found = [f"pid {fleet.pid} at {fleet.url}" for fleet in fleets]
    return ok("local fleet", ", ".join(found) or "none is running")
