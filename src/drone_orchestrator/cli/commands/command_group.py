"""The kind of every command of ``fleetctl`` that has commands of its own."""

from __future__ import annotations

import click


class CommandGroup(click.Group):
    """A group that shows its help on stderr if no command is named, and exits with 2."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)
