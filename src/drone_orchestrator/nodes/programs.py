"""Entry points of the four programs: judge the environment, then import the program and run it.

Nothing here imports ROS, for which some values are fatal: an RMW implementation that is not installed ends the process
when rclpy is imported, and a domain that is too large aborts it. A supervisor would restart it forever.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

from ..ros import environment
from ..runtime import streams

#: Exit code of a program that cannot start as it was called, as :data:`~drone_orchestrator.bringup.plan.REFUSED`.
REFUSED = 2


def orchestrator() -> NoReturn:
    """Run ``orchestrator``."""
    _run("orchestrator", "node")


def drone_executor() -> NoReturn:
    """Run ``drone_executor``."""
    _run("drone_executor", "host")


def saga_monitor() -> NoReturn:
    """Run ``saga_monitor``."""
    _run("saga_monitor", "node")


def order_gateway() -> NoReturn:
    """Run ``order_gateway``."""
    _run("order_gateway", "node")


def _run(program: str, module: str) -> NoReturn:
    """Run ``main`` of ``module`` in the package ``program``, and exit with the code that it returns."""
    streams.open_missing()
    try:
        environment.check(os.environ, runs=not {"-h", "--help", "--version"} & set(sys.argv[1:]))
    except environment.UnusableEnvironment as error:
        _refuse(program, str(error))
    try:
        try:
            found = importlib.import_module(f"{__package__}.{program}.{module}")
        except ImportError as error:
            _refuse(program, f"{error}: source ROS 2 and this workspace in this terminal (fleetctl doctor)")
        code = found.main()
    except KeyboardInterrupt:  # it came before the program handles signals itself
        code = 0
    raise SystemExit(code)


def _refuse(program: str, problem: str) -> NoReturn:
    print(f"{program}: {problem}", file=sys.stderr)
    raise SystemExit(REFUSED)
