"""The ``autotuner`` command: all commands, registered."""

import sys

from typer.exceptions import TyperException

from autotuner.cli import benching, looking, running, tools
from autotuner.cli.app import app, out_error, say, show_defect

__all__ = ["app", "main"]

for module in (running, looking, benching, tools):
    module.register(app)


def main() -> None:
    """Entry point. With ``--json`` even a command line that cannot be read is answered in JSON."""
    sys.excepthook = show_defect
    if "--json" not in sys.argv[1:]:
        app()
        return
    try:
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        out_error("usage" if error.exit_code == 2 else "failed", error.format_message())
        say(f"autotuner: {error.format_message()}")
        sys.exit(error.exit_code)
