"""Small GGUF models with the same weights in different formats, to see what a quality check catches on a real server.

Unlike those of the demo model, attention and logits are peaked, so that errors of the KV cache reach the answer. The
weights are generated: the same arguments give the same bytes.

Formats: ggml's ``block_q8_0``, ``block_q4_0`` and ``block_q3_K`` (ggml-org/ggml, ``src/ggml-common.h``).
"""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autotuner import demo_model

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SHAPE = demo_model.Shape(layers=4, width=256, heads=4, kv_heads=2, ffn=512, vocabulary=2048, context=8192)
_PEAKED = {"attn_q": 1.5, "attn_k": 1.5, "token_embd": 16.0, "output": 3.0}
"""Standard deviation by kind of tensor, times that of a layer that keeps the size of its input."""


class Format(NamedTuple):
    """A tensor type of GGUF."""

    number: int
    block: int
    """Weights in one block."""
    encode: Callable[[Array], Bytes]
    """Bytes of the blocks, from one row of weights per block."""


def write_model(path: Path, weights: str, *, kv_scale: float = 1.0, seed: int = 0) -> Path:
    """Writes a model.

    Args:
        path: The file.
        weights: A key of :data:`FORMATS`.
        kv_scale: Factor of all keys and values, which is 1 unless the scales of a KV cache are wrong.
        seed: Random seed of the weights.
    """
    kept = FORMATS[weights]
    tensors = []
    for tensor in demo_model._tensors(SHAPE):  # noqa: SLF001 - the layout is that of the demo model
        if len(tensor.dims) == 1:
            tensors.append(tensor)
            continue
        encoded = kept.encode(_weights(tensor.name, tensor.dims, kv_scale, seed).reshape(-1, kept.block)).tobytes()
        tensors.append(demo_model._Tensor(tensor.name, tensor.dims, kept.number, len(encoded), lambda _, b=encoded: b))  # noqa: SLF001
    with path.open("wb") as file:
        file.write(demo_model._head(SHAPE, tensors, seed))  # noqa: SLF001
        for tensor in tensors:
            data = tensor.fill(None)
            file.write(data + bytes(demo_model._padded(len(data)) - len(data)))  # noqa: SLF001
    return path


def _weights(name: str, dims: tuple[int, ...], kv_scale: float, seed: int) -> Array:
    columns, rows = dims
    kind = name.removesuffix(".weight").rpartition(".")[2]
    source = np.random.default_rng((seed, zlib.crc32(name.encode())))
    found = source.normal(0, _PEAKED.get(kind, 1.0) * columns**-0.5, (rows, columns)).astype(np.float32)
    if kind == "output":
        found[: demo_model._special_tokens()] = 0  # noqa: SLF001
    if kind in {"attn_k", "attn_v"}:
        found *= kv_scale
    return found


def _f16(rows: Array) -> Bytes:
    return rows.astype(np.float16).view(np.uint8)


def _q8_0(rows: Array) -> Bytes:
    scale = (np.abs(rows).max(axis=1, keepdims=True) / 127).astype(np.float16)
    whole = np.rint(rows / _nonzero(scale)).astype(np.int8)
    return np.hstack([scale.view(np.uint8), whole.view(np.uint8)])


def _q4_0(rows: Array) -> Bytes:
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    scale = (largest / -8).astype(np.float16)
    whole = np.clip(np.rint(rows / _nonzero(scale)) + 8, 0, 15).astype(np.uint8)
    return np.hstack([scale.view(np.uint8), whole[:, :16] | whole[:, 16:] << 4])


def _q3_k(rows: Array) -> Bytes:
    """256 weights in 16 groups: three bits each, six bits for the scale of a group, one half-precision scale."""
    groups = rows.reshape(-1, 16, 16)
    largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=2)[..., None], axis=2)[..., 0]
    wanted = largest / -4
    scale = (np.abs(wanted).max(axis=1, keepdims=True) / 31).astype(np.float16)
    steps = np.clip(np.rint(wanted / _nonzero(scale)), -32, 31)
    unit = _nonzero(scale.astype(np.float32) * steps)
    whole = (np.clip(np.rint(groups / unit[..., None]), -4, 3) + 4).astype(np.uint8).reshape(-1, 2, 4, 32)
    high = np.zeros((len(rows), 32), np.uint8)
    low = np.zeros((len(rows), 2, 32), np.uint8)
    for half in range(2):
        for part in range(4):
            low[:, half] |= (whole[:, half, part] & 3) << 2 * part
            high |= (whole[:, half, part] >> 2) << 4 * half + part
    stored = (steps + 32).astype(np.uint8)
    packed = np.zeros((len(rows), 12), np.uint8)
    packed[:, :8] = stored[:, :8] & 15 | (stored[:, 8:] & 15) << 4
    for number in range(16):
        packed[:, 8 + number % 4] |= (stored[:, number] >> 4) << 2 * (number // 4)
    return np.hstack([high, low.reshape(-1, 64), packed, scale.view(np.uint8)])


def _nonzero(scale: NDArray[np.floating]) -> Array:
    found = scale.astype(np.float32)
    return np.where(found == 0, np.float32(1), found)


FORMATS: Mapping[str, Format] = {
    "f16": Format(1, 1, _f16),
    "q8_0": Format(8, 32, _q8_0),
    "q4_0": Format(2, 32, _q4_0),
    "q3_K": Format(11, 256, _q3_k),
}
