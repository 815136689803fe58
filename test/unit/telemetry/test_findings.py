"""One list of what is wrong with a process feeds log, metrics, diagnostics and the fleet's alerts, and is emptied."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from gateway_fixtures import Clock, Gateway

from drone_orchestrator.runtime.probe import Probe
from drone_orchestrator.runtime.projection import Freshness
from drone_orchestrator.runtime.space import Space
from drone_orchestrator.telemetry import findings
from drone_orchestrator.telemetry.diagnostics import Severity, Status
from drone_orchestrator.telemetry.findings import Findings, HeardFindings, LeaderClock, OpenFinding, from_values
from drone_orchestrator.telemetry.metrics import Metrics

DOCS = Path(__file__).resolve().parents[3] / "docs"


class Process:
    """A process with findings, and what is wrong with it."""

    def __init__(self, name: str = "orchestrator_a") -> None:
        self.wall = Clock()
        self.metrics = Metrics("orchestrator", "sf")
        self.findings = Findings(name, "sf", self.metrics, logging.getLogger("findings"), self.wall)
        self.archive = ""
        self.drones: dict[str, str] = {}
        self.findings.watch(findings.ARCHIVE_UNWRITABLE, findings.about_self(lambda: self.archive))
        self.findings.watch(findings.JOURNAL_UNWRITABLE, lambda: self.drones, is_logged=True)

    def active(self, kind: findings.FindingKind) -> float:
        return self.metrics.finding_active(finding=kind.name, severity=kind.severity)._value.get()


def values_of(status: Status) -> dict[str, str]:
    """Return the values as /diagnostics carries them."""
    return {"hint": status.hint, **{key: str(value) for key, value in status.values.items()}}


def test_a_finding_is_everywhere_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    process = Process()
    process.findings.refresh()
    assert not process.findings.open and not process.findings.statuses()
    assert process.active(findings.ARCHIVE_UNWRITABLE) == 0

    process.archive = "/data/archive: No space left on device"
    process.wall.now_s = 500.0
    process.findings.refresh()
    process.wall.now_s = 600.0
    process.findings.refresh()  # it lasts: since, log line and metric stay

    [found] = process.findings.open
    assert (found.name, found.severity, found.subject, found.since) == (
        "archive_unwritable",
        "critical",
        "orchestrator_a",
        500.0,
    )
    [status] = process.findings.statuses()
    assert status.name == "finding archive_unwritable orchestrator_a"
    assert status.severity is Severity.ERROR and status.message == process.archive and status.hint
    assert process.active(findings.ARCHIVE_UNWRITABLE) == 1
    [line] = [each.message for each in caplog.records]
    assert line.startswith("archive_unwritable: orchestrator_a: /data/archive: No space left on device (")

    process.archive = ""
    process.findings.refresh()
    assert not process.findings.open and process.active(findings.ARCHIVE_UNWRITABLE) == 0
    assert caplog.records[-1].message == "archive_unwritable: orchestrator_a: over"


def test_subjects_are_told_apart_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    process = Process("drone_executor")
    process.drones = {"drone_1": "disk full", "drone_2": "disk full"}
    process.findings.refresh()
    assert [each.subject for each in process.findings.open] == ["drone_1", "drone_2"]
    assert process.active(findings.JOURNAL_UNWRITABLE) == 2
    assert not caplog.records, "the drone logs it"


def test_a_finding_survives_the_way_through_diagnostics() -> None:
    process = Process()
    process.archive = "no space"
    process.findings.refresh()
    [status] = process.findings.statuses()
    assert from_values(status.message, values_of(status), "sf") == process.findings.open[0]
    assert from_values(status.message, values_of(status), "elsewhere") is None
    assert from_values("fine", {"hint": ""}, "sf") is None


def test_a_finding_that_is_not_repeated_is_over() -> None:
    clock = Clock()
    heard = HeardFindings(clock)
    found = OpenFinding("archive_unwritable", "critical", "orchestrator_a", 1.0, "no space", "")
    heard.hear("orchestrator_a", found)
    clock.now_s += findings.REPEATED_WITHIN_S
    assert heard.open() == [("orchestrator_a", found)]
    clock.now_s += 0.1
    assert heard.open() == []


def test_the_fleet_shows_its_own_findings_and_those_of_others_once() -> None:
    gateway = Gateway()
    gateway.findings.watch(findings.RECORDS_CORRUPT, lambda: {"sf": "1 record cannot be read"})
    gateway.findings.refresh()
    corrupt = OpenFinding("records_corrupt", "critical", "sf", 3.0, "1 record cannot be read", "")
    archive = OpenFinding("archive_unwritable", "critical", "orchestrator_a", 2.0, "no space", "")
    gateway.heard_findings.hear("saga_monitor", corrupt)
    gateway.heard_findings.hear("orchestrator_a", archive)
    alerts = [each for each in gateway.http.get("/fleet").json()["alerts"] if each["code"] != "no_leader"]
    assert [(each["code"], each["subject"], each["summary"]) for each in alerts] == [
        ("records_corrupt", "sf", "sf: 1 record cannot be read"),
        ("archive_unwritable", "orchestrator_a", "orchestrator_a: no space"),
    ]
    assert alerts[1]["severity"] == "critical" and alerts[1]["since"] == 2.0
    gateway.close()


def test_what_a_probe_says_is_a_finding() -> None:
    process, probe = Process(), Probe(True)
    findings.watch_probe(process.findings, lambda: probe)
    process.findings.refresh()
    assert not process.findings.open
    probe = Probe(False, reason="permission denied", is_denied=True, alarms=("NOSPACE",))
    process.findings.refresh()
    assert [each.name for each in process.findings.open] == ["store_denied", "store_full"]


def test_a_store_without_space_is_a_finding_of_each_process_that_measures_it() -> None:
    """A fleet without a monitor says so, too. The finding that the store fills up does not vanish without another."""
    process = Process()
    space: Space | None = None
    findings.watch_space(process.findings, lambda: space)

    def found() -> dict[str, str]:
        process.findings.refresh()
        return {each.name: each.text for each in process.findings.open}

    assert not found()
    space = Space(10, 100)
    assert not found()
    space = Space(70, 100)
    assert list(found()) == ["store_filling"]
    space = Space(70, 100, ("NOSPACE",))
    assert found() == {"store_full": "etcd takes no writes: alarm NOSPACE"}
    assert process.active(findings.STORE_FULL) == 1


def test_a_store_that_is_not_followed_is_a_finding() -> None:
    now = Freshness(5, 0.0)
    source = findings.not_followed(lambda: now)
    assert not source()
    now = Freshness(5, 12.0, "ZeroDivisionError: a defect")
    assert source() == {"": "the store has not been followed for 12 s: ZeroDivisionError: a defect"}
    now = Freshness(0, None, "no quorum")
    assert source() == {"": "the store was never reached: no quorum"}


@pytest.mark.parametrize(
    ("ahead_s", "text"),
    [
        ((-0.01, -0.02, -0.01), ""),
        ((-0.01, -8.0, -9.0), ""),  # late messages
        ((60.1, 60.0), ""),  # not enough of them
        ((60.1, 60.0, 59.9), "the leader's clock is 59.9 s ahead of this one"),
        ((0.0, -60.0, -61.0, -60.0), "the leader's clock is 60.0 s behind this one"),
    ],
)
def test_a_clock_is_skewed_if_messages_in_a_row_agree(ahead_s: tuple[float, ...], text: str) -> None:
    clock = LeaderClock()
    for each in ahead_s:
        clock.heard(each)
    assert clock.text() == text


def test_every_kind_has_a_row_in_the_runbooks() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "runbooks.md").read_text(encoding="utf-8"), re.M)
    assert {kind.name for kind in findings.KINDS} <= set(rows)
