"""Checks of a fleet's etcd and of its contents."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...bringup import fleet_config
from ...bringup.operator_files import FileRefused
from ...core.view import FleetView
from ...ports import StoreDenied, StoreError
from ...store import EtcdStore
from ..context import Target
from ..output import duration
from .finding import Finding, error, ok, warning

#: Limits (s) of one commit. A leader that waits longer decides late; a lease of 5 s needs a commit within it.
SLOW_S, TOO_SLOW_S = 0.05, 0.5
PROBES = 5
#: Beyond its quota, by default 2 GiB, etcd takes no more writes.
LARGE_BYTES = 1600 << 20
#: Clocks synchronised by NTP differ by less (s).
SKEW_S, BAD_SKEW_S = 1.0, 30.0
_IDS_SHOWN = 3

_WHERE = "start a fleet (fleetctl up) or give --etcd HOST:PORT"


def check_store(target: Target, *, asked_for: bool) -> tuple[list[Finding], FleetView | None]:
    """Run all checks of the store. Returns findings and the view. ``asked_for``: a missing store is an error."""
    try:
        store = EtcdStore(target.endpoints.split(","), target.region)
    except ValueError as problem:
        return [
            error("etcd", str(problem), "give --etcd HOST:PORT, several with commas, and a --region without '/'")
        ], None
    try:
        return _check_open(store, target, asked_for)
    finally:
        store.close()


def read_view(target: Target) -> FleetView | None:
    """Return the current state, or ``None`` if the store has become unavailable."""
    store = EtcdStore(target.endpoints.split(","), target.region)
    try:
        return FleetView.of(store.snapshot())
    except StoreError:
        return None
    finally:
        store.close()


def _check_open(store: EtcdStore, target: Target, asked_for: bool) -> tuple[list[Finding], FleetView | None]:
    try:
        status = store.status()
        found = [reachable(status, target, asked_for=asked_for)]
        if not status["has_quorum"]:
            return found, None
        view = FleetView.of(store.snapshot())
        found += [space(status), speed(store.commit_time_s)]
        found.append(region(target.region, view, store.regions, target.fleet_config))
    except StoreDenied as problem:
        hint = "give user and password of a role that may read /drone_orchestrator/ (docs: etcd's roles)"
        return [error("etcd", f"{target.endpoints}: {problem}", hint)], None
    except StoreError as problem:
        return [(error if asked_for else warning)("etcd", str(problem), _WHERE)], None
    found += [clocks(view, time.time()), leader(view, asked_for=asked_for), records(view), parked(view), held(view)]
    return found, view


def reachable(status: Mapping[str, Any], target: Target, *, asked_for: bool = True) -> Finding:
    """Check that etcd answers and has a quorum."""
    name, grade = "etcd", error if asked_for else warning
    away = [member for member, answers in status["endpoints"].items() if not answers]
    if not status["reachable"]:
        return grade(name, str(status["detail"]) or f"{target.endpoints} does not answer", _WHERE)
    if not status["has_quorum"]:
        hint = "start the other members; without a majority etcd takes no order and no decision"
        return error(name, f"no majority: {status['detail']}", hint)
    if away:
        return warning(name, f"{', '.join(away)} is down", "start it again before another one fails")
    return ok(
        name, f"{target.endpoints}, version {status['version']}, region {target.region}, revision {status['revision']}"
    )


def space(status: Mapping[str, Any]) -> Finding:
    """Check that etcd accepts writes and has space left."""
    name, used = "etcd space", int(status.get("db_in_use_bytes") or status["db_size_bytes"])
    hint = "compact, defragment, then `etcdctl alarm disarm`; run etcd with --auto-compaction-retention=1h"
    if status["alarms"]:
        return error(name, f"alarm {', '.join(status['alarms'])}, {used >> 20} MiB used: etcd takes no writes", hint)
    if used > LARGE_BYTES:
        return warning(
            name, f"{used >> 20} MiB used; at 2 GiB etcd takes no more writes, unless it was told otherwise", hint
        )
    return ok(name, f"{used / (1 << 20):.1f} MiB used, no alarm")


def speed(commit_time_s: Callable[[], float], probes: int = PROBES) -> Finding:
    """Check the time of a commit: the network to a majority of the members, and their fsync."""
    try:
        took_s = [commit_time_s() for _ in range(probes)]
    except StoreDenied as problem:
        return warning("etcd speed", str(problem), "ask again as a user that may write")
    except StoreError as problem:
        return error("etcd speed", f"nothing can be written: {problem}", "see the checks `etcd` and `etcd space`")
    middle_s, worst_s = statistics.median(took_s), max(took_s)
    text = f"a commit takes {middle_s * 1e3:.1f} ms, {worst_s * 1e3:.1f} ms at worst of {probes}"
    hint = "give etcd a disk of its own with fast fsync (SSD), and members close to each other"
    if middle_s > TOO_SLOW_S:
        return error("etcd speed", text, hint)
    if middle_s > SLOW_S:
        return warning("etcd speed", text, hint)
    return ok("etcd speed", text)


def region(name: str, view: FleetView, regions: Callable[[], list[str]], config: str = "") -> Finding:
    """Check that the region has data, and is the one of the fleet description."""
    if not (view.sagas or view.inbox or view.reservations or view.corrupt or view.leader_epoch):
        others = [found for found in regions() if found != name]
        if others:
            hint = f"--region {others[0]}, or DRONE_ORCHESTRATOR_REGION"
            return error("region", f"nothing is stored for {name}, but for {', '.join(others)}", hint)
    try:
        described = fleet_config.load(config).region
    except (FileRefused, FileNotFoundError):
        return ok("region", name)  # another check covers the description
    if described != name:
        hint = "orders are checked against the description of the other one: give its file as fleet_config"
        return warning("region", f"{name}; the fleet description is of {described}", hint)
    return ok("region", name)


def clocks(view: FleetView, now_s: float) -> Finding:
    """Check that no record is dated in the future: then this machine's clock would be behind the leaders'."""
    dates = [stored.value.updated_at for stored in view.sagas.values()]
    if view.leadership is not None:
        dates.append(view.leadership.since)
    ahead_s = max(dates, default=now_s) - now_s
    return skew("clock", max(0.0, ahead_s), "the store's latest record")  # an older record says nothing


def skew(name: str, ahead_s: float, what: str) -> Finding:
    """Check a clock skew: ``what`` is ``ahead_s`` ahead of this machine's clock."""
    hint = "chronyc tracking, or timedatectl set-ntp true, on this machine and on the orchestrators'"
    if abs(ahead_s) > SKEW_S:
        text = f"{what} is {duration(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'} this machine's clock"
        return (error if abs(ahead_s) > BAD_SKEW_S else warning)(name, text, hint)
    return ok(name, f"agrees with {what}")


def leader(view: FleetView, *, asked_for: bool = True) -> Finding:
    """Check that there is a leader."""
    if view.leadership is not None:
        return ok("leader", view.leadership.holder)
    waiting = f", {len(view.inbox)} orders wait" if view.inbox else ""
    hint = "start orchestrators, or end a retirement: fleetctl leader --bring-back NAME"
    return (error if asked_for else warning)("leader", f"none{waiting}", hint)


def records(view: FleetView) -> Finding:
    """Check that all records are readable."""
    contradictory = view.contradictions()
    if not view.corrupt and not contradictory:
        return ok("records", f"{len(view.sagas) + len(view.inbox)} orders, all of them readable")
    names = sorted([*view.corrupt, *(f"{name} ({why})" for name, why in contradictory.items())])
    more = f" and {len(names) - _IDS_SHOWN} more" if len(names) > _IDS_SHOWN else ""
    hint = "compare with `fleetctl events ID`, then repair or remove the keys (docs/operations.md)"
    return error("records", f"unreadable: {', '.join(names[:_IDS_SHOWN])}{more}", hint)


def held(view: FleetView) -> Finding:
    """Check that the fleet is not held."""
    reason = view.fleet.held if view.fleet is not None else ""
    if not reason:
        return ok("held", "no")
    return error("held", f"nothing is commanded: {reason}", "fleetctl store restored  (docs/howto/etcd_backup.md)")


def parked(view: FleetView) -> Finding:
    """Check that no order waits for an operator."""
    found = [each.order.order_id for each in view.orders() if each.parked]
    if not found:
        return ok("parked orders", "none")
    hint = "look where the packages are, then: fleetctl order resolve ID --package …  (docs/operations.md)"
    return warning("parked orders", f"{len(found)} wait for a person: {', '.join(sorted(found)[:_IDS_SHOWN])}", hint)
