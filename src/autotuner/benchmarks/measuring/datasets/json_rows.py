"""Reads a large JSON file row by row: the lines of JSON lines, or the elements of one JSON array.

An array is read in chunks and split by searching for brackets outside of strings with numpy, because decoding a file of
1 GB as a whole takes several times its size in memory.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 22
MAX_ROW = 1 << 26
"""Largest row in bytes; anything longer is a mistake rather than a prompt."""

_TOO_LONG = "a row of more than {} bytes"
_NOT_AN_OBJECT = "not a JSON object"
_BOM = b"\xef\xbb\xbf"
_QUOTE = 0x22
_BACKSLASH = 0x5C
_OPEN = 0x7B
_CLOSE = 0x7D
_LOWER = 0x20
"""Setting this bit turns ``[`` into ``{`` and ``]`` into ``}``, and no other byte into either."""


class RawRow(NamedTuple):
    """A row before decoding."""

    number: int
    """Line, or position in the array; counted from 1."""
    offset: int
    text: bytes


class RowFormError(ValueError):
    """The file cannot be split into rows; ``number`` is the row at which that was found."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def is_array(file: BinaryIO) -> bool:
    """Whether the file contains a JSON array. Rewinds the file."""
    begin = file.read(CHUNK).removeprefix(_BOM).lstrip()
    file.seek(0)
    return begin.startswith(b"[")


def raw_rows(file: BinaryIO, *, chunk: int = CHUNK, longest: int = MAX_ROW) -> Iterator[RawRow]:
    """Yields all rows, without empty lines.

    Args:
        file: At its start.
        chunk: Bytes to read at once from an array.
        longest: Bytes of the longest row.

    Raises:
        RowFormError: The file is not an array of objects, or has a row that is too long.
    """
    return _elements(file, chunk, longest) if is_array(file) else _lines(file, longest)


def _lines(file: BinaryIO, longest: int) -> Iterator[RawRow]:
    offset = number = 0
    while line := file.readline(longest):
        number += 1
        if len(line) == longest:
            raise RowFormError(number, _TOO_LONG.format(longest))
        text = line.removeprefix(_BOM) if number == 1 else line
        if text and not text.isspace():
            yield RawRow(number, offset + len(line) - len(text), text)
        offset += len(line)


class _Brackets:
    """Finds brackets outside of strings in consecutive chunks."""

    def __init__(self) -> None:
        self._inside = False
        self._escape = False
        """The previous chunk ended with a backslash that escapes the next byte."""
        self._depth = 0

    def find(self, chunk: bytes) -> tuple[list[int], list[int]]:
        """Positions of the brackets that open or close the array (depth 1) or an element (depth 2), and the depth after
        each of them."""
        data = np.frombuffer(chunk, dtype=np.uint8)
        quotes = self._real(data, np.flatnonzero(data == _QUOTE), np.flatnonzero(data == _BACKSLASH))
        lowered = data | _LOWER
        at = np.flatnonzero((lowered == _OPEN) | (lowered == _CLOSE))
        before = np.searchsorted(quotes, at) + self._inside
        at = at[before % 2 == 0]
        self._inside = bool((len(quotes) + self._inside) % 2)
        steps = np.where(lowered[at] == _OPEN, 1, -1)
        depths = self._depth + np.cumsum(steps)
        if len(depths):
            self._depth = int(depths[-1])
        outer = (depths <= 1) | ((depths == 2) & (steps == 1))
        return at[outer].tolist(), depths[outer].tolist()

    def _real(
        self, data: NDArray[np.uint8], quotes: NDArray[np.intp], backslashes: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """The quotes that follow an even number of backslashes, so that they are not escaped."""
        escaped_first = self._escape
        self._escape = False
        if len(backslashes):
            starts = np.flatnonzero(np.diff(backslashes, prepend=-2) != 1)
            begins = backslashes[starts]
            lengths = np.diff(np.append(starts, len(backslashes)))
            if escaped_first and begins[0] == 0:
                lengths[0] -= 1  # the last byte of the previous chunk escapes this one
            after = backslashes[np.append(starts[1:], len(backslashes)) - 1] + 1
            escaped = after[lengths % 2 == 1]
            self._escape = bool(len(escaped) and escaped[-1] == len(data))
            quotes = quotes[~np.isin(quotes, escaped, assume_unique=True)]
        if escaped_first and len(quotes) and quotes[0] == 0:
            quotes = quotes[1:]
        return quotes


def _elements(file: BinaryIO, size: int, longest: int) -> Iterator[RawRow]:
    brackets = _Brackets()
    rest = b""
    """What follows the last complete element."""
    offset = 0
    number = 0
    depth = 0
    while chunk := file.read(size):
        shift = len(rest)
        rest += chunk
        done = begin = 0
        for found, depth_after in zip(*brackets.find(chunk), strict=True):
            position = found + shift
            if depth_after == 1 and depth == 0 and number == 0:  # the array opens
                done = position + 1
            elif depth == 1:
                number += 1
                between = rest[done:position].strip()
                if depth_after == 0:
                    if between:
                        raise RowFormError(number, _NOT_AN_OBJECT)
                    _check_end(rest[position + 1 :], file, number)
                    return
                if rest[position] != _OPEN or between != (b"" if number == 1 else b","):
                    raise RowFormError(number, _NOT_AN_OBJECT)
                begin = position
            elif depth_after == 1:
                yield RawRow(number, offset + begin, rest[begin : position + 1])
                done = position + 1
            depth = depth_after
        keep = begin if depth > 1 else done
        rest = rest[keep:]
        offset += keep
        if len(rest) > longest:
            raise RowFormError(max(1, number), _TOO_LONG.format(longest))
    raise RowFormError(max(1, number), "not JSON: the array is not closed")


def _check_end(rest: bytes, file: BinaryIO, number: int) -> None:
    while not rest.strip():
        rest = file.read(CHUNK)
        if not rest:
            return
    raise RowFormError(number, "text after the end of the JSON array")
