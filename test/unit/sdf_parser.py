"""Validates a file with a real SDF parser: libsdformat, through Gazebo's command line."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest


def complaints(path: Path) -> str:
    """Return the parser's complaints about the SDF file at ``path``, empty if valid. Skip the test without a parser."""
    tool = _tool()
    if not tool:
        pytest.skip("no SDF parser: neither `gz sdf` nor `ign sdf` is installed")
    done = subprocess.run([tool, "sdf", "-k", str(path)], capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 and "Valid." in done.stdout else done.stdout + done.stderr or "not valid"


@lru_cache
def _tool() -> str:
    """Return the name of Gazebo's command line if it can read SDF, else an empty string."""
    for tool in ("gz", "ign"):
        asked = [tool, "sdf", "--versions"]
        if shutil.which(tool) and subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0:
            return tool
    return ""
