"""Which local fleets run now, so that ``fleetctl`` finds the one on this machine without being told where it is.

One small file per fleet below the user's runtime folder, removed when the fleet stops. A file whose process is gone
(the runner was killed) counts for nothing and is removed by the next reader.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from . import leftovers


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """Where one local fleet can be reached; ``environment`` is what ROS programs need to see it."""

    pid: int
    region: str
    etcd_endpoints: str
    url: str
    data_dir: str
    environment: dict[str, str]
    started_at: float


def _folder() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"drone_orchestrator-{os.getuid()}"


def register(fleet: RunningFleet) -> Path:
    """Make ``fleet`` known; give the path back to :func:`unregister`."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{fleet.pid}.json"
    path.write_text(json.dumps(asdict(fleet)))
    return leftovers.note(path)


def unregister(path: Path) -> None:
    """Make a fleet unknown again."""
    leftovers.remove(path)


def running() -> list[RunningFleet]:
    """Local fleets of this user, the newest first."""
    out: list[RunningFleet] = []
    for path in _folder().glob("*.json"):
        try:
            fleet = RunningFleet(**json.loads(path.read_text()))
            os.kill(fleet.pid, 0)
        except FileNotFoundError:
            continue
        except (ProcessLookupError, ValueError, TypeError):
            path.unlink(missing_ok=True)
            continue
        out.append(fleet)
    return sorted(out, key=lambda f: -f.started_at)
