"""``--rewrite-golden`` writes what comes out over what was expected; read the difference before committing it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "unit"))  # for world.py


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="take what comes out for what is expected")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    # Where this folder is not named on the command line the option is not known.
    return bool(request.config.getoption("--rewrite-golden", default=False))
