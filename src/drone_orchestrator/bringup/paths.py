"""Folders of the packaged files, installed or in a checkout, and of data."""

from __future__ import annotations

import os
from pathlib import Path


def share_dir() -> Path:
    """Return the folder that holds ``config/`` and ``launch/``: the ament share folder, else the checkout.

    Raises :class:`FileNotFoundError` that lists the folders tried.
    """
    tried: list[Path] = []
    try:
        from ament_index_python.packages import get_package_share_directory

        try:
            tried.append(Path(get_package_share_directory("drone_orchestrator")))
        except (LookupError, OSError):
            pass  # not installed by colcon, or no ROS environment at all
    except ImportError:
        pass
    tried.append(Path(__file__).resolve().parents[3])
    for folder in tried:
        if (folder / "config" / "fleet.yaml").is_file():
            return folder
    raise FileNotFoundError(f"config/fleet.yaml is in none of: {', '.join(map(str, tried))}")


def default_fleet_config() -> Path:
    """Return the packaged fleet configuration."""
    return share_dir() / "config" / "fleet.yaml"


def default_data_dir() -> Path:
    """The folder of what must outlive a process, unless a parameter names one: ``$ROS_HOME/drone_orchestrator``.

    Raises :class:`FileNotFoundError` if the user has no home folder.
    """
    try:
        return expanded(os.environ.get("ROS_HOME") or "~/.ros") / "drone_orchestrator"
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, or set ROS_HOME") from error


def expanded(path: str) -> Path:
    """Return ``path`` with the home folder in place of a leading ``~``.

    Raises :class:`FileNotFoundError` if there is no such home folder.
    """
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise FileNotFoundError(f"{path}: there is no such home folder; write the whole path")
    return Path(found)
