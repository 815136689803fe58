"""Asks a real SDF parser what it thinks of a file: libsdformat, through Gazebo's tools or inside the drake wheel."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest


def complaints(path: Path) -> str:
    """What the parser has against the SDF file at ``path``; empty where it is valid. Skips where there is no parser."""
    tool = _tool()
    if tool:
        done = subprocess.run([tool, "sdf", "-k", str(path)], capture_output=True, text=True, timeout=60, check=False)
        return "" if done.returncode == 0 and "Valid." in done.stdout else done.stdout + done.stderr or "not valid"
    if importlib.util.find_spec("pydrake") is None:
        pytest.skip("no SDF parser: apt install ignition-tools libsdformat12-12 libsdformat-dev sdformat-sdf")
    return _drake(path)


@lru_cache
def _tool() -> str:
    """Gazebo's command line, where it can read SDF."""
    for tool in ("gz", "ign"):
        asked = [tool, "sdf", "--versions"]
        if shutil.which(tool) and subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0:
            return tool
    return ""


def _drake(path: Path) -> str:
    try:
        from pydrake.multibody.parsing import Parser
        from pydrake.multibody.plant import MultibodyPlant
    except ImportError as error:
        pytest.skip(
            f"no SDF parser: apt install libglib2.0-0t64 libx11-6 libsm6 ({str(error).strip().splitlines()[-1]})"
        )
    plant = MultibodyPlant(time_step=0.001)  # a parser does not keep it alive
    try:
        Parser(plant).AddModels(str(path))
    except RuntimeError as error:
        return str(error)
    return ""
