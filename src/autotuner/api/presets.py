"""Presets of a store: list, read, save, remove."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotuner.api.fleet.this_user import this_user
from autotuner.api.study_input import valid_name
from autotuner.errors import NotFoundError, UsageError, did_you_mean
from autotuner.secrets import clean, secrets_in
from autotuner.store import Store, files
from autotuner.store.presets.records import Preset
from autotuner.study_file.located_document import read_text

_MOST = 200
MOST_CHARACTERS = 1 << 16


class Presets:
    """Presets of one store: named study files, perhaps incomplete, that new studies begin with. Create it with
    :meth:`Autotuner.presets`."""

    def __init__(self, store: str | None) -> None:
        """Uses the store at a SQLAlchemy URL; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``."""
        self._url = store

    def list(self) -> list[Preset]:
        """All presets, without their texts.

        Returns:
            One entry per preset, by name.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().presets().list()
            []
        """
        if not Store.exists(self._url):
            return []
        with Store.open(self._url) as store:
            return store.presets.all()

    def text(self, name: str) -> str:
        """The text of a preset, to begin a study with or to keep as a file.

        Args:
            name: Name of the preset.

        Returns:
            YAML or JSON, as it was saved.

        Raises:
            UsageError: If there is none with this name.

        Example:
            >>> presets = autotuner.open().presets()
            >>> presets.save("chat", "engine: vllm").name
            'chat'
            >>> presets.text("chat")
            'engine: vllm'
        """
        with Store.open(self._url) as store:
            found = store.presets.text(name)
            if found is None:
                raise unknown_preset(name, store.presets.all())
        return found

    def save(self, name: str, text: str, *, by: str = "") -> Preset:
        """Store a preset, or replace the one with this name.

        Args:
            name: Its name, as for studies.
            text: A study file, of which parts may be missing. It is checked when a study begins with it.
            by: Who saves it, for lists; empty: the user of this program.

        Returns:
            The preset.

        Raises:
            UsageError: If the name is not valid, the text is not a mapping in YAML or JSON or holds a secret, or there
                are too many presets.

        Example:
            >>> autotuner.open().presets().save("chat", "{engine: vllm, model: Qwen/Qwen3-8B}").engine
            'vllm'
        """
        preset = check_preset(name, text).replaced(updated_by=by or this_user())
        with Store.open(self._url) as store:
            names = {known.name for known in store.presets.all()}
            if name not in names and len(names) >= _MOST:
                raise UsageError.at("preset", f"the store has {_MOST} already", remedy="remove one first")
            return store.presets.save(preset, text)

    def remove(self, name: str) -> None:
        """Remove a preset. Studies that began with it stay as they are.

        Args:
            name: Its name.

        Raises:
            UsageError: If there is none with this name.

        Example:
            >>> presets = autotuner.open().presets()
            >>> presets.remove(presets.save("chat", "engine: vllm").name)
        """
        with Store.open(self._url) as store:
            if not store.presets.remove(name):
                raise unknown_preset(name, store.presets.all())


def preset_file(path: Path) -> str:
    """The text of a file to save as a preset. Raises ``UsageError``."""
    return files.read_text(path)


def check_preset(name: str, text: str) -> Preset:
    """What a list shows of a new preset. Raises ``UsageError`` for a name or a text that no preset may have."""
    valid_name(name, where="name")
    data = _read(text)
    return Preset(name=name, engine=_word(data, "engine", "kind"), model=_word(data, "model", "path"))


def _read(text: str) -> dict[str, Any]:
    """The content of a preset. Raises ``UsageError`` for what no preset may be."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError.at("preset", f"is longer than {MOST_CHARACTERS:,} characters", remedy="leave out lists")
    document = read_text(text, "preset")
    if not isinstance(document.data, dict):
        document.fault((), "must be a mapping of keys to values", remedy="begin with engine: NAME or model: NAME")
    if document.problems:
        raise UsageError(document.problems)
    data: dict[str, Any] = document.data
    if clean(data, secrets_in(data)) != data:
        remedy = "set it in the environment of the workers, or in their site file"
        raise UsageError.at("preset", "holds a secret, which the store must not keep", remedy=remedy)
    return data


def _word(data: dict[str, Any], section: str, key: str) -> str:
    """The value that a section stands for; empty if there is none."""
    found = data.get(section)
    if isinstance(found, dict):
        found = found.get(key)
    return found if isinstance(found, str) else ""


def unknown_preset(name: str, presets: Sequence[Preset]) -> NotFoundError:
    """The error for a name that none of the presets has."""
    known = [preset.name for preset in presets]
    return NotFoundError.at("preset", "unknown preset", value=name, remedy=did_you_mean(name, known))
