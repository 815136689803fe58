"""Fixtures of the tests of single nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from node_process import Operator

from drone_orchestrator.bringup.local_fleet import DomainReservation


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    reservation = DomainReservation()
    yield reservation.domain
    reservation.release()


@pytest.fixture(scope="module")
def operator(domain: int) -> Iterator[Operator]:
    with Operator(domain) as operator:
        yield operator
