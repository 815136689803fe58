"""Regions in virtual time: a hundred seeds of faults lose no order, deliver none twice, and leave none unfinished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from hunt import SUITE_SEEDS

from drone_orchestrator.cli.commands.simulate import simulate
from drone_orchestrator.cli.simulate import replay_command
from drone_orchestrator.core.drone.events import Cleared, Load
from drone_orchestrator.core.drone.machine import DroneMachine
from drone_orchestrator.core.leader.after_loading import AfterLoading
from drone_orchestrator.core.leader.roster import Roster
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import Phase
from drone_orchestrator.simulation import profile as profile_module
from drone_orchestrator.simulation.chance import Chance
from drone_orchestrator.simulation.faults import FaultInjector
from drone_orchestrator.simulation.profile import CALM, DEFAULTS, FAULTS, INTENSE, OFFICE, STANDARD, STUCK
from drone_orchestrator.simulation.recorder import PHASES
from drone_orchestrator.simulation.seeds import Summary, run_seeds
from drone_orchestrator.simulation.world import SeedResult, World
from drone_orchestrator.verification.records import JUDGES

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
GOODPUT = ROOT / "docs" / "benchmarks" / "goodput.json"
STANDARD_SEEDS = range(0, 20)
CALM_SEEDS = range(0, 20)
DEFAULTS_SEEDS = range(0, 10)
INTENSE_SEEDS = SUITE_SEEDS
#: Keeps numpy from instruction sets that only some processors have and that can change the last bits of a result.
PLAIN_PROCESSOR = {
    "NPY_DISABLE_CPU_FEATURES": "FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
}


@pytest.fixture(scope="module")
def played() -> list[SeedResult]:
    """Run the seeds of the suite once, on all cores."""
    runs = ((STANDARD_SEEDS, STANDARD), (INTENSE_SEEDS, INTENSE))
    return [result for seeds, profile in runs for result in run_seeds(seeds, profile, os.cpu_count() or 1)]


@pytest.fixture(scope="module")
def hundred(played: list[SeedResult]) -> Summary:
    return _summary(played)


def _summary(results: Iterable[SeedResult]) -> Summary:
    summary = Summary()
    for result in results:
        summary.add(result)
    return summary


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_seeds_break_no_invariant_and_leave_nothing_unfinished(hundred):
    told = [f"{replay_command(failed)}\n  " + "\n  ".join(failed.problems) for failed in hundred.failing]
    assert not hundred.failing, "\n".join(told)
    assert hundred.seeds == 100
    assert hundred.orders == STANDARD.orders * len(STANDARD_SEEDS) + INTENSE.orders * len(INTENSE_SEEDS)
    assert set(hundred.ended) == {"DELIVERED", "CANCELLED", "FAILED"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_kind_of_fault_has_struck_in_a_hundred_seeds(hundred):
    of_messages = {"message_lost", "message_repeated", "message_overtaken", "message_held_up"}
    of_operators = {"operator_lift", "operator_command"}
    assert not {*FAULTS, *of_messages, *of_operators} - set(hundred.faults)
    assert min(hundred.faults[kind] for kind in FAULTS) >= 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_kind_of_fault_has_met_every_phase_of_an_order_in_a_hundred_seeds(hundred):
    never = [f"{kind} in {phase}" for kind in FAULTS for phase in PHASES if not hundred.met.get(kind, {}).get(phase)]
    assert not never


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_goodput_under_faults_is_not_below_the_recorded_one(played):
    recorded = json.loads(GOODPUT.read_text())["figures"]
    before = recorded["runs"][: len(INTENSE_SEEDS)]
    before_per_hour = 3600.0 * sum(delivered for delivered, _ in before) / sum(simulated_s for _, simulated_s in before)
    now = _summary(result for result in played if result.profile == INTENSE.name)
    assert now.seeds == len(before) == len(INTENSE_SEEDS)
    assert now.delivered_per_hour >= (1.0 - recorded["may_fall"]) * before_per_hour


@pytest.mark.parametrize("profile", [OFFICE, STUCK], ids=lambda profile: profile.name)
def test_seeds_of_a_profile_of_its_own_break_nothing_and_have_its_faults(profile):
    results = [World(seed, profile).run() for seed in range(2)]
    assert [problem for result in results for problem in result.problems] == []
    assert all(sum(result.faults.get(kind, 0) for result in results) for kind in profile.always)


def test_without_faults_cancellations_and_deadlines_every_order_is_delivered():
    result = World(1, replace(CALM, cancel_share=0.0, deadline_share=0.0)).run()
    assert result.ok, result.problems
    assert result.ended == {"DELIVERED": CALM.orders}
    assert not set(result.faults) & set(FAULTS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_calm_seeds_deliver_every_order_that_has_time():
    calm = Summary()
    for result in run_seeds(CALM_SEEDS, CALM, os.cpu_count() or 1):
        calm.add(result)
    assert not calm.failing, [(replay_command(failed), failed.problems) for failed in calm.failing]
    assert calm.ended["DELIVERED"] > 0.8 * CALM.orders * len(CALM_SEEDS)
    assert not set(calm.faults) & set(FAULTS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_seeds_with_the_budgets_of_a_shipped_leader_break_nothing():
    results = list(run_seeds(DEFAULTS_SEEDS, DEFAULTS, os.cpu_count() or 1))
    assert all(result.ok for result in results), [(replay_command(r), r.problems) for r in results if not r.ok]
    assert World(0, DEFAULTS).environment.dispatch_policy() == DispatchPolicy()


@pytest.mark.parametrize(
    "other", [{"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"}, PLAIN_PROCESSOR], ids=["1", "2", "cpu"]
)
def test_the_same_seed_is_the_same_run_in_another_process_and_on_another_processor(other):
    here = World(7, INTENSE).run()
    code = (
        "from drone_orchestrator.simulation.world import World\n"
        "from drone_orchestrator.simulation.profile import INTENSE\n"
        "result = World(7, INTENSE, trace=True).run()\n"
        "print(result.trace_hash, result.events)"
    )
    environment = {**os.environ, **other, "PYTHONPATH": str(SRC)}
    there = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert there.stdout.split() == [here.trace_hash, str(here.events)]


def test_only_ended_orders_are_archived():
    seed = next(seed for seed in range(100) if World(seed, STANDARD).environment.conditions.retention_s is not None)
    world = World(seed, STANDARD)
    result = world.run()
    assert result.ok, result.problems
    archived = world.environment.archive.orders.values()
    assert len(archived) > 10
    assert all(order.saga.status.is_terminal for order in archived)


def test_another_seed_gives_another_run():
    hashes = {World(seed, INTENSE).run().trace_hash for seed in (1, 2, 3)}
    assert len(hashes) == 3


def test_a_new_kind_of_fault_changes_no_draw_of_any_other(monkeypatch):
    """It is on, and looks for a victim by chance, but finds none. Everything else happens as without it."""
    seeds = range(4)
    before = [World(seed, INTENSE).run().trace_hash for seed in seeds]

    def strike(injector):
        injector._drone()
        injector._replica()
        strikes.append(injector._rng.random())
        return ""

    strikes: list[float] = []
    monkeypatch.setattr(profile_module, "FAULTS", ("something_new", *FAULTS))
    monkeypatch.setattr(FaultInjector, "_something_new", strike, raising=False)
    assert [World(seed, INTENSE).run().trace_hash for seed in seeds] == before
    assert len(set(strikes)) == len(strikes) > 5


def test_streams_of_chance_differ_by_seed_and_name_and_continue():
    chance = Chance("intense/1")
    first = chance.of("fault", "partition").random()
    others = [chance.of("fault").random(), chance.of("fault", "handover").random()]
    others += [Chance("intense/2").of("fault", "partition").random(), chance.of("fault", "partition").random()]
    assert first not in others
    assert Chance("intense/1").of("fault", "partition").random() == first


# --- a broken core is caught ------------------------------------------------------------------------------------------


def _failures(seeds: int = 30) -> Counter[str]:
    """Count the invariants that break in this process, whose core the test has changed."""
    broken: Counter[str] = Counter()
    for result in run_seeds(range(seeds), INTENSE, jobs=1):
        broken.update({key: count for key, count in result.invariants.items() if count})
        if broken:
            break
    return broken


def test_a_drone_that_loads_without_clearance_is_caught(monkeypatch):
    honest = DroneMachine._ask_when_due

    def load_at_once(self, now):
        goal = self._durable.goal
        if self._phase is Phase.AWAITING_CLEARANCE and goal is not None:
            self._write(Cleared(*goal.key, self._durable.highest_epoch))
            self._become(Phase.LOADING)
            self._act(Load(goal.order.package_weight_kg))
        honest(self, now)

    monkeypatch.setattr(DroneMachine, "_ask_when_due", load_at_once)
    assert _failures()["I5"]


def test_a_leader_that_forgets_orders_on_board_is_caught(monkeypatch):
    monkeypatch.setattr(AfterLoading, "reconcile", lambda self, *args: [])
    assert _failures(1)["I3"]


def test_an_exception_in_the_core_is_caught(monkeypatch):
    def die(self, *args):
        raise AssertionError("no such thing")

    monkeypatch.setattr(AfterLoading, "_settle", die)
    assert _failures(1)["I3"]


# --- the command line -------------------------------------------------------------------------------------------------


def _json(arguments: list[str]) -> tuple[int, dict[str, object]]:
    done = CliRunner().invoke(simulate, [*arguments, "--json"])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def test_free_drones_tracked_by_changes_equal_a_scan_of_all_drones(monkeypatch):
    lanes, rounds = Roster.lanes, 0

    def noted(roster):
        return dict(roster._free), dict(roster._lent), {place: list(row) for place, row in roster._places.items()}

    def checked(roster, term, now):
        nonlocal rounds
        rounds += 1
        found = lanes(roster, term, now)
        before = noted(roster)
        roster.touch_all()
        lanes(roster, term, now)
        assert noted(roster) == before
        return found

    monkeypatch.setattr(Roster, "lanes", checked)
    for seed in range(8):
        result = World(seed, INTENSE).run()
        assert result.ok, result.problems
    assert rounds > 100


def test_the_command_reports_seeds_faults_and_invariants():
    code, document = _json(["--seeds", "2", "--start", "3", "--profile", "intense", "--jobs", "1"])
    assert code == 0
    assert document["seeds"] == 2 and document["failing_seeds"] == []
    assert set(document["invariants"]) == {f"I{n}" for n in range(1, 8)}
    assert document["judges"] == dict.fromkeys(JUDGES, 0)
    assert document["faults"] and document["simulated_s"] > 2 * INTENSE.safety_s and document["wall_s"] > 0.0


def test_one_seed_is_traced_and_names_its_hash():
    done = CliRunner().invoke(simulate, ["--seed", "3", "--profile", "intense", "--trace"])
    assert done.exit_code == 0
    assert "FAULT" in done.stdout and "DELIVERED" in done.stdout
    code, document = _json(["--seed", "3", "--profile", "intense"])
    assert code == 0 and str(document["trace_hash"]) in done.stdout


def test_a_failing_seed_exits_with_1_and_prints_the_command_that_replays_it(monkeypatch):
    monkeypatch.setattr(AfterLoading, "reconcile", lambda self, *args: [])
    done = CliRunner().invoke(simulate, ["--seeds", "1", "--start", "4", "--profile", "intense", "--jobs", "1"])
    assert done.exit_code == 1
    shown = " ".join(done.stdout.split())
    assert "fleetctl simulate --seed 4 --profile intense --trace" in shown
    replayed, document = _json(["--seed", "4", "--profile", "intense"])
    assert replayed == 1 and document["failing_seeds"] == [4]


@pytest.mark.parametrize("arguments", [["--seed", "1", "--seeds", "2"], ["--trace"], ["--seeds", "0"]])
def test_contradictory_options_are_a_usage_error(arguments):
    assert CliRunner().invoke(simulate, arguments).exit_code == 2


@contextmanager
def _simulating() -> Iterator[subprocess.Popen[str]]:
    """Run many seeds in two processes, in a process group of their own."""
    command = [sys.executable, "-m", "drone_orchestrator.cli.main", "simulate", "--seeds", "1000", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert running.stderr.read(len("simulating")) == "simulating"
        yield running


def test_an_interrupt_ends_all_processes_quietly():
    """As in a terminal, the whole process group is interrupted, including workers that are just starting."""
    with _simulating() as running:
        os.killpg(running.pid, signal.SIGINT)
        out, errors = running.communicate(timeout=60)  # ends only when the workers have closed their pipes, too
    assert running.returncode == 130
    assert out == ""
    assert [line.partition(":")[0] for line in errors.split("\n") if line.strip(": ")] == ["interrupted"] * 2, errors


def test_no_worker_outlives_a_killed_simulation():
    with _simulating() as running:
        workers = psutil.Process(running.pid).children(recursive=True)
        while len(workers) < 3:  # two, and multiprocessing's tracker
            assert running.poll() is None
            workers = psutil.Process(running.pid).children(recursive=True)
        running.kill()
    assert not psutil.wait_procs(workers, timeout=60.0)[1]
