"""Registry of the running local fleets, so that ``fleetctl`` finds the one on this machine without options.

Each fleet has a small file in the user's runtime folder, which is removed when the fleet stops. If the runner was
killed, the next reader ignores and removes its file.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from . import leftovers
from .operator_files import FileRefused, parse_json, read_text


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """Addresses of one local fleet.

    ``environment`` is what ROS programs need to see it, ``fleet_config`` the absolute path of its description (empty:
    the packaged one).
    """

    pid: int
    region: str
    etcd_endpoints: str
    url: str
    data_dir: str
    environment: dict[str, str]
    started_at: float
    fleet_config: str = ""


#: The types of a file's fields.
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "pid": int,
    "region": str,
    "etcd_endpoints": str,
    "url": str,
    "data_dir": str,
    "environment": dict,
    "started_at": (int, float),
    "fleet_config": str,
}


def _folder() -> Path:
    """Return the folder of this user's fleets. ``sudo`` and ``su`` keep the ``XDG_RUNTIME_DIR`` of another user."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(base if base and _is_mine(Path(base)) else tempfile.gettempdir()) / f"drone_orchestrator-{os.getuid()}"


def _is_mine(folder: Path) -> bool:
    try:
        return folder.is_dir() and folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def register(fleet: RunningFleet) -> Path:
    """Register ``fleet``, and return the path for :func:`unregister`. Raises ``OSError``."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_mine(folder):
        raise PermissionError(errno.EPERM, "this folder must belong to the user", str(folder))
    path = folder / f"{fleet.pid}.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(fleet)), encoding="utf-8")
    temporary.replace(path)  # a reader never sees half of it
    return leftovers.note(path)


def unregister(path: Path) -> None:
    """Make a fleet unknown again."""
    leftovers.remove(path)


def running() -> list[RunningFleet]:
    """Return the local fleets of this user, the newest first."""
    out: list[RunningFleet] = []
    folder = _folder()
    for path in folder.glob("*.json") if _is_mine(folder) else ():
        if not _is_alive(path.stem):
            path.unlink(missing_ok=True)
            continue
        try:
            out.append(_read(path))
        except FileRefused:
            continue  # its fleet has just gone, or is of another version: then it is not ours to remove
    return sorted(out, key=lambda f: -f.started_at)


def _is_alive(pid: str) -> bool:
    return pid.isdecimal() and Path("/proc", pid).exists()


def _read(path: Path) -> RunningFleet:
    """Return the fleet in a file. Fields of a later version are ignored. Raises :class:`FileRefused`."""
    document = parse_json(read_text(path), path)
    if not isinstance(document, dict):
        raise FileRefused(f"{path}: must be an object")
    given = {name: value for name, value in document.items() if name in _KINDS}
    wrong = [name for name, value in given.items() if not isinstance(value, _KINDS[name])]
    missing = [each.name for each in fields(RunningFleet) if each.name not in given and each.default is MISSING]
    if wrong or missing:
        raise FileRefused(f"{path}: {', '.join([*wrong, *missing])}: wrong or missing")
    environment = {str(name): str(value) for name, value in given["environment"].items()}
    return RunningFleet(**{**given, "environment": environment})
