"""Plays a golden script on the pure core: its inputs and its effects, as text.

A script is a sequence of blocks, each a command, a line ``----``, and its output up to an empty line: effects in
order, then the sagas that changed. The commands are the methods ``do_…`` of :class:`Stage`; docs/hacking.md lists them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from world import COURIER, FLEET, Replica, World, make_order, make_report

from drone_orchestrator.core.changes import Discard, Fate, MakeFirm, Reserve, Transition
from drone_orchestrator.core.leader.effects import (
    AnswerClearance,
    Campaign,
    Commit,
    Effect,
    KeepReservation,
    RecallGoal,
    Report,
    Resign,
    SendGoal,
    StartLeading,
    StopLeading,
)
from drone_orchestrator.core.leader.events import (
    ClearanceRequested,
    CommitDone,
    DroneHeard,
    GoalAnswered,
    OperatorCampaign,
    OperatorResign,
)
from drone_orchestrator.core.policies import BreakerPolicy, DispatchPolicy
from drone_orchestrator.core.types import (
    AcknowledgeOutcome,
    BreakerState,
    CancelRequest,
    CommandAction,
    DeliveryOutcome,
    DroneReport,
    FleetSpec,
    Kind,
    OperatorCommand,
    Outcome,
    Phase,
    Priority,
    Saga,
)
from drone_orchestrator.verification.checker import check

PREFIX = "/drone_orchestrator/sf/"
STEP_S = 0.5
HEAVY = replace(COURIER, name="heavy", max_payload_kg=10.0, battery_wh=2000.0, empty_mass_kg=12.0)


@dataclass(frozen=True)
class Block:
    """``head``: comments and the command, as written."""

    head: str
    command: str
    expected: str


def parse(text: str) -> list[Block]:
    blocks = []
    for part in text.strip("\n").split("\n\n"):
        head, _, expected = part.partition("\n----")
        command = next(line for line in reversed(head.splitlines()) if not line.startswith("#"))
        blocks.append(Block(head, command, expected.strip("\n")))
    return blocks


def play(text: str, fleet: Callable[[FleetSpec], None]) -> str:
    """Return the script with its actual output. ``fleet`` replaces the fleet of the test world."""
    blocks = parse(text)
    stage: Stage | None = None
    out = []
    for block in blocks:
        verb, *args = shlex.split(block.command)
        if verb == "region":
            stage = Stage.of(args, fleet)
            result = stage.flush()
        else:
            assert stage is not None, "a script begins with 'region'"
            result = stage.do(verb, args)
        out.append(f"{block.head}\n----\n{result}".rstrip("\n"))
    return "\n\n".join(out) + "\n"


class Stage(World):
    """A world whose replicas are called ``a``, ``b``, … and whose drones do only what the script says."""

    def __init__(self, replicas: int, policy: DispatchPolicy) -> None:
        self.lines: list[tuple[float, str]] = []
        self.shown: dict[str, str] = {}
        self.paused: list[Replica] = []
        self.deaf: set[str] = set()
        self._asked = 0
        super().__init__(0, policy)
        for name in "abcdef"[:replicas]:
            self.add_replica(name)

    @classmethod
    def of(cls, args: list[str], fleet: Callable[[FleetSpec], None]) -> Stage:
        options = dict(arg.split("=") for arg in args)
        replicas = int(options.pop("replicas", "1"))
        lanes = {"courier": COURIER, "heavy": HEAVY}
        lend = float(options.pop("lend", "0.5"))
        names = options.pop("classes", "courier").split(",")
        fleet(replace(FLEET, classes=tuple(replace(lanes[name], lend_fraction=lend) for name in names)))
        failures = int(options.pop("breaker_failures", "3"))
        breaker = BreakerPolicy(failures, float(options.pop("breaker_open_s", "30")), 600.0)
        numbers: dict[str, Any] = {k: int(v) if v.isdigit() else float(v) for k, v in options.items()}
        stage = cls(replicas, DispatchPolicy(breaker=breaker, **numbers))
        stage.run()
        return stage

    # --- output -------------------------------------------------------------------------------------------------

    def do(self, verb: str, args: list[str]) -> str:
        getattr(self, f"do_{verb.replace('-', '_')}")(*args)
        return self.flush()

    def flush(self) -> str:
        """Return the effects since the last call, then the sagas that changed; repeated lines once, with a count."""
        self.backend.pump()
        begin = self.lines[0][0] if self.lines else 0.0
        lines, self.lines = self.lines, []
        counts: dict[str, tuple[float, int]] = {}
        for at_s, line in lines:
            first_s, count = counts.get(line, (at_s, 0))
            counts[line] = (first_s, count + 1)
        spread = any(at_s != begin for at_s, _ in lines)
        out = []
        for line, (first_s, count) in counts.items():
            out.append(f"{f'{first_s:6.1f} s  ' if spread else ''}{line}{f'  ×{count}' if count > 1 else ''}")
        return "\n".join([*out, *self._changed_sagas()])

    def _changed_sagas(self) -> list[str]:
        now = {}
        for entry in self.intake.snapshot().entries:
            name = f"{entry.kind.value}/{entry.id}"
            if isinstance(entry.value, Saga):
                now[name] = f"{entry.id} {_saga(entry.value)}"
            elif entry.kind in (Kind.ASSIGNMENT, Kind.BREAKER):
                now[name] = f"{name} {_value(entry.value)}"
        news = [f"= {text}" for name, text in now.items() if self.shown.get(name) != text]
        news += [f"= {name} is gone" for name in self.shown if name not in now]
        self.shown = now
        return news

    def _show(self, replica: Replica, text: str) -> None:
        self.lines.append((self.mono_s, f"{replica.name}  {text}"))

    def _carry_out(self, replica: Replica, effect: Effect) -> None:
        text = _effect(effect)
        if isinstance(effect, KeepReservation) and not self.backend.reachable(replica.name):
            return
        super()._carry_out(replica, effect)
        if isinstance(effect, Commit):
            done = replica.inbox[-1]
            assert isinstance(done, CommitDone)
            text += "" if done.fate is Fate.SUCCEEDED else f"  ({done.fate.value})"
        if text:
            self._show(replica, text)

    def hear(self, *reports: DroneReport) -> None:
        for replica in self.replicas:
            if replica.name not in self.deaf:
                replica.inbox += [DroneHeard(report) for report in reports]

    # --- commands: customers and operators ----------------------------------------------------------------------

    def do_submit(self, message_id: str, *options: str) -> None:
        given = dict(option.split("=") for option in options)
        changes: dict[str, Any] = {"submitted_at": self.now.wall_s}
        if "weight" in given:
            changes["package_weight_kg"] = float(given["weight"])
        if "deadline" in given:
            changes["deadline_s"] = float(given["deadline"])
        if "class" in given:
            changes["drone_class"] = given["class"]
        if "priority" in given:
            changes["priority"] = Priority[given["priority"].upper()]
        self.intake.submit(make_order(int(message_id[1:]), **changes))
        self.run()

    def do_cancel(self, message_id: str, reason: str = "customer_request") -> None:
        self.intake.request_cancel(CancelRequest(message_id, self.now.wall_s, reason))
        self.run()

    def do_command(self, message_id: str, action: str) -> None:
        self.intake.request_command(OperatorCommand(message_id, CommandAction(action), self.now.wall_s, "ops"))
        self.run()

    # --- commands: drones ---------------------------------------------------------------------------------------

    def do_hear(self, *words: str) -> None:
        self.hear(_report(words))
        self.run()

    def do_accept(self, drone_id: str, goal: str, accepted: bool = True) -> None:
        self.tell(GoalAnswered(drone_id, *_goal(goal), accepted))

    def do_refuse(self, drone_id: str, goal: str) -> None:
        self.do_accept(drone_id, goal, False)

    def do_ask(self, drone_id: str, goal: str, journal: str = "", of: str = "") -> None:
        self._asked += 1
        journal_id = journal or f"journal-of-{drone_id}"
        asked = ClearanceRequested(self._asked, drone_id, *_goal(goal), journal_id, 0)
        for replica in [r for r in self.replicas if r.name == of] or [self.leader]:
            replica.inbox.append(asked)
        self.run()

    def do_tick(self, seconds: str) -> None:
        self.advance(float(seconds))

    def do_wait(self, seconds: str, *words: str) -> None:
        """Let time pass in steps; drones, separated by ``+``, repeat their reports at each."""
        reports, part = [], []
        for word in [*words, "+"]:
            if word == "+":
                reports += [_report(part)] if part else []
                part = []
            else:
                part.append(word)
        self.pass_time(float(seconds), hear=reports, step_s=STEP_S)

    # --- commands: replicas and the store -----------------------------------------------------------------------

    def _named(self, name: str) -> Replica:
        return self.leader if name == "leader" else next(r for r in [*self.replicas, *self.paused] if r.name == name)

    def do_crash(self, name: str) -> None:
        self.crash(self._named(name))

    def do_start(self, name: str) -> None:
        self.add_replica(name)
        self.run()

    def do_pause(self, name: str) -> None:
        """Suspend the process: it does nothing until ``go-on``, but misses no event."""
        replica = self._named(name)
        self.replicas.remove(replica)
        self.paused.append(replica)

    def do_deafen(self, name: str) -> None:
        """Keep all reports of drones from the replica, as a cut link does."""
        self.deaf.add(self._named(name).name)

    def do_go_on(self, name: str) -> None:
        replica = self._named(name)
        self.paused.remove(replica)
        self.replicas.append(replica)
        self.run()

    def do_resign(self, name: str) -> None:
        self._named(name).inbox.append(OperatorResign())
        self.run()

    def do_campaign(self, name: str) -> None:
        self._named(name).inbox.append(OperatorCampaign())
        self.run()

    def do_lose_answer(self, fate: str, count: str = "1") -> None:
        self.backend.lose_answers(int(count), applied=fate == "applied", client=self.leader.name)

    def do_deliver_late(self) -> None:
        self.backend.deliver_late()
        self.run()

    def do_store(self, state: str, name: str = "leader") -> None:
        self.backend.set_available(state == "back", self._named(name).name)
        self.run()

    def do_expire(self, key: str) -> None:
        self.backend.expire_lease_of(PREFIX + (key if key == "leader" else f"assignments/{key}"))
        self.run()

    def do_clock(self, offset_s: str) -> None:
        self.wall_offset_s = float(offset_s)
        self.run()

    # --- commands: inspection -----------------------------------------------------------------------------------

    def do_events(self, message_id: str) -> None:
        for e in self.intake.events(message_id):
            what = [e.type, f"→ {e.to_status.value}/{e.attempt}", e.drone_id or "", e.reason or ""]
            self.lines.append((self.mono_s, f"{e.n:2} epoch {e.epoch:2}  {' '.join(w for w in what if w)}"))

    def do_audit(self) -> None:
        report = check(self.intake.history(), complete=False)
        inbox = [e for e in self.intake.snapshot().entries if e.kind.value.startswith("inbox")]
        text = (
            f"{report.orders} orders, {report.events} events, {len(report.violations)} violations, inbox {len(inbox)}"
        )
        self.lines.append((self.mono_s, text))
        self.lines += [(self.mono_s, f"{v.invariant} {v.text}") for v in report.violations]


def _goal(text: str) -> tuple[str, int]:
    message_id, _, attempt = text.partition("/")
    return message_id, int(attempt)


def _report(words: Iterable[str]) -> DroneReport:
    """Parse ``<drone> <phase> [m1/1] [loaded] [m1/1=outcome] [class=…] [journal=…]``."""
    drone_id, phase, *rest = words
    changes: dict[str, Any] = {"phase": Phase[phase.upper()]}
    for word in rest:
        name, _, value = word.partition("=")
        if word == "loaded":
            changes["package_on_board"] = True
        elif name == "class":
            changes["drone_class"] = value
            changes["energy_wh"] = 2000.0 if value == "heavy" else 550.0
        elif name == "journal":
            changes["journal_id"] = value
        elif value:
            changes["outcomes"] = (DeliveryOutcome(*_goal(name), Outcome[value.upper()]),)
        else:
            changes["message_id"], changes["attempt"] = _goal(word)
    return make_report(drone_id, **changes)


def _saga(saga: Saga) -> str:
    parts = [f"{saga.status.value}/{saga.attempt}", saga.drone_id or "", "parked" if saga.parked else ""]
    parts += [f"to {saga.target.value}" if saga.target else "", f"({saga.reason})" if saga.reason else ""]
    return " ".join(part for part in parts if part)


def _value(value: Any) -> str:
    if hasattr(value, "leased"):
        return f"{value.message_id}/{value.attempt} {'leased' if value.leased else 'firm'}"
    until = f" until {value.open_until - 1000.0:.1f} s" if value.state is BreakerState.OPEN else ""
    return f"{value.state.value}{until}, failures {value.failures}, trips {value.trips}"


def _effect(effect: Effect) -> str:  # noqa: PLR0912 - one branch per kind
    match effect:
        case Commit(change=Transition() as change):
            steps = ", ".join(event.type for event in change.events)
            held = change.reservation
            if isinstance(held, Reserve):
                steps += f" + reserve {held.drone_id}"
            elif isinstance(held, MakeFirm):
                steps += f" + make {held.drone_id} firm"
            elif held is not None:
                steps += f" + release {held.drone_id}"
            taken = [f" - {used.kind.value}" for used in change.consume]
            return f"commit {change.message_id}: {steps}{''.join(taken)}"
        case Commit(change=Discard(message_id, consume)):
            return f"commit {message_id}: {' '.join(f'- {used.kind.value}' for used in consume)}"
        case SendGoal(drone_id, order, attempt):
            return f"goal to {drone_id}: {order.message_id}/{attempt}"
        case RecallGoal(drone_id, message_id, attempt):
            return f"recall to {drone_id}: {message_id}/{attempt}"
        case AnswerClearance():
            reason = f" ({effect.reason})" if effect.reason else ""
            return f"clearance {effect.message_id}/{effect.attempt}: {effect.verdict.name}{reason}"
        case AcknowledgeOutcome():
            return f"acknowledge to {effect.drone_id}: {effect.message_id}/{effect.attempt} {effect.outcome.name}"
        case Campaign():
            return "campaign"
        case StartLeading(epoch):
            return f"take office, epoch {epoch}"
        case StopLeading(_, reason):
            return f"leave office: {reason}"
        case Resign(epoch):
            return f"resign epoch {epoch}"
        case Report(level, text):
            return f"{level}: {text}"
        case _:
            return ""
