"""``fleetctl completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for fleetctl's commands, options, and the ids of orders and drones.

    \b
    bash:  fleetctl completion bash > ~/.local/share/bash-completion/completions/fleetctl
    zsh:   fleetctl completion zsh > "${fpath[1]}/_fleetctl"
    fish:  fleetctl completion fish > ~/.config/fish/completions/fleetctl.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    maker = found(root, {}, "fleetctl", "_FLEETCTL_COMPLETE")
    click.echo(maker.source_template % maker.source_vars())
