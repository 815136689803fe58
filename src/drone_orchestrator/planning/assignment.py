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


def assign(cost: FloatArray, feasible: BoolArray) -> list[tuple[int, int]]:
    """Pairs ``(row, column)`` in row order: the most pairs that can be had, at the least total cost.

    ``cost`` and ``feasible`` are ``(n, m)``; costs may be negative, must be finite where feasible and are not looked at
    elsewhere. No row and no column appears twice; a pair that is not feasible never does. Equal input, equal answer.
    """
    rows, columns = np.flatnonzero(feasible.any(axis=1)), np.flatnonzero(feasible.any(axis=0))
    if rows.size == 0:
        return []
    square = np.ix_(rows, columns)
    usable = feasible[square]
    lowest = float(np.min(cost[square], where=usable, initial=np.inf))
    above = np.where(usable, cost[square] - lowest, 0.0)
    # One forbidden pair must cost more than anything that could be saved by it on all the others.
    forbidden = (float(above.max()) + 1.0) * (min(usable.shape) + 1)
    chosen_rows, chosen_columns = linear_sum_assignment(np.where(usable, above, forbidden))
    kept = usable[chosen_rows, chosen_columns]
    return list(zip(rows[chosen_rows[kept]].tolist(), columns[chosen_columns[kept]].tolist(), strict=True))


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
