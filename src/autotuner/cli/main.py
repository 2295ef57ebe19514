"""The ``autotuner`` command: all commands, registered."""

from autotuner.cli import looking, running, tools
from autotuner.cli.app import app

__all__ = ["app", "main"]

for module in (running, looking, tools):
    module.register(app)


def main() -> None:
    """Entry point."""
    app()
