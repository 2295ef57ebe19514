"""The ``autotuner`` command: all commands, registered."""

import io
import sys

from typer.exceptions import TyperException

from autotuner.cli import results, run, setup
from autotuner.cli.app import app, out_error, say, show_defect
from autotuner.cli.bench import commands as bench_commands
from autotuner.cli.capacity import commands as capacity_commands
from autotuner.cli.fleet import commands as fleet_commands
from autotuner.cli.server import backups, presets, webhooks
from autotuner.cli.server import commands as server_commands

__all__ = ["app", "main"]

for module in (
    run,
    fleet_commands,
    results,
    bench_commands,
    capacity_commands,
    server_commands,
    presets,
    webhooks,
    backups,
    setup,
):
    module.register(app)


def main() -> None:
    """Entry point. With ``--json``, even an invalid command line is reported as JSON."""
    sys.excepthook = show_defect
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # for terminals without UTF-8 and names that are not valid text
    if "--json" not in sys.argv[1:]:
        app()
        return
    try:
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        out_error("usage" if error.exit_code == 2 else "failed", error.format_message())
        say(f"autotuner: {error.format_message()}")
        sys.exit(error.exit_code)
