"""Signal handling for child processes, and their end with their parent."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, parent_process, resource_tracker


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Shield processes started in this block from the terminal's Ctrl-C: their parent ends them."""
    # Starting the tracker unblocks SIGINT at its end, so it must run before the block begins.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """End this process, which :mod:`multiprocessing` started, as soon as its parent is gone, however that ended.

    Workers of a pool would otherwise wait forever for the next task: each of them keeps the others' queue open.
    """
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
