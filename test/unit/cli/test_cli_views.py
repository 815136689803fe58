"""Texts and views of the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from drone_orchestrator.cli.context import positive
from drone_orchestrator.cli.main import COMMANDS, fleetctl
from drone_orchestrator.cli.orders.views import bar, lasted_s
from drone_orchestrator.cli.output import Failure, duration, printable, shown
from drone_orchestrator.core.types import SagaEvent, SagaStatus


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (0.084, "0.08 s"),
        (9.99, "9.99 s"),
        (12.4, "12 s"),
        (59.6, "1 min 00 s"),
        (184.0, "3 min 04 s"),
        (3599.9, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
        (86400.0 * 3 + 4 * 3600, "3 d 04 h"),
        (-5.0, "-5.00 s"),
    ],
)
def test_durations_are_human_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def event(n: int, at: float, status: SagaStatus) -> SagaEvent:
    return SagaEvent("m1", n, "something", at, 1, status)


def test_a_state_lasts_until_the_next_one_and_the_last_until_now() -> None:
    history = [event(1, 10.0, SagaStatus.PENDING), event(2, 12.5, SagaStatus.ASSIGNED)]
    assert lasted_s(history, 20.0) == [2.5, 7.5]
    assert lasted_s([*history, event(3, 13.0, SagaStatus.CANCELLED)], 20.0) == [2.5, 0.5, 0.0]
    assert lasted_s([], 20.0) == []


def test_differing_clocks_of_two_leaders_give_no_negative_duration() -> None:
    assert lasted_s([event(1, 10.0, SagaStatus.PENDING), event(2, 9.0, SagaStatus.ASSIGNED)], 8.0) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("share", "cells"), [(0.0, ""), (1.0, "█" * 16), (0.5, "█" * 8), (1 / 128, "▏"), (7.0, "█" * 16)]
)
def test_the_length_of_a_bar_is_its_share(share: float, cells: str) -> None:
    assert bar(share) == cells


def test_foreign_text_can_neither_control_the_terminal_nor_add_markup() -> None:
    assert printable("a\x1b[31mb\nc\ud800") == "a\\x1b[31mb\\nc\\ud800"
    assert shown("[red]x") == "\\[red]x"


def test_a_failure_is_one_line_of_bounded_length(capsys: pytest.CaptureFixture[str]) -> None:
    Failure("one\ntwo \x1b[2J" + "x" * 10_000).show()
    said = capsys.readouterr().err
    assert said.startswith("fleetctl: one two \\x1b[2J") and len(said) < 500 and said.count("\n") == 1


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "0", "1001", "x", ""])
def test_an_invalid_or_out_of_range_number_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        positive(0.001, 1000).convert(text, None, None)


def test_a_number_in_range_is_accepted() -> None:
    assert positive(0.001, 1000).convert("1e3", None, None) == 1000.0


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_overview_names_existing_commands(name: str) -> None:
    done = CliRunner().invoke(fleetctl, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert f"Usage: fleetctl {name}" in done.output
