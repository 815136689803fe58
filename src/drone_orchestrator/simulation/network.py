"""Network between named machines: messages are delayed, lost, repeated, reordered or held up; links are cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .chance import Chance
from .profile import Conditions
from .scheduler import Action, Scheduler

#: Share of the messages to a cut link that arrive when it heals.
HELD_SHARE = 0.5

#: A repeated message arrives within this time (s): mostly soon, now and then a whole delivery later.
REPEATED_WITHIN_S = 60.0


class SimulatedNetwork:
    """Network whose present quality is ``conditions()``. It counts in ``faults`` what it does to messages."""

    def __init__(
        self, scheduler: Scheduler, chance: Chance, conditions: Callable[[], Conditions], faults: Counter[str]
    ) -> None:
        self._scheduler = scheduler
        self._chance = chance
        self._conditions = conditions
        self._faults = faults
        self._cut: dict[tuple[str, str], int] = {}
        self._latest_s: dict[tuple[str, str, str], float] = {}
        self._last_due_s: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], list[Action]] = {}

    def cut(self, source: str, target: str) -> None:
        """Drop messages from ``source`` to ``target`` until :meth:`heal` was called as often as this method."""
        self._cut[source, target] = self._cut.get((source, target), 0) + 1

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cut

    def heal(self, source: str, target: str) -> None:
        left = self._cut.get((source, target), 0) - 1
        if left > 0:
            self._cut[source, target] = left
        else:
            self._cut.pop((source, target), None)
            self._release((source, target))

    def heal_all(self) -> None:
        self._cut.clear()
        for link in list(self._held):
            self._release(link)

    def send(self, source: str, target: str, deliver: Action, topic: str = "") -> None:
        """Call ``deliver`` at the target, later. Messages of one ``topic`` keep their order, as in DDS.

        A topic has one writer; its messages may be lost, but are not repeated. Other messages may arrive twice. Over a
        link that is cut, they may arrive when it heals, because their sender retries whatever happens meanwhile.
        """
        conditions, rng = self._conditions(), self._chance.of("link", source, target)
        if self._cut and (source, target) in self._cut:
            if not topic and rng.random() < HELD_SHARE:
                self._held.setdefault((source, target), []).append(deliver)
            return
        if conditions.message_loss and rng.random() < conditions.message_loss:
            self._faults["message_lost"] += 1
            return
        due_s = self._scheduler.now_s + 0.001 + rng.random() * conditions.message_delay_s
        if topic:
            due_s = max(due_s, self._latest_s.get((source, target, topic), 0.0))
            self._latest_s[source, target, topic] = due_s
        else:
            if due_s < self._last_due_s.get((source, target), 0.0):
                self._faults["message_overtaken"] += 1
            self._last_due_s[source, target] = due_s
            if conditions.message_repeat and rng.random() < conditions.message_repeat:
                self._faults["message_repeated"] += 1
                self._scheduler.at(
                    due_s + rng.random() ** 3 * REPEATED_WITHIN_S, lambda: self._arrive(source, target, deliver)
                )
        self._scheduler.at(due_s, lambda: self._arrive(source, target, deliver))

    def _arrive(self, source: str, target: str, deliver: Action) -> None:
        if not self._cut or (source, target) not in self._cut:
            deliver()

    def _release(self, link: tuple[str, str]) -> None:
        rng = self._chance.of("link", *link)
        for deliver in self._held.pop(link, ()):
            self._faults["message_held_up"] += 1
            self._scheduler.after(rng.random(), deliver)
