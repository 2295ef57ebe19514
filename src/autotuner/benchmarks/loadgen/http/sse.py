"""Incremental parser of server-sent events, following the WHATWG specification.

The connection handles the common case (one event with one ``data`` line in one read) itself. This parser handles the
rest: split and joined events, CR, LF and CRLF line endings, comments, and several ``data`` lines.
"""


class SseParser:
    """Parser that accepts bytes split at any position."""

    __slots__ = ("_data", "_line", "_skip_lf", "_type", "idle")

    def __init__(self) -> None:
        self._line = b""
        self._data: list[bytes] = []
        self._type = b""
        self._skip_lf = False
        self.idle = True
        """Whether no partial event is buffered, so that the next byte starts a new one."""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Returns the events that these bytes complete: (type, data); the type is ``b""`` if the event has none."""
        events: list[tuple[bytes, bytes]] = []
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        buffer = self._line + data
        if buffer.endswith(b"\r"):
            self._skip_lf = True
        *lines, self._line = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if line:
                self._field(line, events)
            else:
                self._dispatch(events)
        self.idle = not (self._line or self._data or self._type or self._skip_lf)
        return events

    def _field(self, line: bytes, events: list[tuple[bytes, bytes]]) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"error":  # llama.cpp's older form of an error event
            events.append((b"error", value))

    def _dispatch(self, events: list[tuple[bytes, bytes]]) -> None:
        if self._data:
            events.append((self._type, b"\n".join(self._data)))
            self._data = []
        self._type = b""
