"""The surroundings that all parts of one simulated region share: time, chance, network, store and trace."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections import Counter
from collections.abc import Callable

from ..core.policies import BreakerPolicy, DispatchPolicy
from ..core.types import DroneClass, Entry, FleetSpec, GeoPoint
from ..store import MemoryBackend
from .archive import MemoryArchive
from .chance import Chance
from .network import SimulatedNetwork
from .physics import Packages
from .profile import Conditions, Profile
from .scheduler import Scheduler

REGION = "simulated"
DEPOT = GeoPoint(37.7577, -122.3876)
#: Quick to load and to charge, so that a seed spends its time on what can go wrong.
COURIER = DroneClass(
    "courier", 3.0, 25.0, 8.0, 40.0, 550.0, 6.0, 700.0, charge_power_w=20_000.0, load_time_s=4.0, drop_time_s=2.0
)
HEAVY = DroneClass(
    "heavy", 8.0, 20.0, 6.0, 40.0, 2400.0, 14.0, 2000.0, charge_power_w=40_000.0, load_time_s=6.0, drop_time_s=3.0
)


class Environment:
    """Surroundings of one run. With ``trace`` the events are kept as ``lines``, else they are only hashed.

    ``conditions`` says how bad things are now. ``is_calm`` is true in the liveness phase, when nothing fails any more.
    ``faults`` counts the faults that struck, and ``struck_s`` says when. ``met`` counts, for each kind of fault, the
    phases of orders in which it struck. ``violations`` has each broken invariant with what broke it.
    """

    def __init__(self, seed: int, profile: Profile, *, trace: bool = False) -> None:
        self.seed = seed
        self.profile = profile
        self.chance = Chance(f"{profile.name}/{seed}")
        self.conditions = Conditions.draw(profile, self.chance)
        self.is_calm = False
        self.faults: Counter[str] = Counter()
        self.struck_s: list[float] = []
        self.met: Counter[tuple[str, str]] = Counter()
        self.violations: list[tuple[str, str]] = []
        self.scheduler = Scheduler(profile.max_events)
        self.network = SimulatedNetwork(self.scheduler, self.chance, lambda: self.conditions, self.faults)
        self.fleet = FleetSpec(REGION, DEPOT, profile.service_radius_m, (COURIER, HEAVY))
        self.packages = Packages(DEPOT)
        self.backend = MemoryBackend(lambda: self.scheduler.now_s, threaded=False, on_change=self._store_changed)
        self.archive = MemoryArchive()
        self.decoded: dict[tuple[str, int], Entry] = {}  # shared by all clients of the store
        self.is_traced = trace
        self._lines: list[tuple[float, str]] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self._store_listeners: list[Callable[[], None]] = []

    def dispatch_policy(self) -> DispatchPolicy:
        if self.profile.default_budgets:
            return DispatchPolicy()
        ttl_s = self.conditions.reservation_ttl_s
        return DispatchPolicy(
            lost_grace_s=self.profile.lost_grace_s,
            keep_reservation_s=ttl_s / 5.0,
            drone_silent_s=3.0 * self.profile.state_period_s,
            replan_period_s=2.0,
            max_attempts=50,
            max_recall_tries=5,
            recall_cap_s=6.0,
            breaker=BreakerPolicy(open_s=10.0, open_cap_s=60.0),
        )

    def on_store_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` at each change of the store, within the call that makes the change."""
        self._store_listeners.append(listener)

    def _store_changed(self) -> None:
        for listener in self._store_listeners:
            listener()

    # --- trace --------------------------------------------------------------------------------------------------------

    def trace(self, text: str) -> None:
        """Add an event to the run's hash, and to its lines if the run is traced."""
        self._digest.update(f"{self.scheduler.now_s:9.3f} {text}".encode())
        self.note(text)

    def note(self, text: str, at_s: float | None = None) -> None:
        """Add a line to a traced run, but not to its hash. ``at_s`` is when it happened, now by default."""
        if self.is_traced:
            self._lines.append((self.scheduler.now_s if at_s is None else at_s, text))

    def hash_in(self, text: str) -> None:
        """Add ``text`` to the run's hash, but not to its lines."""
        self._digest.update(text.encode())

    @property
    def trace_hash(self) -> str:
        return self._digest.hexdigest()

    @property
    def lines(self) -> list[str]:
        """The trace so far: one line for each event, and for each key that changed in the store."""
        return [f"{at_s:9.3f} {text}" for at_s, text in sorted(self._lines, key=lambda line: line[0])]

    def logger(self, name: str) -> logging.Logger:
        """Return a logger that writes to the trace, or to nothing if the run is not traced."""
        logger = logging.Logger(name)
        if self.is_traced:
            logger.addHandler(_TraceHandler(self.note))
        else:
            logger.setLevel(logging.CRITICAL + 1)
        return logger

    # --- faults -------------------------------------------------------------------------------------------------------

    def strike(self, kind: str, victim: str) -> None:
        """Count and trace a fault that has struck."""
        self.faults[kind] += 1
        self.struck_s.append(self.scheduler.now_s)
        self.trace(f"FAULT {kind} {victim}")

    # --- violations ---------------------------------------------------------------------------------------------------

    def wrong(self, invariant: str, text: str) -> None:
        """Report that an invariant is broken."""
        self.trace(f"WRONG {invariant} {text}")
        self.violations.append((invariant, text))

    def defect(self, text: str, error: BaseException) -> None:
        """Report an exception that must not happen. The order it was about may be lost, which breaks I3."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        at = "".join(f" at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in where)
        self.wrong("I3", f"defect: {text}{at}")


class _TraceHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(f"{record.name}: {record.levelname.lower()}: {record.getMessage()}")
