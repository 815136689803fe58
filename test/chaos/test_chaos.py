"""``fleetctl chaos``: a short run passes, and reports it in the form of its contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.bringup.local_fleet import dies_with_parent
from drone_orchestrator.cli.trial import network_namespaces

FLEETCTL = [sys.executable, "-m", "drone_orchestrator.cli.main"]


def chaos(cwd: Path, *args: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*dies_with_parent(), *FLEETCTL, "chaos", *args],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )


def test_an_unknown_kind_of_fault_is_one_line_that_names_the_known_ones(tmp_path: Path) -> None:
    done = chaos(tmp_path, "--faults", "kill,earthquake")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "earthquake" in line and "dds_cut" in line
    assert list(tmp_path.iterdir()) == []


def test_without_namespaces_dds_is_not_cut_and_the_reason_is_given(tmp_path: Path) -> None:
    done = chaos(tmp_path, "--faults", "dds_cut", path=str(tmp_path))
    assert done.returncode == 2
    assert "dds_cut is left out: not installed: unshare" in done.stdout
    assert "nothing is left to do" in done.stderr


@pytest.mark.ros
@pytest.mark.etcd
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_short_run_with_kills_hangs_and_cuts_passes(tmp_path: Path) -> None:
    # This seed plans each kind within 7 s, and not for the leader: there may be none at that moment.
    done = chaos(
        tmp_path,
        *("--seconds", "12", "--seed", "5", "--drones", "4", "--time-scale", "100"),
        *("--faults", "kill,hang,etcd_cut,dds_cut", "--settle", "400", "--json"),
    )
    assert done.stdout, done.stderr
    [line] = done.stdout.splitlines()
    document = json.loads(line)
    assert done.returncode == 0, (document, done.stderr)
    assert document["orders_submitted"] == document["delivered"] > 0
    assert (document["lost"], document["duplicates"], document["failed"]) == (0, 0, 0)
    assert set(document["invariants"].values()) == {0}
    assert {"cancelled", "failovers", "wall_s"} <= set(document)
    wanted = {"kill", "hang", "etcd_cut", "dds_cut"} - ({"dds_cut"} if _no_namespaces() else set())
    assert {fault["kind"] for fault in document["faults"]} == wanted
    assert all(fault["target"] and fault["at_s"] >= 0.0 for fault in document["faults"])
    report = Path(document["report"])
    assert json.loads(report.read_text())["faults"] == document["faults"]
    assert (report.parent / "timeline.png").stat().st_size > 10_000


def _no_namespaces() -> bool:
    try:
        network_namespaces.way_in()
    except network_namespaces.NoNamespace:
        return True
    return False
