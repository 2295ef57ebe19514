"""Backups of the whole state: backup, restore."""

from pathlib import Path
from typing import Annotated

import typer

from autotuner.cli.app import Json, StoreUrl, out, reporting_errors, say


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to create, e.g. autotuner.tar.gz; - for stdout.")],
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Write the whole state into one file, also while studies run."""
    with reporting_errors(as_json=json):
        import autotuner
        from autotuner.cli.texts import backup_text

        written = autotuner.open(store).backup(file)
        if json and str(file) != "-":
            out(written)
        else:
            say(f"wrote {backup_text(written)}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that autotuner backup wrote; - for stdin.")],
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Fill an empty store and data directory from a backup."""
    with reporting_errors(as_json=json):
        import autotuner
        from autotuner.cli.texts import backup_text

        restored = autotuner.open(store).restore(file)
        if json:
            out(restored)
        else:
            say(f"restored {backup_text(restored)}")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (backup, restore):
        app.command()(command)
