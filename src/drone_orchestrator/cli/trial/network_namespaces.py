"""An isolated network for a run: no packet leaves it, and the cable of every host in it can be pulled.

A host is a Linux network namespace with one Ethernet cable (a veth pair) to a bridge in the run's own namespace. A
cable is pulled at the bridge's end, so the host sees a link without carrier: no packet arrives or leaves, and no
program is notified. No clean-up is needed: the kernel removes a namespace with its last process and open file. It works
for root, and for other users if user namespaces are allowed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

_BRIDGE = "fleet"
_SUBNET = "10.213.0"
_INSIDE = "DRONE_ORCHESTRATOR_OWN_NETWORK"
_COMMAND_TIMEOUT_S = 10.0
_TOOLS = ("unshare", "nsenter", "ip")
#: Folders of system tools, often missing from the PATH of ordinary users.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class NoNamespace(RuntimeError):
    """Network namespaces are not available to this user; the text says why in one line."""


def inside() -> bool:
    """Return True if this process was started by :func:`enter`."""
    return os.environ.get(_INSIDE) == str(os.getpid())


def way_in() -> list[str]:
    """Return the prefix that runs a command in a new network namespace.

    Raises :class:`NoNamespace` if the machine does not allow that.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_PATH) is None]
    if missing:
        raise NoNamespace(f"not installed: {', '.join(missing)} (packages util-linux, iproute2)")
    trial = "ip link set lo up && ip link add name v0 type veth peer name v1 && ip link add name b0 type bridge"
    refusal = None
    # Root needs no user namespace, which may be forbidden; other users become root in one.
    for way in (["unshare", "-n", "--"], ["unshare", "-rn", "--"]):
        try:
            _run([*way, "sh", "-c", f"{trial} && unshare -n true"])
            return way
        except NoNamespace as error:
            refusal = error
    raise NoNamespace(f"no network namespace can be had: {refusal}")


def enter(way: Sequence[str], command: Sequence[str]) -> None:
    """Become ``command`` in a new network namespace, with the same process id. Returns only by raising."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(way[0], [*way, *command], {**os.environ, _INSIDE: str(os.getpid())})


class NamespaceNetwork:
    """Bridge and its hosts, in the namespace of this process, which must be isolated (:func:`enter`)."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[int, int]] = {}  # name -> (number, open file of its namespace)
        _run(["ip", "link", "set", "lo", "up"])
        # No IPv6, no spanning tree, no snooping: multicast reaches every host from the start.
        _run(["ip", "link", "add", "name", _BRIDGE, "type", "bridge", "stp_state", "0", "mcast_snooping", "0"])
        _run(["ip", "address", "add", f"{_SUBNET}.1/24", "dev", _BRIDGE])
        _run(["ip", "link", "set", _BRIDGE, "up"])

    def add(self, host: str) -> None:
        """Create a host with its cable plugged in."""
        number = len(self._hosts) + 2
        holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdin is not None and holder.stdout is not None
        try:
            if holder.stdout.readline() != b"ready\n":
                raise NoNamespace("a namespace for a host cannot be made")
            self._hosts[host] = (number, os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            _run(
                [
                    "ip",
                    "link",
                    "add",
                    "name",
                    _port(number),
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    str(holder.pid),
                ]
            )
        finally:
            holder.stdin.close()
            holder.stdout.close()
            holder.wait()
        _run(["ip", "link", "set", _port(number), "master", _BRIDGE, "up"])
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "address", "add", f"{_SUBNET}.{number}/24", "dev", "eth0"],
            ["ip", "link", "set", "eth0", "up"],
        ):
            _run([*self.prefix(host), *command])

    def prefix(self, host: str) -> list[str]:
        """Return the prefix that runs a command line on ``host``."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._hosts[host][1]}", "--"]

    def pull(self, host: str) -> None:
        """Pull the cable."""
        _run(["ip", "link", "set", _port(self._hosts[host][0]), "down"])

    def plug(self, host: str) -> None:
        """Plug the cable in again."""
        _run(["ip", "link", "set", _port(self._hosts[host][0]), "up"])

    def close(self) -> None:
        """Release the hosts; each disappears once no process runs on it."""
        while self._hosts:
            os.close(self._hosts.popitem()[1][1])


def _port(number: int) -> str:
    return f"cable{number}"


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PATH": _PATH},
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoNamespace(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NoNamespace(f"{' '.join(command[:4])}: {lines[-1]}")
