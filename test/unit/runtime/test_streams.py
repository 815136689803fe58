"""A program that was started without standard streams does not write into other files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from drone_orchestrator.runtime import streams
streams.open_missing()
assert None not in (sys.stdin, sys.stdout, sys.stderr)
precious = open(sys.argv[1], "w")
assert precious.fileno() > 2
os.write(1, b"printed by a library"), os.write(2, b"logged by a library")
print("printed"), sys.stdout.flush()
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_replaced(closed: str, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", PROGRAM, str(path)]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
    assert path.read_bytes() == b""
