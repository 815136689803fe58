"""A simulated process that stops completes all its calls, and the calls that they request."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from drone_orchestrator.core.leader.events import Event, Tick
from drone_orchestrator.runtime.workers import Pool
from drone_orchestrator.simulation.workers import SimulatedWorkers


class NoProcess:
    """Stand-in for scheduler, process and clock: its calls never become due."""

    now_s = 0.0

    def at(self, at_s: float, call: Any) -> None:
        pass

    after = at


def test_a_call_that_requests_another_during_shutdown_does_not_stop_the_others() -> None:
    idle: Any = NoProcess()
    conditions: Any = type("Calm", (), {"__getattr__": lambda self, name: 0.0})()
    workers = SimulatedWorkers(idle, idle, idle, Random(1), lambda: conditions, lambda: 0.0)
    made: list[str] = []

    def call(name: str, *then: str) -> Any:
        def run() -> Iterable[Event]:
            made.append(name)
            for each in then:
                workers.run(Pool.COMMIT, call(each))
            return [Tick()]

        return run

    under_way = [f"under way {number}" for number in range(Pool.COMMIT.size)]
    for name in under_way:
        workers.run(Pool.COMMIT, call(name))
    workers.run(Pool.COMMIT, call("waits", "asked for at the end"))
    workers.run(Pool.COMMIT, call("waits, too"))

    left = workers.stop()

    assert made == [*under_way, "waits", "waits, too", "asked for at the end"]
    assert left == [Tick()] * len(made)
