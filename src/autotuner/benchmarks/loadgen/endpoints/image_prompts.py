"""Requests with images of a given size, all different.

An image is a pattern of tiles in colors of a palette. Only the palette is drawn for each image: the pattern is
compressed once, so that an image costs little more than the bytes that are sent.
"""

import zlib
from base64 import b64encode
from random import Random
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prompts import PROMPT, RequestFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Images, WorkerSpec

_IMAGE = "@image@"
_TILE = 16
"""Pixels; the patches of vision encoders are of about this size."""
_COLORS = 256
_INDEXED = 3
"""The PNG color type of images with a palette."""


class ImageFactory(RequestFactory):
    """Requests with images and a text. Arguments as for :class:`RequestFactory`."""

    def __init__(self, spec: WorkerSpec, calibration: Calibration, host: str) -> None:
        if spec.images is None:
            raise ValueError("the spec has no images")
        super().__init__(spec, calibration, host)
        self._images = spec.images
        self._head_bytes, self._pixels = _pattern(spec.images)
        self._pieces: dict[int, list[bytes]] = {}
        self._making = 0

    def image(self, index: int, number: int) -> bytes:
        """The PNG file of one of a request's images."""
        colors = Random(f"{self._spec.seed}:images:{self._spec.salt}:{index}:{number}").randbytes(3 * _COLORS)
        return self._head_bytes + _chunk(b"PLTE", colors) + self._pixels

    def _make(self, index: int, output_share: float) -> Request:
        self._making = index
        request = super()._make(index, output_share)
        request.asked_input = 0  # how many tokens an image becomes is the model's affair
        return request

    def _template(self, output: int) -> tuple[bytes, bytes]:
        pieces = self._pieces.get(output)
        if pieces is None:
            body = self._body(output, None, PROMPT)
            first, _, rest = orjson.dumps(body).partition(PROMPT.encode())
            pieces = self._pieces[output] = [first, *rest.split(_IMAGE.encode())]
        first, last, *later = pieces
        for number, piece in enumerate(later):
            last += b"data:image/png;base64," + b64encode(self.image(self._making, number)) + piece
        return first, last

    def _body(self, output: int, messages: Any, prompt: str, prefix: str | None = None) -> dict[str, Any]:
        body = super()._body(output, messages, prompt, prefix)
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        content += [{"type": "image_url", "image_url": {"url": _IMAGE}}] * self._images.count
        *before, last = body["messages"]
        return body | {"messages": [*before, {**last, "content": content}]}


def _pattern(images: Images) -> tuple[bytes, bytes]:
    """What stands before and after the palette."""
    rng = Random(f"{images.width}x{images.height}")
    columns = -(-images.width // _TILE)
    rows = []
    for _ in range(-(-images.height // _TILE)):
        tiles = rng.randbytes(columns)
        row = b"\0" + b"".join(bytes([tile]) * _TILE for tile in tiles)[: images.width]
        rows += [row] * _TILE
    size = images.width.to_bytes(4, "big") + images.height.to_bytes(4, "big")
    header = _chunk(b"IHDR", size + bytes([8, _INDEXED, 0, 0, 0]))
    pixels = zlib.compress(b"".join(rows[: images.height]))
    return b"\x89PNG\r\n\x1a\n" + header, _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
