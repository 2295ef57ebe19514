"""Presets: named beginnings of studies, which all users of a store share."""

from sqlalchemy import delete, update

from autotuner.store.database import Database, clock
from autotuner.store.presets.records import Preset
from autotuner.store.rows import storable
from autotuner.store.tables import presets

_SELECT = "SELECT name, engine, model, updated_at, updated_by FROM presets"


class PresetTable:
    """Presets. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Preset]:
        """All presets by name, without their texts."""
        return [Preset.model_validate(row) for row in self._database.rows(f"{_SELECT} ORDER BY name")]

    def text(self, name: str) -> str | None:
        """The text of a preset; None if there is none with this name."""
        rows = self._database.rows("SELECT text FROM presets WHERE name = :name", name=storable(name))
        return str(rows[0]["text"]) if rows else None

    def save(self, preset: Preset, text: str) -> Preset:
        """Stores a preset, or replaces the one with its name; returns it with the time at which this happened."""
        with self._database.writing() as db:
            stored = preset.replaced(updated_at=clock(db))
            values = {**self._database.clean(stored.model_dump(mode="json")), "text": self._database.clean(text)}
            if not self._database.insert_new(db, presets, values):
                db.execute(update(presets).where(presets.c.name == stored.name).values(**values))
        return stored

    def remove(self, name: str) -> bool:
        """Removes a preset. False if there is none with this name."""
        with self._database.writing() as db:
            return db.execute(delete(presets).where(presets.c.name == storable(name))).rowcount == 1
