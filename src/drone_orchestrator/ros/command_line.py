"""The command line of a node: ``--help``, ``--version`` and ROS's own arguments. Anything else is an error."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from .. import __version__
from .params import Param, ParamValue

#: Widest line of the help text (characters), even on a wider terminal.
MAX_WIDTH = 100


def answer(program: str, about: str, table: Iterable[Param], argv: Sequence[str] | None = None) -> None:
    """Handle ``--help``, ``--version`` and unknown arguments, before ROS is initialised.

    ``argv`` is the command line without the program name; the default is this process's. Raises ``SystemExit``: 0 after
    ``--help`` or ``--version``, 2 after an unknown argument. Returns if the node should start.
    """
    for argument in _outside_ros(sys.argv[1:] if argv is None else argv):
        if argument in ("-h", "--help"):
            _show(usage(program, about, table, min(MAX_WIDTH, shutil.get_terminal_size().columns)))
            raise SystemExit(0)
        if argument == "--version":
            _show(f"{program}, version {__version__}")
            raise SystemExit(0)
        print(f"{program}: unknown argument {argument!r} (see {program} --help)", file=sys.stderr)
        raise SystemExit(2)


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader closed the pipe (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def usage(program: str, about: str, table: Iterable[Param], width: int) -> str:
    """Return the text of ``--help``: what the program is for, and every parameter of ``table``."""
    return "\n".join(
        [
            f"Usage: {program} [--help] [--version]",
            f"       {program} --ros-args [-p NAME:=VALUE]... [--params-file FILE] ...",
            "",
            *textwrap.wrap(about, width, initial_indent="  ", subsequent_indent="  "),
            "",
            "Parameters (* can be changed while the node runs):",
            *(line for param in table for line in _lines(param, width)),
        ]
    )


def _lines(param: Param, width: int) -> Iterator[str]:
    kind = param.ros_type.name.lower().replace("_", " ")
    unit = f" {param.unit}" if param.unit else ""
    facts = [f"{kind}, default {_as_yaml(param.default)}{unit}"]
    if param.choices:
        facts.append(f"one of {', '.join(param.choices)}")
    if param.lo is not None and param.hi is not None:
        facts.append(f"{param.lo:g} to {param.hi:g}{unit}")
    elif param.lo is not None:
        facts.append(f"at least {param.lo:g}{unit}")
    elif param.hi is not None:
        facts.append(f"at most {param.hi:g}{unit}")
    yield from textwrap.wrap(
        f"{param.name}{'' if param.read_only else ' *'}: {'; '.join(facts)}",
        width,
        initial_indent="  ",
        subsequent_indent="      ",
    )
    yield from textwrap.wrap(param.text, width, initial_indent="      ", subsequent_indent="      ")


def _as_yaml(value: ParamValue) -> str:
    """Return a value in the syntax of ``-p``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    return f"'{value}'" if isinstance(value, str) else f"[{', '.join(value)}]"


def _outside_ros(argv: Sequence[str]) -> Iterator[str]:
    """Yield the arguments that are not for ROS. Those from ``--ros-args`` up to ``--`` or the end are."""
    of_ros = False
    for argument in argv:
        if of_ros:
            of_ros = argument != "--"
        elif argument == "--ros-args":
            of_ros = True
        else:
            yield argument
