"""`rollout completion`"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete nouns, verbs and options.

    bash and zsh: eval "$(rollout completion bash)". fish: rollout completion fish | source
    """
    script = get_completion_class(shell)
    assert script is not None  # click has one for each of SHELLS
    root = click.get_current_context().find_root().command
    click.echo(script(root, {}, "rollout", "_ROLLOUT_COMPLETE").source())
