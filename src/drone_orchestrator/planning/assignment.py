"""Solves the assignment problem: as many pairs as possible, at the least total cost."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from .arrays import BoolArray, FloatArray, IndexArray

Solver = Callable[[FloatArray], tuple[IndexArray, IndexArray]]

#: Up to this many pairs the answer is optimal. On larger matrices the solver takes seconds if costs are nearly equal
#: (as for drones in one depot), which would delay the leader.
EXACT_PAIRS = 256
BLOCK_PAIRS = 128

_NONE = -1


def assign(cost: FloatArray, feasible: BoolArray, room: IndexArray | None = None) -> list[tuple[int, int]]:
    """Return pairs ``(row, column)`` in row order: as many as possible, at the least total cost.

    ``cost`` and ``feasible`` are ``(n, m)``. Costs may be negative, must be finite where feasible, and are ignored
    elsewhere. Every pair is feasible. A column appears at most once, a row at most as often as it has ``room``
    ``(n,)``, by default once. Equal input gives equal output.

    The number of pairs is always the maximum. The cost is minimal if at most :data:`EXACT_PAIRS` rows or columns have a
    feasible pair, not counting rows with room for all of their columns. With more, columns choose in the order of their
    best cost; then blocks of :data:`BLOCK_PAIRS` columns exchange rows to reduce the cost.
    """
    each = np.ones(len(cost), dtype=np.intp) if room is None else room
    useful = feasible.sum(axis=1)
    plenty = (useful > 0) & (each >= useful)
    scarce = np.repeat(np.arange(len(cost)), np.where(plenty | (useful == 0), 0, each))
    if plenty.any() and min(scarce.size, feasible.shape[1]) <= EXACT_PAIRS:
        return _beside_plenty(cost, feasible, np.flatnonzero(plenty), scarce)
    return _one_each(cost, feasible, np.repeat(np.arange(len(cost)), np.minimum(each, useful)))


def _beside_plenty(
    cost: FloatArray, usable: BoolArray, plenty: IndexArray, scarce: IndexArray
) -> list[tuple[int, int]]:
    """Assign each column the best of the plentiful rows, or a scarce row that is cheaper.

    ``scarce``: the other rows, each as often as it has room. Equal rows slow the solver down most, and most drones of a
    fleet at rest are equal.
    """
    at_plenty = np.where(usable[plenty], cost[plenty], np.inf)
    best = at_plenty.argmin(axis=0)
    price = at_plenty[best, np.arange(best.size)]
    row_of = np.where(np.isfinite(price), plenty[best], _NONE)
    if scarce.size:
        apart, worth = usable[scarce], cost[scarce]
        served = row_of != _NONE
        gain = np.where(apart & served, np.maximum(0.0, np.where(served, price, 0.0) - worth), 0.0)
        # Serving one more column must be worth more than any saving on the others.
        least = np.min(worth, where=apart, initial=np.inf)
        above = np.where(apart & ~served, worth - least, 0.0)
        prize = (float(gain.max()) + float(above.max()) + 1.0) * (min(apart.shape) + 1)
        gain = np.where(apart & ~served, prize - above, gain)
        rows, columns = linear_sum_assignment(-gain)
        kept = gain[rows, columns] > 0.0
        row_of[columns[kept]] = scarce[rows[kept]]
    columns = np.flatnonzero(row_of != _NONE)
    return sorted(zip(row_of[columns].tolist(), columns.tolist(), strict=True))


def _one_each(cost: FloatArray, feasible: BoolArray, rows: IndexArray) -> list[tuple[int, int]]:
    """Assign each row at most once. ``rows``: the original row of each, repeated as often as it has room."""
    columns = np.flatnonzero(feasible.any(axis=0))
    if rows.size == 0:
        return []
    if not np.array_equal(rows, np.arange(len(cost))) or columns.size != feasible.shape[1]:
        part = np.ix_(rows, columns)
        cost, feasible = cost[part], feasible[part]
    solve = _exact if min(feasible.shape) <= EXACT_PAIRS else _one_by_one
    chosen_rows, chosen_columns = solve(cost, feasible)
    return sorted(zip(rows[chosen_rows].tolist(), columns[chosen_columns].tolist(), strict=True))


def _exact(cost: FloatArray, usable: BoolArray) -> tuple[IndexArray, IndexArray]:
    above = np.where(usable, cost - np.min(cost, where=usable, initial=np.inf), 0.0)
    # One forbidden pair must cost more than it could save on all the others.
    forbidden = (float(above.max()) + 1.0) * (min(usable.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(usable, above, forbidden))
    kept = usable[rows, columns]
    return rows[kept], columns[kept]


def _one_by_one(cost: FloatArray, usable: BoolArray) -> tuple[IndexArray, IndexArray]:
    """Assign columns one by one, the cheapest first. Each gets its best free row, or one that other columns vacate.

    Sets of columns that can be served together form a matroid, so this serves as many columns as possible, and prefers
    earlier ones.
    """
    by_column = np.ascontiguousarray(np.where(usable, cost, np.inf).T)
    search = _Search(np.ascontiguousarray(usable.T))
    order = np.argsort(by_column.min(axis=1), kind="stable")
    for column in order.tolist():
        open_cost = np.where(search.is_free, by_column[column], np.inf)
        row = int(open_cost.argmin())
        if np.isfinite(open_cost[row]):
            search.pair(row, column)
        else:
            search.make_room_for(column)
    served = order[search.row_of[order] != _NONE]
    rows = search.row_of[served]
    for first in range(0, served.size, BLOCK_PAIRS):
        block = slice(first, first + BLOCK_PAIRS)
        part = np.ix_(rows[block], served[block])
        traded, at = _exact(cost[part], usable[part])
        rows[block][at] = rows[block][traded]
    return rows, served


class _Search:
    """A matching that grows along augmenting paths (C. Berge, 1957). ``usable`` is ``(m, n)``, columns first."""

    def __init__(self, usable: BoolArray) -> None:
        columns, rows = usable.shape
        self._usable = usable
        self._hopeless = np.zeros(rows, dtype=np.bool_)
        self._column_of = np.full(rows, _NONE, dtype=np.intp)
        self.row_of = np.full(columns, _NONE, dtype=np.intp)
        self.is_free = np.ones(rows, dtype=np.bool_)

    def pair(self, row: int, column: int) -> None:
        self.row_of[column], self._column_of[row] = row, column
        self.is_free[row] = False

    def make_room_for(self, column: int) -> None:
        """Give ``column`` a row by moving others to free rows, if that is possible."""
        unseen = ~self._hopeless
        reached_from = np.full(unseen.size, _NONE, dtype=np.intp)
        frontier = np.array([column], dtype=np.intp)
        while frontier.size:
            edges = self._usable[frontier]
            reached = np.flatnonzero(edges.any(axis=0) & unseen)
            reached_from[reached] = frontier[edges[:, reached].argmax(axis=0)]
            unseen[reached] = False
            free = reached[self.is_free[reached]]
            if free.size:
                self._move_along(int(free[0]), column, reached_from)
                return
            frontier = self._column_of[reached]
        # No later search gets any further from these rows.
        self._hopeless = ~unseen

    def _move_along(self, row: int, last: int, reached_from: IndexArray) -> None:
        while row != _NONE:
            column = int(reached_from[row])
            before = int(self.row_of[column])
            self.pair(row, column)
            row = before if column != last else _NONE


def _load_solver() -> Solver:
    """Import ``scipy.optimize.linear_sum_assignment`` without the rest of ``scipy.optimize``.

    Importing the package costs 51 MiB of resident memory and 0.4 s. The solver is one extension module that needs
    nothing else and costs 0.1 MiB. Falls back to the public import if scipy keeps it elsewhere.
    """
    scipy = find_spec("scipy")
    places = scipy.submodule_search_locations if scipy else None
    for place in places or ():
        finder = FileFinder(str(Path(place) / "optimize"), (ExtensionFileLoader, EXTENSION_SUFFIXES))
        spec = finder.find_spec("_lsap")
        if spec and spec.loader:
            module: Any = module_from_spec(spec)
            spec.loader.exec_module(module)
            if hasattr(module, "linear_sum_assignment"):
                return cast(Solver, module.linear_sum_assignment)
    from scipy.optimize import linear_sum_assignment as public

    return cast(Solver, public)


linear_sum_assignment: Solver = _load_solver()
