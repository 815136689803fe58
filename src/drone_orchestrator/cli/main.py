"""``fleetctl``: runs, watches and checks a fleet. Exit codes: 0 done, 1 a check failed, 2 usage or precondition."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from .. import __version__
from .output import Failure

#: Command to the module that has it: a command loads only what it needs.
_COMMANDS = {
    "demo": "demo",
    "chaos": "chaos",
    "up": "up",
    "doctor": "doctor",
    "order": "orders",
    "events": "orders",
    "drones": "fleet",
    "leader": "fleet",
    "audit": "audit",
    "bench": "bench",
    "simulate": "simulate",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f".{_COMMANDS[name]}", __package__)
        command: click.Command = getattr(module, name)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def fleetctl() -> None:
    """Run, watch and check a fleet of delivery drones."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point; turns every way to fail into its exit code and one line."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = fleetctl(standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fleetctl"
        print(f"{command}: {' '.join(error.format_message().split())} (see {command} --help)", file=sys.stderr)
        code = 2
    except Failure as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader went away (`| head`): there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
