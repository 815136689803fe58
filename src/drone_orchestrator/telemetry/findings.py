"""Findings: what is wrong with a process right now, in one list that feeds every place where people look.

Each process keeps its own :class:`Findings`. They go to its log when they change, to its metrics (``finding_active``)
and to ``/diagnostics``, once a second. Gateways and ``fleetctl doctor`` listen to ``/diagnostics`` of all processes;
so ``GET /fleet`` and the dashboard show the findings, too. That channel needs neither the store nor a leader, which are
often what is wrong. A finding that is not repeated is over: a process that ends takes its findings with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..core.leader.blame import CONFIGURATION, REFUSED, UNHEARD
from ..runtime.breaker import StoreBreaker
from ..runtime.probe import Probe
from ..runtime.projection import PROOF_WITHIN_S, Freshness
from ..runtime.space import Space
from .diagnostics import MOST_NAMES, Severity, Status
from .metrics import Metrics

CRITICAL, WARNING = "critical", "warning"
#: Beginning of the name of a status that carries a finding.
PREFIX = "finding "
#: A finding that its process has not repeated for this long (s) is over; processes repeat them once a second.
REPEATED_WITHIN_S = 4.0
#: A projection that has not followed the store for this long (s) is a finding.
NOT_FOLLOWED_S = 3.0
#: Clocks synchronised by NTP differ by less (s).
SKEW_S = 1.0


@dataclass(frozen=True, slots=True)
class FindingKind:
    """Kind of finding. ``hint`` says what to do; docs/runbooks.md has a row for each."""

    name: str
    severity: str
    hint: str


ARCHIVE_UNWRITABLE = FindingKind(
    "archive_unwritable",
    CRITICAL,
    "make room in archive_dir, or let it be written; orders stay in etcd until then",
)
STORE_DENIED = FindingKind("store_denied", CRITICAL, "give this process's etcd user the role of its kind")
STORE_FULL = FindingKind("store_full", CRITICAL, "compact and defragment etcd, then `etcdctl alarm disarm`")
STORE_FILLING = FindingKind(
    "store_filling",
    WARNING,
    "shorten retention_s, or raise etcd's quota and store_quota_mib; see docs/howto/etcd_backup.md",
)
STORE_HELD = FindingKind(
    "store_held", CRITICAL, "compare the store with drones and archive, then `fleetctl store restored --yes`"
)
STORE_NOT_FOLLOWED = FindingKind(
    "store_not_followed", CRITICAL, "see etcd and the network to it; if both are well, restart this process"
)
JOURNAL_UNWRITABLE = FindingKind(
    "journal_unwritable", CRITICAL, "make room on the drone's disk, or repair it; the drone then goes on by itself"
)
DRONE_OUT_OF_SERVICE = FindingKind(
    "drone_out_of_service", CRITICAL, "its log has the reason; it is brought back by itself once that is gone"
)
RECORDS_CORRUPT = FindingKind("records_corrupt", CRITICAL, "repair or remove the keys, then run `fleetctl audit`")
QOS_INCOMPATIBLE = FindingKind(
    "qos_incompatible", CRITICAL, "give both sides profiles that fit, see `ros2 topic info -v TOPIC` and docs/qos.md"
)
DRONE_HEARD_TWICE = FindingKind(
    "drone_heard_twice", CRITICAL, "stop one of the two processes, and give it an id and a journal of its own"
)
FOREIGN_FLEET = FindingKind(
    "foreign_fleet",
    WARNING,
    "give each fleet a ROS_DOMAIN_ID or a namespace of its own; if the drone has changed fleets, set its fleet_id",
)
ORDERS_WAIT = FindingKind("orders_wait", WARNING, "`fleetctl order show ID` and GET /orders/ID say what is missing")
LEADER_UNHEARD = FindingKind(
    "leader_unheard",
    CRITICAL,
    "see the network between this process and the drones; if another replica hears them, `fleetctl leader --handover`",
)
CONFIGURATION_DIFFERS = FindingKind(
    "configuration_differs",
    CRITICAL,
    "give orchestrators and drones the same fleet description, and restart those that have another one",
)
GOALS_REFUSED = FindingKind(
    "goals_refused", WARNING, "docs/reasons.md explains the reason; the drone gets fewer orders until it accepts one"
)
CONFIGURATION_OUTDATED = FindingKind(
    "configuration_outdated",
    WARNING,
    "give all replicas the same fleet.yaml; after a change raise `version` in it, and restart them",
)
CLOCK_SKEW = FindingKind("clock_skew", WARNING, "chronyc tracking, or timedatectl set-ntp true, on both machines")
INTERFACE_MISSING = FindingKind("interface_missing", WARNING, "restart this process, so that DDS uses the interface")
LOOP_FAILING = FindingKind("loop_failing", WARNING, "its log has the reason; it is retried")
KINDS = (
    ARCHIVE_UNWRITABLE,
    STORE_DENIED,
    STORE_FULL,
    STORE_FILLING,
    STORE_HELD,
    STORE_NOT_FOLLOWED,
    JOURNAL_UNWRITABLE,
    DRONE_OUT_OF_SERVICE,
    DRONE_HEARD_TWICE,
    RECORDS_CORRUPT,
    QOS_INCOMPATIBLE,
    FOREIGN_FLEET,
    ORDERS_WAIT,
    LEADER_UNHEARD,
    CONFIGURATION_DIFFERS,
    GOALS_REFUSED,
    CONFIGURATION_OUTDATED,
    CLOCK_SKEW,
    INTERFACE_MISSING,
    LOOP_FAILING,
)

#: Returns what is wrong now, by subject; the empty subject is the process itself.
Source = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """Something that is wrong now. ``subject`` is a drone, a topic or a process; ``since`` is wall time (s)."""

    name: str
    severity: str
    subject: str
    since: float
    text: str
    hint: str


class Findings:
    """The findings of one process, gathered from sources at each :meth:`refresh`. Any thread may read :attr:`open`."""

    def __init__(
        self,
        process: str,
        region: str,
        metrics: Metrics,
        log: logging.Logger | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.open: tuple[OpenFinding, ...] = ()
        self._process = process
        self._region = region
        self._log = log or logging.getLogger(__name__)
        self._wall = wall
        self._sources: list[tuple[FindingKind, Source, bool]] = []
        self._gauges = {kind.name: metrics.finding_active(finding=kind.name, severity=kind.severity) for kind in KINDS}
        for gauge in self._gauges.values():
            gauge.set(0)

    def watch(self, kind: FindingKind, source: Source, *, is_logged: bool = False) -> None:
        """Ask ``source`` at every refresh. ``is_logged``: its part of the program logs this trouble itself."""
        self._sources.append((kind, source, is_logged))

    def refresh(self) -> None:
        """Ask all sources; log what has begun and what is over; set the metrics."""
        before = {(each.name, each.subject): each for each in self.open}
        now: dict[tuple[str, str], OpenFinding] = {}
        quiet = set()
        for kind, source, is_logged in self._sources:
            for subject, text in source().items():
                about = subject or self._process
                known = before.get((kind.name, about))
                since = known.since if known is not None else self._wall()
                now[kind.name, about] = OpenFinding(kind.name, kind.severity, about, since, text, kind.hint)
                if is_logged:
                    quiet.add((kind.name, about))
        for key in now.keys() - before.keys() - quiet:
            found = now[key]
            level = logging.ERROR if found.severity == CRITICAL else logging.WARNING
            self._log.log(level, "%s: %s: %s (%s)", found.name, found.subject, found.text, found.hint)
        for key in before.keys() - now.keys():
            self._log.info("%s: %s: over", *key)
        self.open = tuple(now[key] for key in sorted(now))
        for name, gauge in self._gauges.items():
            gauge.set(sum(1 for each in self.open if each.name == name))

    def statuses(self) -> list[Status]:
        """Return a status for each open finding."""
        return [_to_status(each, self._region) for each in self.open[:MOST_NAMES]]


class HeardFindings:
    """Findings of other processes, as they repeat them. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[tuple[str, str, str], tuple[OpenFinding, float]] = {}

    def hear(self, process: str, finding: OpenFinding) -> None:
        """Note that ``process`` reports ``finding`` now."""
        with self._lock:
            self._heard[process, finding.name, finding.subject] = (finding, self._clock())

    def open(self) -> list[tuple[str, OpenFinding]]:
        """Return each process with what it still reports, sorted."""
        with self._lock:
            now_s = self._clock()
            self._heard = {key: each for key, each in self._heard.items() if now_s - each[1] <= REPEATED_WITHIN_S}
            return [(key[0], self._heard[key][0]) for key in sorted(self._heard)]


def _to_status(found: OpenFinding, region: str) -> Status:
    level = Severity.ERROR if found.severity == CRITICAL else Severity.WARN
    values = {"finding": found.name, "severity": found.severity, "subject": found.subject}
    values |= {"since": f"{found.since:.3f}", "region": region}
    return Status(f"{PREFIX}{found.name} {found.subject}", level, found.text, found.hint, values)


def from_values(text: str, values: Mapping[str, str], region: str = "") -> OpenFinding | None:
    """Return the finding of a status with this message and ``values``; ``None`` if it is none, or of another region."""
    if "finding" not in values or (region and values.get("region") not in ("", region)):
        return None
    try:
        since = float(values.get("since", ""))
    except ValueError:
        since = 0.0
    severity = CRITICAL if values.get("severity") == CRITICAL else WARNING
    return OpenFinding(values["finding"], severity, values.get("subject", ""), since, text, values.get("hint", ""))


# --- sources ----------------------------------------------------------------------------------------------------------


def about_self(text: Callable[[], str]) -> Source:
    """Return a source for one sentence about the process, empty if nothing is wrong."""

    def source() -> Mapping[str, str]:
        said = text()
        return {"": said} if said else {}

    return source


def not_followed(freshness: Callable[[], Freshness]) -> Source:
    """Return a source for a projection that does not follow the store."""

    def text() -> str:
        now = freshness()
        why = f": {now.trouble}" if now.trouble else ""
        if not now.loaded:
            return f"the store was never reached{why}" if why else ""
        stale_s = now.stale_s or 0.0
        return f"the store has not been followed for {stale_s:.0f} s{why}" if stale_s > NOT_FOLLOWED_S else ""

    return about_self(text)


def silent_watch(silent_s: Callable[[], float]) -> Source:
    """Return a source for a watch that shows no sign of life."""

    def text() -> str:
        quiet_s = silent_s()
        return f"the watch has shown no sign of life for {quiet_s:.0f} s" if quiet_s > PROOF_WITHIN_S else ""

    return about_self(text)


def watch_drones(findings: Findings, troubles: Callable[[], Mapping[tuple[str, str], str]]) -> None:
    """Add what goes wrong between a leader and its drones to ``findings``."""

    def of(kind: str) -> Source:
        return lambda: {subject: text for (each, subject), text in troubles().items() if each == kind}

    findings.watch(LEADER_UNHEARD, of(UNHEARD))
    findings.watch(CONFIGURATION_DIFFERS, of(CONFIGURATION))
    findings.watch(GOALS_REFUSED, of(REFUSED))


def held(read: Callable[[], str]) -> Source:
    """Return a source for a fleet that is held, for the reason that ``read`` returns."""

    def text() -> str:
        reason = read()
        return f"nothing is commanded, and no order taken: {reason}" if reason else ""

    return about_self(text)


def corrupt(keys: Callable[[], Sequence[str]]) -> Source:
    """Return a source for records that cannot be read."""

    def text() -> str:
        found = keys()
        return f"{len(found)} records cannot be read: {', '.join(found[:MOST_NAMES])}" if found else ""

    return about_self(text)


def watch_probe(findings: Findings, probe: Callable[[], Probe | None]) -> None:
    """Add what a probe of the store finds to ``findings``."""

    def denied() -> str:
        found = probe()
        return found.reason if found is not None and found.is_denied else ""

    def full() -> str:
        found = probe()
        return _takes_no_writes(found.alarms) if found is not None else ""

    findings.watch(STORE_DENIED, about_self(denied))
    findings.watch(STORE_FULL, about_self(full))


def watch_space(findings: Findings, measured: Callable[[], Space | None]) -> None:
    """Add to ``findings`` that the store fills up, or takes no more writes."""

    def full() -> str:
        space = measured()
        return _takes_no_writes(space.alarms) if space is not None else ""

    def filling() -> str:
        space = measured()
        return space.filling if space is not None else ""

    findings.watch(STORE_FULL, about_self(full))
    findings.watch(STORE_FILLING, about_self(filling))


def _takes_no_writes(alarms: Sequence[str]) -> str:
    return f"etcd takes no writes: alarm {', '.join(alarms)}" if alarms else ""


def watch_breaker(findings: Findings, breaker: StoreBreaker) -> None:
    """Add a refusal of the store to ``findings``."""
    findings.watch(STORE_DENIED, about_self(partial(getattr, breaker, "denied")))


class LeaderClock:
    """Difference between the leader's clock and this machine's, from messages that the leader sends every second."""

    def __init__(self) -> None:
        self._ahead_s: tuple[float, ...] = ()

    def heard(self, ahead_s: float) -> None:
        """Note that a message was dated ``ahead_s`` after its arrival; its age counts as negative."""
        self._ahead_s = (*self._ahead_s[-2:], ahead_s)

    def text(self) -> str:
        """Return the skew if three messages in a row agree on one: a late message is no skew."""
        least_s = min(self._ahead_s, key=abs, default=0.0)
        if len(self._ahead_s) < 3 or abs(least_s) <= SKEW_S:
            return ""
        return f"the leader's clock is {abs(least_s):.1f} s {'ahead of' if least_s > 0 else 'behind'} this one"
