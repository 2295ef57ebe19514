"""Responses whose JSON is that of the command line's ``--json``, so that both say the same."""

import json
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from autotuner import Page
from autotuner.report.exports import plain_data, strict_json
from autotuner.secrets import clean, clean_models

_MOST_ENTRIES = 4_000
"""Entries of lists whose JSON is kept."""
_MOST_BODIES = 64 << 20
"""Bytes of compressed bodies that are kept."""
_CONSTANTS = ("NaN", "Infinity")
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def document(data: Any, status: int = 200) -> Response:
    """Data as JSON without secrets; inf and NaN become null."""
    return Response(strict_json(data), status, media_type="application/json")


def entries_of(request: Request) -> "Entries":
    """The server's entries of lists."""
    found: Entries = request.app.state.entries
    return found


class Entries:
    """JSON of entries of lists. One that is the same object as before is not written again: readers of the store return
    the same object for what has not changed."""

    def __init__(self) -> None:
        self._texts = OrderedDict[int, tuple[object, str]]()
        self._lock = Lock()

    def page(self, found: Page[Any]) -> Response:
        """A page of a list."""
        items = ",\n".join(self._text(item) for item in found.items)
        text = f'{{"items": [{items}], "total": {found.total}, "offset": {found.offset}}}'
        return Response(text, media_type="application/json")

    def _text(self, item: object) -> str:
        with self._lock:
            known = self._texts.get(id(item))
            if known is not None:
                self._texts.move_to_end(id(item))
                return known[1]
        text = compact_json(item)
        with self._lock:
            self._texts[id(item)] = (item, text)  # with the object, whose id would otherwise be used again
            if len(self._texts) > _MOST_ENTRIES:
                self._texts.popitem(last=False)
        return text


@dataclass(frozen=True)
class _Body:
    key: object
    """What it was made from."""
    packed: bytes
    """All of it but the last field and the closing brace, as raw deflate blocks."""
    size: int
    check: int
    """CRC of it."""


class Bodies:
    """Large bodies that are read much more often than they change. They are kept compressed, and sent like that."""

    def __init__(self) -> None:
        self._kept = OrderedDict[str, _Body]()
        self._lock = Lock()

    def response(
        self, request: Request, name: str, key: object, make: Callable[[], dict[str, Any]], last: dict[str, Any]
    ) -> Response:
        """The body with this name.

        Args:
            request: For which it is.
            name: Identifies it.
            key: What it is made from. If that equals the former one, the body is not made again.
            make: Makes its fields.
            last: Fields that change with every request, at its end.
        """
        with self._lock:
            body = self._kept.get(name)
        if body is None or body.key != key:
            body = _body(key, make())
            self._keep(name, body)
        end = f", {compact_json(last)[1:]}".encode()
        headers = {"Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body.packed)
            return Response(plain + end, media_type="application/json", headers=headers)
        return Response(
            _gzip(body, end), media_type="application/json", headers={**headers, "Content-Encoding": "gzip"}
        )

    def _keep(self, name: str, body: _Body) -> None:
        with self._lock:
            self._kept[name] = body
            self._kept.move_to_end(name)
            while len(self._kept) > 1 and sum(len(one.packed) for one in self._kept.values()) > _MOST_BODIES:
                self._kept.popitem(last=False)


def compact_json(data: Any) -> str:
    """As ``strict_json``, without line breaks."""
    return json.dumps(clean(plain_data(data)), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _body(key: object, fields: dict[str, Any]) -> _Body:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = list[bytes]()
    size = check = 0
    # In pieces, because the encoder holds the interpreter's lock, and the event loop waits for it.
    for piece in _pieces(fields):
        data = piece.encode()
        size += len(data)
        check = zlib.crc32(data, check)
        packed.append(packing.compress(data))
    packed.append(packing.flush(zlib.Z_FULL_FLUSH))  # whatever follows can be compressed on its own
    return _Body(key, b"".join(packed), size, check)


def _pieces(fields: dict[str, Any]) -> Sequence[str]:
    found = []
    for number, (name, value) in enumerate(fields.items()):
        found.append(f"{', ' if number else '{'}{json.dumps(name)}: ")
        if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            found += [f"{',' if index else '['}{_model_json(item)}" for index, item in enumerate(clean_models(value))]
            found.append("]")
        else:
            found.append(compact_json({name: value})[len(json.dumps(name)) + 2 : -1])
    return found


def _model_json(model: BaseModel) -> str:
    """As :func:`compact_json`, for a model without secrets, and faster."""
    try:
        text = to_json(model, by_alias=False).decode()
    except ValueError:  # text that is not Unicode
        return compact_json(model)
    # The models themselves say that such numbers are written as constants. Text that looks like them does no harm.
    return compact_json(model) if any(constant in text for constant in _CONSTANTS) else text


def _gzip(body: _Body, end: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    rest = packing.compress(end) + packing.flush()
    check = zlib.crc32(end, body.check)
    size = (body.size + len(end)) & 0xFFFFFFFF
    return b"".join((_GZIP_HEAD, body.packed, rest, check.to_bytes(4, "little"), size.to_bytes(4, "little")))
