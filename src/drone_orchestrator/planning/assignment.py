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


#: Up to so many pairs the answer is the optimum. Beyond, the solver takes seconds where costs are nearly alike
#: and would hold up the leader; so costs are rounded to so many levels, for it is quick on equal ones.
EXACT_PAIRS = 256
LEVELS = 16


def assign(cost: FloatArray, feasible: BoolArray) -> list[tuple[int, int]]:
    """Pairs ``(row, column)`` in row order: the most pairs that can be had, at the least total cost.

    ``cost`` and ``feasible`` are ``(n, m)``; costs may be negative, must be finite where feasible and are not looked at
    elsewhere. No row and no column appears twice; a pair that is not feasible never does. Equal input, equal answer.

    The number of pairs is always the greatest. The cost is the least where at most :data:`EXACT_PAIRS` rows or columns
    have a feasible pair. With more, costs are rounded to :data:`LEVELS` steps of their range: first each column's best, to
    choose columns if there are too many, then the amount by which each pair costs more than its column's best.
    """
    rows, columns = np.flatnonzero(feasible.any(axis=1)), np.flatnonzero(feasible.any(axis=0))
    if rows.size == 0:
        return []
    solve = _exact if min(rows.size, columns.size) <= EXACT_PAIRS else _rounded
    if (rows.size, columns.size) != feasible.shape:
        part = np.ix_(rows, columns)
        cost, feasible = cost[part], feasible[part]
    chosen_rows, chosen_columns = solve(cost, feasible)
    return list(zip(rows[chosen_rows].tolist(), columns[chosen_columns].tolist(), strict=True))


def _exact(cost: FloatArray, usable: BoolArray) -> tuple[IndexArray, IndexArray]:
    return _cheapest(np.where(usable, cost - np.min(cost, where=usable, initial=np.inf), 0.0), usable)


def _rounded(cost: FloatArray, usable: BoolArray) -> tuple[IndexArray, IndexArray]:
    best = np.min(cost, axis=0, where=usable, initial=np.inf)
    if usable.shape[1] > usable.shape[0]:
        # First which columns are served at all, judged by the best row of each; then by whom.
        worse = best - best.min()
        _, served = _cheapest(np.where(usable, np.rint(worse / _step(worse)), 0.0), usable)
        served.sort()
        rows, columns = _rounded(cost[:, served], usable[:, served])
        return rows, served[columns]
    # A column that gets its best row costs nothing, so that the levels measure what there is to decide.
    regret = np.where(usable, cost - best, 0.0)
    step = _step(regret)
    return _cheapest(np.rint(regret / step), usable, np.rint((best.max() - best) / step))


def _step(above: FloatArray) -> float:
    return float(above.max()) / LEVELS or 1.0


def _cheapest(
    above: FloatArray, usable: BoolArray, left_out: FloatArray | float = 0.0
) -> tuple[IndexArray, IndexArray]:
    """Pairs of least ``above`` (>= 0, 0 where not usable); ``left_out`` ``(m,)`` is what a column costs unpaired."""
    # One forbidden pair must cost more than anything that could be saved by it on all the others.
    forbidden = (float(above.max()) + float(np.max(left_out)) + 1.0) * (min(usable.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(usable, above, forbidden + left_out))
    kept = usable[rows, columns]
    return rows[kept], columns[kept]


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
