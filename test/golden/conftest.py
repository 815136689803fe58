"""``--rewrite-golden`` writes what comes out over what was expected; read the difference before committing it."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="take what comes out for what is expected")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    # Where this folder is not named on the command line the option is not known.
    return bool(request.config.getoption("--rewrite-golden", default=False))
