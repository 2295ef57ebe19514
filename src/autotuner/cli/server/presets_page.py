"""Output of ``preset list``."""

from collections.abc import Sequence

from rich.text import Text

from autotuner import Preset
from autotuner.cli.columns import Column, table_text
from autotuner.cli.texts import age_text


def presets_text(found: Sequence[Preset], *, now: float, width: int | None = None) -> str:
    """Renders one row per preset; ``now`` is in seconds since the epoch."""
    if not found:
        return "no presets; to save one: autotuner preset save NAME FILE"
    columns = [
        Column("name"),
        Column("engine"),
        Column("model", wraps=True),
        Column("saved", align="right", drop=1),
        Column("by", wraps=True, drop=2),
    ]
    return table_text(columns, [_row(preset, now) for preset in found], width=width)


def _row(preset: Preset, now: float) -> list[Text]:
    return [
        Text(preset.name),
        Text(preset.engine),
        Text(preset.model),
        Text(age_text(now - preset.updated_at)),
        Text(preset.updated_by),
    ]
