"""Distribution of all tests to workers."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

#: Tests of these folders start processes. Those of one file must run one after the other.
REAL = {"browser", "chaos", "contract", "e2e", "launch", "ros"}
HERE = Path(__file__).parent

# A shell's background job ignores Ctrl-C, and so would the processes that tests start in order to interrupt them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The class of loggers that launch installs, also as a pytest plugin where ROS 2 is, hands nothing on to caplog.
logging.setLoggerClass(logging.Logger)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collect a module as pytest alone does.

    The plugin launch_testing, a part of every ROS 2, would import it here, outside of its collection. A module that
    skips itself because a package is missing would then skip the whole session, and ``colcon test`` would be green.
    """
    module: pytest.Module = pytest.Module.from_parent(parent, path=module_path)
    return module


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of such a file: with ``--dist loadgroup`` they share a worker, and the fleet that they start."""
    for item in items:
        path = item.path.relative_to(HERE)
        if path.parts[0] in REAL:
            item.add_marker(pytest.mark.xdist_group(path.stem))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run if workers do not see the groups: two workers would start the same fleet."""
    if getattr(session.config.option, "loadgroup", False):
        alone = [i for i in session.items if i.get_closest_marker("xdist_group") and "@" not in i.nodeid]
        if alone:
            raise pytest.UsageError(
                f"pytest-xdist does not fit pytest {pytest.__version__}: no group: {alone[0].nodeid}"
            )
