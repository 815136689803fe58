"""``fleetctl``: runs, watches and checks a fleet. Exit codes: 0 done, 1 a check failed, 2 usage or precondition."""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
import threading
import traceback

import click
from click.shell_completion import CompletionItem

from .. import __version__
from ..runtime import streams
from . import interrupts
from .commands.command_group import CommandGroup
from .output import Failure

#: By command: the module that declares it, and its summary. A command imports only its own module, the overview none.
COMMANDS = {
    "demo": ("demo", "Run a fleet under faults, and check the outcome."),
    "up": ("up", "Run a local fleet in the foreground until Ctrl-C."),
    "order": ("orders", "Submit, follow and cancel orders."),
    "events": ("orders", "Show all events of one order, and the duration of each state."),
    "drones": ("drones", "Show all drones; take one out of service, bring it back."),
    "leader": ("leader", "Show the leader; hand leadership over."),
    "top": ("top", "Show the whole fleet live."),
    "doctor": ("doctor", "Find out what is wrong with this machine or its fleet, and what to do."),
    "store": ("store", "Let a fleet go on whose etcd was restored."),
    "audit": ("audit", "Check that no order was lost, duplicated or left unfinished."),
    "simulate": ("simulate", "Run fleets in virtual time under seeded faults."),
    "chaos": ("chaos", "Run a fleet under seeded faults: processes killed, hung and cut off."),
    "bench": ("bench", "Measure the parts of a fleet."),
    "completion": ("completion", "Print a shell completion script."),
}


class _Lazy(CommandGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__package__}.commands.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(n, help=what) for n, (_, what) in COMMANDS.items() if n.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fleetctl")
def fleetctl() -> None:
    """Run, watch and check a fleet of delivery drones."""


_dead_threads: list[str] = []


def main() -> None:
    """Entry point; turns every way to fail into its exit code and one line."""
    streams.open_missing()
    _never_trace()
    interrupts.install()
    try:
        code = fleetctl(prog_name="fleetctl", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe is still noticed
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fleetctl"
        _tell(f"{command}: {error.format_message()} (see {command} --help)")
        code = 2
    except Failure as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        code = interrupts.EXIT_CODE
    except BrokenPipeError:
        # The reader went away (`| head`), so there is nothing left to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:  # a full disk, a folder that may not be written, no more descriptors
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"fleetctl: {where}{error.strerror or error}")
        code = 2
    except Exception as error:
        _report_defect(error)
        code = 2
    code = code if isinstance(code, int) else 0
    raise SystemExit(code or (2 if _dead_threads else 0))


def _never_trace() -> None:
    """Let no error of a thread or of a stream's encoding show a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    threading.excepthook = _thread_died
    sys.unraisablehook = lambda failed: _report_defect(failed.exc_value)


def _thread_died(failed: threading.ExceptHookArgs) -> None:
    """Report the death of a thread. What the program found without it is not worth an exit code of 0."""
    if failed.exc_type is not SystemExit:
        _dead_threads.append(failed.thread.name if failed.thread is not None else "")
        _report_defect(failed.exc_value)


def _report_defect(error: BaseException | None) -> None:
    """Say in one line that fleetctl has a defect, and where the traceback is kept."""
    if error is None or isinstance(error, KeyboardInterrupt | SystemExit):
        return
    text = f"fleetctl: unexpected {type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="fleetctl-", suffix=".log", delete=False) as log:
            traceback.print_exception(error, file=log)
        text += f"; please report it with {log.name}"
    except OSError:
        pass  # nowhere to keep the traceback
    _tell(text)


def _tell(text: str) -> None:
    print(" ".join(text.split()), file=sys.stderr)


if __name__ == "__main__":
    main()
