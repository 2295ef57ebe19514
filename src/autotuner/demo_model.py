"""Generator of a small model file for llama.cpp, so that the product can be tried without a download.

The weights are random: **speeds measured with the model are real, its text is noise**. Its architecture (llama,
grouped-query attention, Q8_0) needs real matrix products and a real KV cache, so threads, slots, batch sizes and cache
types affect throughput and latency as with a large model, only at smaller values.

The output rows of control and byte tokens are zero, so greedy text is printable and never ends early. The same
arguments give the same bytes on every machine. Only the standard library is used.

Format: the GGUF specification, version 3 (ggml-org/ggml, ``docs/gguf.md``).
"""

import argparse
import itertools
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

_ALIGNMENT = 32
_F32 = 0
_Q8_0 = 8
"""Tensor types."""
_UINT32 = 4
_INT32 = 5
_FLOAT32 = 6
_BOOL = 7
_STRING = 8
_ARRAY = 9
"""Metadata value types."""
_NORMAL = 1
_UNKNOWN = 2
_CONTROL = 3
_BYTE = 6
"""Token types."""
_BLOCK = 32
_BLOCK_BYTES = 34
"""Q8_0: 32 weights as one half-precision scale and 32 signed bytes."""
_BYTE_STD = 73.3
"""Standard deviation of a uniform signed byte."""
_SPACE = "\u2581"
"""The character for a space in SentencePiece."""
_NO_MINUS_128 = bytes(0 if b == 128 else b for b in range(256))

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


class Shape(NamedTuple):
    """Dimensions of the model. The defaults give a file of 28.5 MB."""

    layers: int = 8
    width: int = 512
    heads: int = 8
    kv_heads: int = 2
    ffn: int = 1408
    vocabulary: int = 4096
    context: int = 8192


class _Tensor(NamedTuple):
    name: str
    dims: tuple[int, ...]
    type: int
    size: int
    """Bytes."""
    fill: Callable[[Random], bytes]


def write_tiny_gguf(
    path: Path,
    *,
    layers: int = 8,
    width: int = 512,
    heads: int = 8,
    kv_heads: int = 2,
    ffn: int = 1408,
    vocabulary: int = 4096,
    context: int = 8192,
    seed: int = 0,
) -> Path:
    """Writes the model to ``path`` unless that file already has this content.

    The write is atomic: other processes see either no file or the whole file.

    Args:
        path: The file to write.
        layers: Number of transformer blocks.
        width: Embedding length; a multiple of 32 and an even multiple of ``heads``.
        heads: Number of attention heads; a multiple of ``kv_heads``.
        kv_heads: Number of key and value heads.
        ffn: Feed-forward length; a multiple of 32.
        vocabulary: Number of tokens, from 512 to 4,196.
        context: Context length in tokens.
        seed: Random seed of the weights.

    Returns:
        The path.

    Raises:
        ValueError: If a dimension is invalid.
        OSError: If the file cannot be written.
    """
    shape = Shape(layers, width, heads, kv_heads, ffn, vocabulary, context)
    _check(shape)
    tensors = list(_tensors(shape))
    head = _head(shape, tensors, seed)
    size = len(head) + sum(_padded(t.size) for t in tensors)
    if _is_written(path, head, size):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(head)
            for index, tensor in enumerate(tensors):
                data = tensor.fill(Random(f"{seed}/{index}"))  # noqa: S311 - noise, not cryptography
                file.write(data + bytes(_padded(tensor.size) - tensor.size))
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return path


def _check(shape: Shape) -> None:
    if shape.width % 32 or shape.ffn % 32:
        raise ValueError("width and ffn must be multiples of 32")
    if shape.width % shape.heads or shape.heads % shape.kv_heads or (shape.width // shape.heads) % 2:
        raise ValueError("width must be an even multiple of heads, and heads a multiple of kv_heads")
    if not 512 <= shape.vocabulary <= len(_vocabulary(10_000)):
        raise ValueError(f"vocabulary must lie between 512 and {len(_vocabulary(10_000))}")


def _is_written(path: Path, head: bytes, size: int) -> bool:
    """Whether the file has the length and the header, which includes shape and seed, that would be written."""
    try:
        with path.open("rb") as file:
            return file.read(len(head)) == head and path.stat().st_size == size
    except OSError:
        return False


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _tensors(shape: Shape) -> Iterator[_Tensor]:
    width = shape.width
    kv_width = shape.width // shape.heads * shape.kv_heads
    yield _weights("token_embd.weight", width, shape.vocabulary, std=1.0)
    yield _weights("output.weight", width, shape.vocabulary, std=0.1, silent_rows=_special_tokens())
    yield _ones("output_norm.weight", width)
    for i in range(shape.layers):
        yield _ones(f"blk.{i}.attn_norm.weight", width)
        yield _ones(f"blk.{i}.ffn_norm.weight", width)
        for name, columns, rows in (
            ("attn_q", width, width),
            ("attn_k", width, kv_width),
            ("attn_v", width, kv_width),
            ("attn_output", width, width),
            ("ffn_gate", width, shape.ffn),
            ("ffn_up", width, shape.ffn),
            ("ffn_down", shape.ffn, width),
        ):
            yield _weights(f"blk.{i}.{name}.weight", columns, rows, std=columns**-0.5)


def _ones(name: str, length: int) -> _Tensor:
    return _Tensor(name, (length,), _F32, 4 * length, lambda _: struct.pack("<f", 1.0) * length)


def _weights(name: str, columns: int, rows: int, *, std: float, silent_rows: int = 0) -> _Tensor:
    blocks = columns // _BLOCK * rows
    scale = struct.pack("<e", std / _BYTE_STD)
    silent = columns // _BLOCK * _BLOCK_BYTES * silent_rows

    def fill(random: Random) -> bytes:
        data = bytearray(random.randbytes(blocks * _BLOCK_BYTES).translate(_NO_MINUS_128))
        data[0::_BLOCK_BYTES] = scale[:1] * blocks
        data[1::_BLOCK_BYTES] = scale[1:] * blocks
        data[:silent] = bytes(silent)
        return bytes(data)

    return _Tensor(name, (columns, rows), _Q8_0, blocks * _BLOCK_BYTES, fill)


def _special_tokens() -> int:
    return 3 + 256


def _vocabulary(size: int) -> list[tuple[str, int]]:
    """Pieces with their token types: control tokens, bytes, then pairs and triples of English letters."""
    special = [("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)]
    octets = [(f"<0x{b:02X}>", _BYTE) for b in range(256)]
    letters = "abcdefghijklmnopqrstuvwxyz"
    consonants = "bcdfghjklmnprstvwz"
    vowels = "aeiou"
    pairs = ["".join(p) for p in itertools.product(letters, repeat=2)]
    triples = ["".join(p) for p in itertools.product(consonants, vowels, consonants)]
    pieces = [
        _SPACE,
        *(chr(c) for c in range(0x21, 0x7F)),
        *(_SPACE + letter for letter in letters),
        *pairs,
        *(_SPACE + pair for pair in pairs),
        *(_SPACE + triple for triple in triples),
        *triples,
    ]
    return [*special, *octets, *((p, _NORMAL) for p in pieces)][:size]


def _head(shape: Shape, tensors: list[_Tensor], seed: int) -> bytes:
    tokens = _vocabulary(shape.vocabulary)
    metadata = [
        _string("general.architecture", "llama"),
        _string("general.name", "tiny-random"),
        _string("general.description", f"random weights, seed {seed}: speeds are real, text is noise"),
        _uint("general.file_type", 7),
        _uint("general.quantization_version", 2),
        _uint("llama.block_count", shape.layers),
        _uint("llama.context_length", shape.context),
        _uint("llama.embedding_length", shape.width),
        _uint("llama.feed_forward_length", shape.ffn),
        _uint("llama.attention.head_count", shape.heads),
        _uint("llama.attention.head_count_kv", shape.kv_heads),
        _uint("llama.rope.dimension_count", shape.width // shape.heads),
        _uint("llama.vocab_size", len(tokens)),
        _key("llama.attention.layer_norm_rms_epsilon", _FLOAT32) + struct.pack("<f", 1e-5),
        _key("llama.rope.freq_base", _FLOAT32) + struct.pack("<f", 10_000.0),
        _string("tokenizer.ggml.model", "llama"),
        _array("tokenizer.ggml.tokens", _STRING, (_text(piece) for piece, _ in tokens), len(tokens)),
        _array("tokenizer.ggml.scores", _FLOAT32, (struct.pack("<f", _score(p)) for p, _ in tokens), len(tokens)),
        _array("tokenizer.ggml.token_type", _INT32, (struct.pack("<i", kind) for _, kind in tokens), len(tokens)),
        _uint("tokenizer.ggml.unknown_token_id", 0),
        _uint("tokenizer.ggml.bos_token_id", 1),
        _uint("tokenizer.ggml.eos_token_id", 2),
        _key("tokenizer.ggml.add_bos_token", _BOOL) + b"\x01",
        _key("tokenizer.ggml.add_eos_token", _BOOL) + b"\x00",
        _string("tokenizer.chat_template", CHAT_TEMPLATE),
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(metadata)
    offset = 0
    for tensor in tensors:
        dims = struct.pack(f"<I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims)
        head += _text(tensor.name) + dims + struct.pack("<IQ", tensor.type, offset)
        offset += _padded(tensor.size)
    return head + bytes(_padded(len(head)) - len(head))


def _score(piece: str) -> float:
    return float(len(piece))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _key(name: str, kind: int) -> bytes:
    return _text(name) + struct.pack("<I", kind)


def _string(name: str, value: str) -> bytes:
    return _key(name, _STRING) + _text(value)


def _uint(name: str, value: int) -> bytes:
    return _key(name, _UINT32) + struct.pack("<I", value)


def _array(name: str, kind: int, items: Iterable[bytes], count: int) -> bytes:
    return _key(name, _ARRAY) + struct.pack("<IQ", kind, count) + b"".join(items)


def main() -> int:
    """Runs ``python -m autotuner.demo_model PATH``."""
    parser = argparse.ArgumentParser(description="Writes a small model with random weights (speeds real, text noise).")
    parser.add_argument("path", type=Path)
    for name, default in Shape()._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    try:
        path = write_tiny_gguf(options.pop("path"), **options)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{path}: a model with random weights, {path.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
