"""Ctrl-C and SIGTERM: the first asks the command to stop, the second ends it at once and leaves nothing behind."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..bringup import leftovers

EXIT_CODE = 130
_KILL_WITHIN_S = 3.0
_POLL_S = 0.01
#: Shows the cursor again, which a progress display hides.
_SHOW_CURSOR = b"\x1b[?25h"


class _State:
    came = False
    waits_for = ""


def install() -> None:
    """Handle SIGINT and SIGTERM in this process from now on. Call it on the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    # Python restores the default handlers while it shuts down. A second interrupt at that moment would replace the exit
    # code by death from a signal. Exit handlers run once all threads have been joined: nothing is left to interrupt.
    atexit.register(_ignore)


def _ignore() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Say in the block that an interrupt waits for ``what``."""
    before, _State.waits_for = _State.waits_for, what
    try:
        yield
    finally:
        _State.waits_for = before


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _State.came:
        _end_at_once()
    _State.came = True
    what = _State.waits_for or ("the processes that it started to end" if leftovers.noted() else "")
    if what:
        _say(f"interrupted: waiting for {what}; once more ends at once")
    raise KeyboardInterrupt


def _end_at_once() -> None:
    """Kill every process that this one started, remove what it made, and exit."""
    _say("ended at once")
    end_s = time.monotonic() + _KILL_WITHIN_S
    while (left := _descendants(os.getpid())) and time.monotonic() < end_s:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended meanwhile
        time.sleep(_POLL_S)
    leftovers.remove_all()
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            os.write(stream.fileno(), _SHOW_CURSOR)
    os._exit(EXIT_CODE)


def _say(text: str) -> None:
    # Not through sys.stderr: the signal may have come while that was being written.
    os.write(2, f"{text}\n".encode())


def _descendants(root: int) -> list[int]:
    """Return the living processes below ``root``, except multiprocessing's tracker, which then cleans up and ends."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX" and b"multiprocessing.resource_tracker" not in (folder / "cmdline").read_bytes():
                children.setdefault(int(parent), []).append(int(folder.name))
        except OSError:
            continue  # it ended meanwhile
    found, parents = [], [root]
    while parents:
        below = children.get(parents.pop(), [])
        found += below
        parents += below
    return found
