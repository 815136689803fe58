"""Run every benchmark and write docs/benchmarks.md: figures, pictures, and the machine they were measured on.

``make bench`` calls it. It takes about twenty minutes and needs the machine to itself. ``--only NAME …`` repeats
some of the benchmarks and keeps the figures of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
FOLDER = ROOT / "docs" / "benchmarks"
Figures = Mapping[str, Any]


def _failover(f: Figures) -> str:
    rows = [
        f"| {label} | {f[kind]['n']} | {f[kind]['p50_s']:.3f} | {f[kind]['p99_s']:.3f} | {f[kind]['max_s']:.3f} |"
        for kind, label in (
            ("kill", "`SIGKILL` of the leader"),
            ("hang", "`SIGSTOP` of the leader"),
            ("handover", "planned handover"),
            ("lease_only", "baseline: `SIGKILL`, detected by the 5 s lease alone"),
        )
    ]
    return "\n".join(
        [
            "| | rounds | p50 s | p99 s | worst s |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"The lease alone is {f['ratio_p50']:.1f} times slower at p50. Deliveries aborted: {f['aborted']}; "
            f"invariants broken: {f['violations']}.",
        ]
    )


def _throughput(f: Figures) -> str:
    return "\n".join(
        [
            "| | orders/s |",
            "|---|---|",
            f"| accepted and assigned, {f['orders']} orders, {f['drones']} drones | {f['orders_per_s']:,.0f} |",
            f"| baseline: one transaction per transition | {f['baseline_orders_per_s']:,.0f} |",
            f"| through all steps to delivered | {f['delivered_per_s']:,.0f} |",
            "",
            f"Ratio to the baseline: {f['ratio']:.1f}. etcd synced its log {f['wal_fsyncs']} times.",
        ]
    )


def _latency(f: Figures) -> str:
    base = f["baseline"]
    return "\n".join(
        [
            "| | p50 ms | p99 ms |",
            "|---|---|---|",
            f"| `POST` sent to `ASSIGNED` committed, {f['rate']:g} orders/s, {f['n']} orders | {f['p50_ms']} | "
            f"{f['p99_ms']} |",
            f"| baseline: the same clients write four transactions in sequence | {base['p50_ms']} | "
            f"{base['p99_ms']} |",
        ]
    )


def _scale(f: Figures) -> str:
    rows = [
        "| {drones} | {leader_cpu_pct:.0f} | {leader_rss_mib:.0f} | {heartbeat_jitter_p99_ms:.0f} | "
        "{assign_p99_ms:.0f} |".format(**point)
        for point in f["points"]
    ]
    header = "| drones | leader, % of a core | leader, MiB | heartbeat jitter p99, ms | assignment p99, ms |"
    return "\n".join([header, "|---|---|---|---|---|", *rows])


def _plan(f: Figures) -> str:
    return (
        f"{f['drones']} drones × {f['orders']} orders: p50 {f['p50_ms']:.0f} ms, p99 {f['p99_ms']:.0f} ms. Mean "
        f"delivery time relative to the greedy planner: {f['delivery_time_ratio']:.3f}; late orders: "
        f"{f['late_orders']} (greedy: {f['late_orders_greedy']})."
    )


def _lanes(f: Figures) -> str:
    quiet, flooded = f["quiet"], f["flooded"]
    return (
        f"Assignment in one lane: p50 {quiet['p50_ms']} ms while the other is quiet, {flooded['p50_ms']} ms while it "
        f"is flooded ({f['flood_refused']} orders of the flood refused): a ratio of {f['ratio_p50']:.2f}."
    )


def _soak(f: Figures) -> str:
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| orders, all delivered, archived and accounted for | {f['archived']:,} at {f['orders_per_s']:.0f}/s |",
            f"| the leader's memory, last quarter of the steady part over the first | {f['memory_growth']:.2f} × |",
            f"| etcd's data, likewise | {f['etcd_growth']:.2f} × |",
            f"| peak size of etcd's data | {f['peak_bytes'] / 1e6:.0f} MB |",
            f"| baseline: its size if nothing were retired | {f['baseline_bytes'] / 1e6:.0f} MB |",
            "",
            f"Orders lost: {f['missing']}; invariants broken: {f['violations']}; keys left at the end: "
            f"{f['left_keys']}, the region's own.",
        ]
    )


def _goodput(f: Figures) -> str:
    label = f"{f['seeds']} seeds with {f['faults_per_seed']:.0f} faults each"
    return "\n".join(
        [
            "| | deliveries per simulated hour | orders delivered, of those not cancelled |",
            "|---|---|---|",
            f"| {label} | {f['per_hour']:.1f} | {f['share']:.1%} |",
            f"| baseline: the same regions and orders without faults | {f['per_hour_without_faults']:.1f} | "
            f"{f['share_without_faults']:.1%} |",
            "",
            f"Ratio to the baseline: {f['ratio']:.3f}. Time is simulated, so the machine does not matter. The suite "
            f"plays most of these seeds again, and fails if they deliver {f['may_fall']:.0%} less per hour.",
        ]
    )


@dataclass(frozen=True)
class Bench:
    """Section of the page: the arguments of ``fleetctl bench``, an explanation, and the figures as Markdown.

    A ``script`` of this folder may stand in for ``fleetctl bench``.
    """

    title: str
    command: str
    text: str
    table: Callable[[Figures], str]
    has_picture: bool = True
    script: str = ""

    @property
    def name(self) -> str:
        """Return the name of its files, also used with ``--only``."""
        words = self.command.split()
        ways = [word.strip("-") for word in words if word in ("--http", "--fleet")]
        return "-".join([words[0], *ways])

    @property
    def shown(self) -> str:
        """Return the command as people type it."""
        return f"benchmarks/{self.script}" if self.script else f"fleetctl bench {self.command}"

    @property
    def call(self) -> list[str]:
        """Return the command for this interpreter."""
        if self.script:
            return [sys.executable, str(ROOT / "benchmarks" / self.script)]
        return [sys.executable, "-m", "drone_orchestrator.cli.main", "bench", *self.command.split(), "--json"]


BENCHES = (
    Bench(
        "Failover",
        "failover --kills 20",
        "Time from the fault to the first assignment that the next leader commits. Three replicas, under load.",
        _failover,
    ),
    Bench(
        "Throughput",
        "throughput",
        "Orders from intake to a reserved drone, in etcd with fsync, with drones that take no time. Intake, leader and "
        "etcd share the machine.",
        _throughput,
    ),
    Bench(
        "Throughput over HTTP",
        "throughput --http --rounds 3",
        "The same, submitted one by one by 32 clients of a gateway on the same machine.",
        _throughput,
    ),
    Bench(
        "Latency",
        "latency --rate 50",
        "Gateway, leader and etcd are separate processes; drones take no time, as above. A commit counts from the "
        "moment when a watch of etcd shows it.",
        _latency,
    ),
    Bench(
        "Latency in a whole fleet",
        "latency --rate 50 --fleet",
        "The same with a standby and with drones that fly and talk over DDS. Everything shares this machine, which is "
        "nearly saturated: a third of its time goes to the drones, which have their own computers in a real fleet.",
        _latency,
    ),
    Bench(
        "Scale",
        "scale --drones 10,50,100,200",
        "One leader with a growing number of drones on DDS, under a light load of orders.",
        _scale,
    ),
    Bench(
        "Soak",
        "soak",
        "An hour's worth of orders through one region that retires ended orders.",
        _soak,
    ),
    Bench("Planning", "plan --drones 1000 --orders 1000", "A single planning round.", _plan, False),
    Bench(
        "Goodput under faults",
        "goodput",
        "A hundred regions of the simulation's profile `intense`, from the start until nothing is left to do.",
        _goodput,
        False,
        "goodput.py",
    ),
    Bench("Bulkheads", "lanes", "The effect of a flood in one lane on another.", _lanes, False),
)


def machine() -> dict[str, str]:
    """Return the facts about the machine and the code that the figures depend on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{os.cpu_count()} × {model}",
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "date": time.strftime("%Y-%m-%d"),
    }


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def run(bench: Bench) -> bool:
    """Run one benchmark and keep its figures with the facts of the machine. Return True if it reports no problem."""
    command = bench.call
    if bench.has_picture:
        command += ["--picture", str(FOLDER / f"{bench.name}.svg")]
    print(f"\n== {bench.shown}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode == 2 or not lines:
        return False
    kept = {"machine": machine(), "figures": json.loads(lines[-1])}
    (FOLDER / f"{bench.name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return done.returncode == 0


def page() -> str:
    """Return docs/benchmarks.md, written from the kept figures."""
    parts = [
        "# Benchmarks",
        "",
        "Written by `make bench` from the figures in [benchmarks/](benchmarks/): do not edit. Absolute figures hold "
        "for the machine that each section names; ratios to the baseline of the same run carry over to others. "
        "[performance.md](performance.md) explains how the design achieves them.",
    ]
    for bench in BENCHES:
        kept = FOLDER / f"{bench.name}.json"
        parts += ["", f"## {bench.title}", "", f"`{bench.shown}`: {bench.text}", ""]
        if not kept.exists():
            parts.append("Not measured yet.")
            continue
        document = json.loads(kept.read_text(encoding="utf-8"))
        parts.append(bench.table(document["figures"]))
        if bench.has_picture:
            parts += ["", f"![{bench.title}](benchmarks/{bench.name}.svg)"]
        parts += ["", "Measured on " + ", ".join(f"{key} {value}" for key, value in document["machine"].items()) + "."]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Return 1 if a benchmark failed or reported a problem. The page is written in any case."""
    names = [bench.name for bench in BENCHES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="run these only")
    wanted = parser.parse_args().only
    FOLDER.mkdir(parents=True, exist_ok=True)
    failed = [bench.name for bench in BENCHES if bench.name in wanted and not run(bench)]
    PAGE.write_text(page(), encoding="utf-8")
    print(f"\nwritten: {PAGE.relative_to(ROOT)}" + (f"; not well: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
