"""A careful shop that orders over HTTP: it retries with the same key until there is an answer."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

_RETRY_S = 0.2
_TIMEOUT_S = 5.0
#: Status codes after which the request is repeated.
_TRY_AGAIN = (429, 503)

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Habits:
    """Shares of orders that the shop repeats, misuses (same key, another order) and cancels; drawn per order by
    seed."""

    again: float = 0.25
    conflicts: float = 0.0
    cancels: float = 0.0
    cancel_within_s: float = 5.0


class HttpShop:
    """Shop that submits ``documents`` every ``period_s`` while ``may_order`` allows it. A context manager."""

    def __init__(
        self,
        url: str,
        documents: Iterable[Document],
        *,
        name: str,
        seed: int,
        period_s: float,
        habits: Habits,
        counters: int = 1,
        may_order: Callable[[], bool] = lambda: True,
    ) -> None:
        self.accepted: dict[str, str] = {}  # order id -> message id
        self.doubled: set[str] = set()
        self.refused: set[str] = set()  # orders whose misused key was refused, as it must be
        self.cancelled: set[str] = set()
        self.trouble: list[str] = []  # answers that a shop should never get
        self._url = url
        self._documents = iter(documents)
        self._name = name
        self._seed = seed
        self._period_s = period_s
        self._habits = habits
        self._may_order = may_order
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, name=f"counter-{i}", daemon=True) for i in range(counters)
        ]

    def __enter__(self) -> HttpShop:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._given_up.set()
        for thread in self._threads:
            thread.join()

    def finish(self, timeout_s: float) -> bool:
        """Stop ordering and wait for the answers in flight. Return True if they came in time."""
        self._closing.set()
        timer = threading.Timer(timeout_s, self._given_up.set)
        timer.start()
        for thread in self._threads:
            thread.join()
        timer.cancel()
        return not self._given_up.is_set()

    def _serve(self) -> None:
        try:
            with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S, trust_env=False) as client:
                while not self._closing.is_set():
                    if self._may_order():
                        with self._lock:
                            document = next(self._documents, None)
                        if document is None:
                            return
                        self._deal(client, document)
                    self._closing.wait(self._period_s)
        except Exception as error:
            self.trouble.append(repr(error))

    def _deal(self, client: httpx.Client, document: Document) -> None:
        order_id = str(document["order_id"])
        rng = random.Random(f"{self._seed}/{order_id}")
        again, conflict, cancel = (rng.random() for _ in range(3))
        if not self._place(client, document):
            return
        if again < self._habits.again:
            self.doubled.add(order_id)
            self._place(client, document)
        if conflict < self._habits.conflicts:
            self._misuse(client, document)
        if cancel < self._habits.cancels:
            self._given_up.wait(rng.uniform(0.0, self._habits.cancel_within_s))
            self._cancel(client, order_id)

    def _place(self, client: httpx.Client, document: Document) -> bool:
        order_id = str(document["order_id"])
        answer = self._post(client, document)
        if answer is None:
            return False
        if answer.status_code not in (200, 202):
            self._complain(order_id, answer)
            return False
        message_id = answer.json()["message_id"]
        if self.accepted.setdefault(order_id, message_id) != message_id:
            self.trouble.append(f"{order_id}: two message ids, {self.accepted[order_id]} and {message_id}")
        return True

    def _misuse(self, client: httpx.Client, document: Document) -> None:
        """Send the same key with another order, which must be refused."""
        other = {**document, "package_weight_kg": round(float(document["package_weight_kg"]) / 2, 3)}
        answer = self._post(client, other)
        if answer is None:
            return
        if answer.status_code == 409:
            self.refused.add(str(document["order_id"]))
        else:
            self._complain(f"{document['order_id']} with another payload", answer)

    def _cancel(self, client: httpx.Client, order_id: str) -> None:
        answer = self._ask(lambda: client.delete(f"/orders/{order_id}"))
        if answer is None:
            return
        if answer.status_code in (200, 202):
            self.cancelled.add(order_id)
        elif answer.status_code != 409:  # too late for it
            self._complain(f"cancellation of {order_id}", answer)

    def _post(self, client: httpx.Client, document: Document) -> httpx.Response | None:
        key = f"{self._name}-{document['order_id']}"
        return self._ask(lambda: client.post("/orders", json=document, headers={"Idempotency-Key": key}))

    def _ask(self, request: Callable[[], httpx.Response]) -> httpx.Response | None:
        """Return the first final answer, ``None`` if the shop gave up before."""
        while not self._given_up.is_set():
            try:
                answer = request()
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code not in _TRY_AGAIN:
                return answer
            self._given_up.wait(_RETRY_S)
        return None

    def _complain(self, what: str, answer: httpx.Response) -> None:
        self.trouble.append(f"{what}: {answer.status_code} {answer.text}")
