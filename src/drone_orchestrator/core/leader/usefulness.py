"""Judgement of a leader about itself: an office that does no good is given up, so that another replica may try.

A lease shows that a process runs, and no more. A leader is useless while it

* is *blind*: its watch is dead, or does not show what it committed itself. It would decide on an old state;
* is *deaf*: it hears no drone, although orders wait or drones are reserved;
* is *powerless*: the store renews its lease, but takes none of its commits.

It then resigns, and gives the others a head start whenever the office is free, until it is cured. Another replica may
be no better: the drones may be switched off, the store may be full. So a deaf or powerless leader resigns less often
each time, and holds the office in between: it says what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..types import Instant
from ..view import FleetView
from .memory import LeaderState

#: A leader judges itself this often (s).
JUDGE_PERIOD_S = 1.0
#: A watch that proves nothing, or does not show an own commit, for this long (s) is dead. A stream that has gone quiet
#: is replaced after up to 9 s (``store.watch``): a leader must not resign while its watch heals by itself.
BLIND_S = 15.0
#: A leader that heard several drones in this term resigns once it has heard none of them for this long (s).
DEAF_S = 20.0
#: A leader that has heard no drone since it took office, or that knows only one, resigns after this long (s).
DEAF_FROM_START_S = 60.0
#: A leader whose commits have all failed for this long (s) resigns.
POWERLESS_S = 20.0
#: Failures of commits that lie further apart (s) have nothing to do with each other.
SAME_TROUBLE_S = 10.0
#: Pause (s) until a replica resigns again for being useless. It grows by the factor each time, up to the cap, which
#: twice the grace period raises: a term in which all drones are silent must last until their orders are decided.
RESIGN_AGAIN_S, RESIGN_FACTOR, RESIGN_CAP_S = 60.0, 8.0, 3600.0
#: Head start (s) that a useless replica gives the others whenever the office is free.
HEAD_START_S = 5.0
#: A term in which nothing was wrong for this long (s) was useful: the pauses are short again.
USEFUL_S = 60.0


class Ailment(str, Enum):
    """Reason why a leader is useless."""

    BLIND = "blind"
    DEAF = "deaf"
    POWERLESS = "powerless"


@dataclass(frozen=True, slots=True)
class LeaderSenses:
    """State of this replica now.

    ``revision`` is that of its view. ``is_in_office``: the view has shown its own election. ``hears``: a drone is heard
    now. ``drones``: number of drones that it has ever heard. ``last_heard_s``: when any of them was heard last
    (monotonic, ``-inf``: never). ``has_work``: an order waits, or a drone is reserved for one that is not parked.
    ``powerless_s``: how long (s) all commits have failed. ``grace_s``: the grace period of a silent drone, which each
    term counts anew.
    """

    revision: int
    is_in_office: bool
    hears: bool
    drones: int
    last_heard_s: float
    has_work: bool
    powerless_s: float
    grace_s: float = 0.0

    @classmethod
    def of(cls, view: FleetView, state: LeaderState, is_in_office: bool, now: Instant) -> LeaderSenses:
        """Return the present state."""
        heard_s = max((drone.heard_at_s for drone in state.drones.values()), default=float("-inf"))
        term = state.term
        failures_s = term.commits_fail_s if term is not None else None
        return cls(
            revision=view.revision,
            is_in_office=is_in_office,
            hears=now.mono_s - heard_s <= state.policy.drone_silent_s,
            drones=len(state.drones),
            last_heard_s=heard_s,
            has_work=term is not None and (bool(term.waiting) or _has_order_under_way(view)),
            powerless_s=failures_s[1] - failures_s[0] if failures_s is not None else 0.0,
            grace_s=state.policy.lost_grace_s,
        )


def _has_order_under_way(view: FleetView) -> bool:
    """Return whether a drone is reserved for an order that needs a leader. A parked one needs a person."""
    sagas = (view.saga_of(held.value.message_id) for held in view.reservations.values())
    return any(saga is None or not saga.parked for saga in sagas)


class Usefulness:
    """Judges one replica. Call :meth:`judge` about once per ``JUDGE_PERIOD_S`` while it holds the office."""

    def __init__(self) -> None:
        #: Cause of the last resignation, until it is cured.
        self.ailing: Ailment | None = None
        self._began_s = 0.0
        self._watch_silent_s = 0.0
        self._unseen: tuple[int, float] | None = None  # own commit that the watch has not shown, and since when
        self._well_since_s = 0.0
        self._told: Ailment | None = None
        self._resigned_at: tuple[int, float] = (0, 0.0)  # revision of the view, time
        self._resignations = 0
        self._may_resign_at_s = float("-inf")

    def begin(self, now: Instant) -> None:
        """Start judging a new term, from the moment when the election was won."""
        self._began_s = self._well_since_s = now.mono_s
        self._watch_silent_s, self._unseen, self._told = 0.0, None, None

    def watch_silent(self, silent_s: float) -> None:
        """Note how long ago (s) the watch proved that it is alive."""
        self._watch_silent_s = silent_s

    def committed(self, revision: int, view_revision: int, now: Instant) -> None:
        """Note a commit of this leader, which the watch must show."""
        if self._unseen is None and revision > view_revision:
            self._unseen = (revision, now.mono_s)

    def judge(self, senses: LeaderSenses, now: Instant, *, others_can: bool = True) -> tuple[str, bool]:
        """Return what is newly wrong, for people (empty: nothing new), and whether to resign because of it.

        ``others_can``: another replica could be elected. A full store grants no lease, but lets a leader in office
        delete.
        """
        found = self._diagnose(senses, now)
        if found is None:
            self._told = None
            if senses.has_work and not senses.hears:
                self._well_since_s = now.mono_s  # deaf already, but not for long enough
            if now.mono_s - self._well_since_s >= USEFUL_S:
                self._resignations = 0
            return "", False
        ailment, text = found
        self._well_since_s = now.mono_s
        if ailment is Ailment.BLIND:  # it cannot return before it is cured, so no pause is needed
            self.ailing, self._resigned_at = ailment, (senses.revision, now.mono_s)
            return text, True
        nobody_else = ailment is Ailment.POWERLESS and not others_can
        if nobody_else or now.mono_s < self._may_resign_at_s:
            news = text if self._told is not ailment else ""
            self._told = ailment
            return news, False
        longest_s = max(RESIGN_CAP_S, 2.0 * senses.grace_s)
        pause_s = min(RESIGN_AGAIN_S * RESIGN_FACTOR ** min(self._resignations, 9), longest_s)
        self._resignations += 1
        self._may_resign_at_s = now.mono_s + pause_s
        self.ailing, self._resigned_at = ailment, (senses.revision, now.mono_s)
        return text, True

    def head_start_s(self, senses: LeaderSenses, now: Instant) -> float:
        """Return how long (s) this replica lets others try when the office is free: infinite while it is blind."""
        revision, at_s = self._resigned_at
        cured = {
            Ailment.BLIND: senses.revision > revision,
            Ailment.DEAF: senses.hears,
            Ailment.POWERLESS: now.mono_s >= at_s + RESIGN_AGAIN_S,  # only a try can show more
        }
        if self.ailing is None or cured[self.ailing]:
            self.ailing = None
            return 0.0
        return float("inf") if self.ailing is Ailment.BLIND else HEAD_START_S

    def _diagnose(self, senses: LeaderSenses, now: Instant) -> tuple[Ailment, str] | None:
        if self._unseen is not None and senses.revision >= self._unseen[0]:
            self._unseen = None
        if not senses.is_in_office and now.mono_s - self._began_s > BLIND_S:
            return Ailment.BLIND, "the watch has not shown this replica's own election"
        if self._watch_silent_s > BLIND_S:
            return Ailment.BLIND, f"the watch of the store has been dead for {self._watch_silent_s:.0f} s"
        if self._unseen is not None and now.mono_s - self._unseen[1] > BLIND_S:
            return Ailment.BLIND, f"the watch has not shown this replica's own commit of revision {self._unseen[0]}"
        if senses.powerless_s > POWERLESS_S:
            return Ailment.POWERLESS, f"the store has taken no commit for {senses.powerless_s:.0f} s"
        deaf_s = now.mono_s - max(self._began_s, senses.last_heard_s)
        became_deaf = senses.last_heard_s > self._began_s and senses.drones > 1
        longest_s = DEAF_S if became_deaf else DEAF_FROM_START_S
        if senses.has_work and not senses.hears and deaf_s > longest_s:
            return Ailment.DEAF, f"no drone has been heard for {deaf_s:.0f} s, and there is work"
        return None
