"""Distribution of all tests to workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

#: Tests of these folders start processes of their own; those of one file one after the other, please.
REAL = {"browser", "chaos", "contract", "e2e", "launch", "ros"}
HERE = Path(__file__).parent

# A shell's background job ignores Ctrl-C, and so would every process that the tests start to press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``-n 2 --dist loadgroup`` the tests of such a file share a worker, and with it the fleet that they start."""
    for item in items:
        path = item.path.relative_to(HERE)
        if path.parts[0] in REAL:
            item.add_marker(pytest.mark.xdist_group(path.stem))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """A worker that does not see the groups would start one fleet twice and deal its tests out to both."""
    if getattr(session.config.option, "loadgroup", False):
        alone = [i for i in session.items if i.get_closest_marker("xdist_group") and "@" not in i.nodeid]
        if alone:
            raise pytest.UsageError(
                f"pytest-xdist does not fit pytest {pytest.__version__}: no group: {alone[0].nodeid}"
            )
