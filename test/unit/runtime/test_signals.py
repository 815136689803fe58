"""Child processes that start while interrupts are held back never get them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import multiprocessing, os, signal
from drone_orchestrator.runtime.signals import interrupts_held_back

def report(pipe):
    pipe.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set()))

if __name__ == "__main__":
    spawned = multiprocessing.get_context("spawn")
    for _ in range(2):  # the first start also starts multiprocessing's resource tracker
        ours, theirs = spawned.Pipe()
        child = spawned.Process(target=report, args=(theirs,))
        with interrupts_held_back():
            child.start()
        print(ours.recv())
        child.join()
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set()))
"""


def test_interrupts_are_blocked_in_the_child_and_not_in_the_parent_afterwards(tmp_path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["True", "True", "False"], done.stderr
