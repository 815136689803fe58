"""What all tests share: how they are dealt out to workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

#: Tests of these folders start processes of their own and measure them in real time: one after the other, please.
REAL = {"browser", "chaos", "contract", "e2e", "launch", "ros"}
HERE = Path(__file__).parent

# A shell's background job ignores Ctrl-C, and so would every process that the tests start to press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``-n 2 --dist loadgroup`` one worker runs the real things, while the other calculates."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in REAL:
            item.add_marker(pytest.mark.xdist_group("real"))
