"""``--rewrite-golden`` replaces the expected output by the actual one; review the difference before committing it."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="replace the expected output by the actual one")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    # The option exists only if this folder is named on the command line.
    return bool(request.config.getoption("--rewrite-golden", default=False))
