"""Commands whose bodies are imported when they run, so that ``--help`` and completion answer at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

_CLI = __package__.rpartition(".")[0]


def runs(module: str) -> Callable[[Callable[[], None]], Callable[..., Any]]:
    """Make a declaration run the function of its own name in ``module`` of this package, with the command's options."""

    def decorate(declaration: Callable[[], None]) -> Callable[..., Any]:
        @wraps(declaration)
        def run(**options: Any) -> Any:
            return body_of(run)(**options)

        vars(run)["module"] = module
        return run

    return decorate


def body_of(command: Callable[..., Any]) -> Callable[..., Any]:
    """Import and return the function that a command made by :func:`runs` will run."""
    body: Callable[..., Any] = getattr(import_module(f"{_CLI}.{vars(command)['module']}"), command.__name__)
    return body
