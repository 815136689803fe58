"""Gives a program standard streams if its starter closed them (``>&-``, some init systems).

The next file or socket would otherwise get the free number, and whatever a library prints would be written into it.
"""

from __future__ import annotations

import os
import sys


def open_missing() -> None:
    """Open ``/dev/null`` in place of every closed standard stream. Must be called before anything opens a file."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w", encoding="utf-8", closefd=False))
