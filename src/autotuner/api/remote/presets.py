"""The presets of a server, with the methods of :class:`autotuner.api.presets.Presets`."""

from __future__ import annotations

from autotuner.api.presets import check_preset, unknown_preset
from autotuner.api.remote.connection import ServerConnection
from autotuner.api.study_input import is_valid_name
from autotuner.store.presets.records import Preset

_PATH = "/presets"


class RemotePresets:
    """The presets of one server. Changes need a token with the scope ``write``."""

    def __init__(self, server: ServerConnection) -> None:
        self._server = server

    def list(self) -> list[Preset]:
        """As :meth:`~autotuner.api.presets.Presets.list`."""
        return self._server.parsed_all(Preset, self._server.get(_PATH))

    def text(self, name: str) -> str:
        """As :meth:`~autotuner.api.presets.Presets.text`."""
        return self._server.text(self._path(name))

    def save(self, name: str, text: str) -> Preset:
        """As :meth:`~autotuner.api.presets.Presets.save`; the server knows who the token belongs to."""
        check_preset(name, text)
        return self._server.parsed(Preset, self._server.send("PUT", self._path(name), {"text": text}))

    def remove(self, name: str) -> None:
        """As :meth:`~autotuner.api.presets.Presets.remove`."""
        self._server.send("DELETE", self._path(name))

    def _path(self, name: str) -> str:
        """The path of a preset. Raises ``NotFoundError`` for what is not a name, because it might be another path."""
        if not is_valid_name(name):
            raise unknown_preset(name, self.list())
        return f"{_PATH}/{name}"
