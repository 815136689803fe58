"""The assignment problem: as many pairs as possible, and among those the cheapest."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]
Solver = Callable[[FloatArray], tuple[IndexArray, IndexArray]]

#: Up to so many pairs the answer is the optimum. On larger matrices the solver takes seconds where costs are nearly
#: alike, as those of drones in one depot are, and would hold up the leader.
EXACT_PAIRS = 256
BLOCK_PAIRS = 128

_NONE = -1


def assign(cost: FloatArray, feasible: BoolArray) -> list[tuple[int, int]]:
    """Pairs ``(row, column)`` in row order: the most pairs that can be had, at the least total cost.

    ``cost`` and ``feasible`` are ``(n, m)``; costs may be negative, must be finite where feasible and are not looked at
    elsewhere. No row and no column appears twice; a pair that is not feasible never does. Equal input, equal answer.

    The number of pairs is always the greatest. The cost is the least where at most :data:`EXACT_PAIRS` rows or columns
    have a feasible pair. With more, columns choose in the order of their best cost, and blocks of :data:`BLOCK_PAIRS`
    of them then trade their rows for the least cost.
    """
    rows, columns = np.flatnonzero(feasible.any(axis=1)), np.flatnonzero(feasible.any(axis=0))
    if rows.size == 0:
        return []
    if (rows.size, columns.size) != feasible.shape:
        part = np.ix_(rows, columns)
        cost, feasible = cost[part], feasible[part]
    solve = _exact if min(feasible.shape) <= EXACT_PAIRS else _one_by_one
    chosen_rows, chosen_columns = solve(cost, feasible)
    return sorted(zip(rows[chosen_rows].tolist(), columns[chosen_columns].tolist(), strict=True))


def _exact(cost: FloatArray, usable: BoolArray) -> tuple[IndexArray, IndexArray]:
    above = np.where(usable, cost - np.min(cost, where=usable, initial=np.inf), 0.0)
    # One forbidden pair must cost more than anything that could be saved by it on all the others.
    forbidden = (float(above.max()) + 1.0) * (min(usable.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(usable, above, forbidden))
    kept = usable[rows, columns]
    return rows[kept], columns[kept]


def _one_by_one(cost: FloatArray, usable: BoolArray) -> tuple[IndexArray, IndexArray]:
    """Column by column, the one of least cost first: its best free row, or one that others make room for.

    Columns that can be served together form a matroid, so that this serves the most columns, and the first ones first.
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
        """Give ``column`` a row by moving others on to rows that are free, if that is possible at all."""
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
        # Whoever gets to these rows later gets no further either.
        self._hopeless = ~unseen

    def _move_along(self, row: int, last: int, reached_from: IndexArray) -> None:
        while row != _NONE:
            column = int(reached_from[row])
            before = int(self.row_of[column])
            self.pair(row, column)
            row = before if column != last else _NONE


def _load_solver() -> Solver:
    """``scipy.optimize.linear_sum_assignment`` without the rest of ``scipy.optimize``.

    Importing the package costs 51 MiB of resident memory and 0.4 s; the solver is one extension module that stands
    alone, and costs 0.1 MiB. Where a version of scipy keeps it elsewhere, the public import does.
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
