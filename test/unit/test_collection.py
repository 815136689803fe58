"""A missing package skips the tests that need it, also where launch_testing is installed, as with ``colcon test``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Hides packages, and imports every module when pytest asks for its collector, as launch_testing's plugin does.
PLUGIN = """
import importlib.util
import sys

for name in ("playwright", "shapely", "schemathesis", "launch_pytest"):
    sys.modules[name] = None  # an import raises ModuleNotFoundError


def pytest_pycollect_makemodule(module_path, parent):
    spec = importlib.util.spec_from_file_location("looked_into", module_path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""
NEEDY = (
    "test/browser/test_dashboard.py",
    "test/e2e/test_gateway_openapi.py",
    "test/launch/test_group.py",
    "test/property/test_zone_properties.py",
    "test/unit/telemetry/test_fleet_markers.py",
)


def test_a_missing_package_skips_only_the_modules_that_need_it(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLUGIN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-p", "planted", "-p", "no:schemathesis", "--collect-only"]
    done = subprocess.run(
        [*command, *NEEDY, "test/unit/bringup/test_dds.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_dds.py" in done.stdout
    for each in NEEDY:
        assert f"SKIPPED [1] {each}" in done.stdout, done.stdout
