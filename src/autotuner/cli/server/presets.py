"""Presets: preset list, preset show, preset save, preset remove."""

from pathlib import Path
from typing import Annotated

import typer

from autotuner.cli.app import Json, StoreUrl, out, program, reporting_errors, show
from autotuner.cli.server.where import opened

presets = typer.Typer(no_args_is_help=True, help="Presets: named study files to begin others with.")

PresetName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the preset.")]


@presets.command("list")
def list_(store: StoreUrl = None, json: Json = False) -> None:
    """List presets."""
    with reporting_errors(as_json=json):
        import time

        found = opened(store).presets().list()
        if json:
            out({"presets": found})
        else:
            from autotuner.cli.server.presets_page import presets_text

            show(presets_text(found, now=time.time()))


@presets.command("show")
def show_(
    name: PresetName,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output file, such as a new study file; default: stdout."),
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Print the text of a preset, or write it into a file to begin a study with."""
    with reporting_errors(as_json=json):
        from autotuner.api.results import write_text

        text = opened(store).presets().text(name)
        if out_file is not None:
            write_text(out_file, text)
            if json and str(out_file) != "-":
                out({"preset": name, "written": str(out_file)})
            elif str(out_file) != "-":
                show(f"{out_file}\nnext: {program()} plan {out_file}")
        elif json:
            out({"preset": name, "text": text})
        else:
            show(text.removesuffix("\n"))


@presets.command("save")
def save(
    name: PresetName,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Study file (YAML or JSON), of which parts may be missing.")
    ],
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Save a file as a preset. Replaces the preset of this name."""
    with reporting_errors(as_json=json):
        from autotuner.api.presets import preset_file

        saved = opened(store).presets().save(name, preset_file(file))
        if json:
            out(saved)
        else:
            show(f"{saved.name}: saved")


@presets.command("remove")
def remove(name: PresetName, store: StoreUrl = None, json: Json = False) -> None:
    """Remove a preset. Studies that began with it stay as they are."""
    with reporting_errors(as_json=json):
        opened(store).presets().remove(name)
        if json:
            out({"removed": name})
        else:
            show(f"{name}: removed")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(presets, name="preset")
