"""Datasets of prompts in JSON lines or in one JSON array.

Only an index of the file is kept in memory: a ShareGPT file of a gigabyte must not take several to open. For the rows,
see :mod:`autotuner.benchmarks.measuring.datasets.dataset_rows`, and ``conversation_rows`` beside it for those of which
all turns are sent.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, overload
from weakref import WeakValueDictionary

import numpy as np
import orjson
from numpy.typing import NDArray

from autotuner.benchmarks.loadgen.conversations.message_text import is_text
from autotuner.benchmarks.measuring.datasets.conversation_rows import read_conversation
from autotuner.benchmarks.measuring.datasets.dataset_rows import CHARACTERS_PER_TOKEN, FORMAT, Row, RowError, read_row
from autotuner.benchmarks.measuring.datasets.json_rows import RawRow, RowFormError, is_array, raw_rows
from autotuner.errors import Problem, UsageError
from autotuner.store import files
from autotuner.study.workload import Api

_NAMED = 6
"""Unused fields that a note lists by name."""
_MAX_STREAM = 1 << 30
"""Bytes of a dataset that comes through a pipe, which must be held in memory."""
ESTIMATED = f"output lengths are estimated from the dataset's answers, at {CHARACTERS_PER_TOKEN} characters per token"
_COST_PER_TOKEN = 16
"""Bytes of prompt that take a server about as long as one output token; used only to mix rows evenly."""


class Rows(Sequence[Mapping[str, Any]]):
    """A dataset's rows as they are sent: ``prompt`` or ``messages``, and ``max_tokens`` if the row has a length; or
    ``turns``, each of which has ``messages`` and perhaps ``max_tokens``.

    Each access reads from the file.
    """

    def __init__(self, source: "_Source", offsets: Sequence[int], lengths: Sequence[int]) -> None:
        self._source = source
        self._offsets = offsets
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        if isinstance(index, slice):
            return [row.used for row in self.read(range(*index.indices(len(self))))]
        (row,) = self.read([index])
        return row.used

    def size(self, index: int) -> int:
        """Bytes of a row."""
        return self._lengths[index]

    def read(self, indices: Sequence[int]) -> Iterator[Row]:
        """Yields these rows. Raises ``UsageError`` if the file has changed since it was indexed."""
        with self._source.open() as file:
            for index in indices:
                file.seek(self._offsets[index])
                try:
                    row = self._source.read(orjson.loads(file.read(self._lengths[index])))
                except ValueError:
                    row = None
                if row is None:
                    raise UsageError.at(self._source.where, "the file changed while it was in use")
                yield row


@dataclass(frozen=True)
class Dataset:
    """An indexed dataset."""

    rows: Rows
    costs: NDArray[np.int64]
    """Rough cost of each row for a server, in bytes of prompt."""
    duplicate_of: NDArray[np.int64]
    """For each row, the index of the first row with the same prompt: its own index unless an earlier row has that
    prompt. Conversations are compared by their first turn."""
    notes: tuple[str, ...] = ()
    """Remarks for readers of the measurement."""
    unsent: tuple[str, ...] = ()
    """Fields of the rows that are not sent."""
    mean_output: float = 0.0
    """Mean output tokens of the rows that have a length; 0 if none has."""
    estimated: bool = False
    """Whether output lengths are estimated from the text of the dataset's answers."""
    not_text: str = ""
    """Place of the first row with an image or other media in its messages; empty if all are text."""
    key: tuple[object, ...] = ()
    """Identifies the path, how its rows are read, and the version of the file."""

    def check_api(self, api: Api) -> None:
        """Raises ``UsageError``, with the place of the row, if a row cannot be sent to an API."""
        if self.not_text and api is Api.COMPLETIONS:
            why = "a message has content that is not text, which the completions API does not take"
            raise UsageError.at(self.not_text, why, remedy="set workload.api to chat, or remove the row")


_indexed_files: WeakValueDictionary[tuple[object, ...], Dataset] = WeakValueDictionary()
"""Datasets in use by their keys: an index is freed with its last user, and a changed file is indexed anew."""


@dataclass(frozen=True)
class _Source:
    path: str
    turns: bool
    """Whether rows are conversations of which all turns are sent."""
    data: bytes | None = None
    """The content, if it cannot be read twice."""

    def read(self, found: Any) -> Row | None:
        """A row of the file; None if it is to be skipped. Raises :class:`RowError`."""
        return read_conversation(found) if self.turns else read_row(found)

    @property
    def where(self) -> str:
        return f"workload.scenarios dataset:{self.path}"

    def open(self) -> BinaryIO:
        if self.data is not None:
            return BytesIO(self.data)
        try:
            return Path(self.path).expanduser().open("rb")
        except OSError as error:
            raise UsageError.at(self.where, f"cannot be read ({files.reason(error)})") from None


def read_dataset(path: str, *, turns: bool = False) -> Dataset:
    """Opens and indexes a dataset, and checks every row.

    Args:
        path: The file.
        turns: Whether rows are conversations of which all turns are sent.

    Raises:
        UsageError: The file cannot be read, has another format, or contains an invalid row, which is named.

    Returns:
        The same object as before for an unchanged file whose dataset is still in use.
    """
    where = f"workload.scenarios dataset:{path}"
    try:
        file = Path(path).expanduser()
        found = file.stat() if files.exists(file) else None
        if found is None or not S_ISREG(found.st_mode):
            data = files.read_bytes(file, limit=_MAX_STREAM)
    except UsageError as error:
        problem = error.problems[0]
        raise UsageError.at(where, problem.why, remedy=problem.remedy) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: ~NAME of an unknown user
        raise UsageError(Problem.refused(where, error)) from None
    if found is not None and S_ISREG(found.st_mode):
        key = (path, turns, found.st_ino, found.st_size, found.st_mtime_ns)
        known = _indexed_files.get(key)
        if known is None:
            known = _indexed_files[key] = _indexed(_Source(path, turns), key)
        return known
    return _indexed(_Source(path, turns, data), (path, turns, sha256(data).hexdigest()))


@dataclass
class _Index:
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    costs: "array[int]" = field(default_factory=lambda: array("q"))
    prints: "array[int]" = field(default_factory=lambda: array("q"))
    unsent: dict[str, None] = field(default_factory=dict)
    outputs: int = 0
    with_output: int = 0
    estimated: int = 0
    skipped: int = 0
    not_text: int | None = None
    """Number of the first row with messages that are not text."""

    def add(self, raw: RawRow, row: Row | None) -> None:
        if row is None:
            self.skipped += 1
            return
        turns = row.used.get("turns", (row.used,))
        prompts = [orjson.dumps((turn.get("prompt"), turn.get("messages"))) for turn in turns]
        self.offsets.append(raw.offset)
        self.lengths.append(len(raw.text))
        outputs = row.outputs
        self.costs.append(sum(map(len, prompts)) + _COST_PER_TOKEN * sum(outputs))
        self.outputs += sum(outputs)
        self.with_output += len(outputs)
        self.prints.append(hash(prompts[0]))
        self.estimated += row.estimated
        messages = (message for turn in turns if not turn.get("prompt") for message in turn.get("messages") or ())
        if self.not_text is None and not all(map(is_text, messages)):
            self.not_text = raw.number
        if row.unsent:
            self.unsent |= dict.fromkeys(row.unsent)


def _indexed(source: _Source, key: tuple[object, ...]) -> Dataset:
    index = _Index()
    with source.open() as file:
        _refuse_binary(file, source)
        place = "{path} row {number}" if is_array(file) else "{path}:{number}"

        def where(number: int) -> str:
            return place.format(path=source.path, number=number)

        try:
            for raw in raw_rows(file):
                index.add(raw, _row(raw, where, source))
        except RowFormError as error:
            raise UsageError.at(where(error.number), str(error), remedy=FORMAT) from None
    if not index.offsets:
        why = "no conversation has a question with an answer" if index.skipped else "the dataset is empty"
        raise UsageError.at(source.where, why, remedy=FORMAT)
    _, first, which = np.unique(np.asarray(index.prints), return_index=True, return_inverse=True)
    return Dataset(
        rows=Rows(source, index.offsets, index.lengths),
        costs=np.asarray(index.costs, dtype=np.int64),
        duplicate_of=first.astype(np.int64)[which],
        notes=tuple(_notes(index)),
        unsent=tuple(index.unsent),
        mean_output=index.outputs / max(1, index.with_output),
        estimated=index.estimated > 0,
        not_text="" if index.not_text is None else where(index.not_text),
        key=key,
    )


def _row(raw: RawRow, where: Callable[[int], str], source: _Source) -> Row | None:
    try:
        return source.read(orjson.loads(raw.text))
    except orjson.JSONDecodeError as error:
        raise UsageError.at(where(raw.number), f"not JSON: {error}", remedy=FORMAT) from None
    except RowError as error:
        raise UsageError.at(where(raw.number), error.why, value=error.value, remedy=error.remedy) from None


def _refuse_binary(file: BinaryIO, source: _Source) -> None:
    begin = file.read(4)
    file.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        raise UsageError.at(source.where, "this is a gzip file", remedy=f"run: gunzip -k {source.path}")
    if begin == b"PAR1":
        raise UsageError.at(source.where, "this is a Parquet file", remedy=f"convert it to JSON lines, and {FORMAT}")


def _notes(index: _Index) -> Iterator[str]:
    if index.unsent:
        names = list(index.unsent)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"dataset fields that are not sent: {', '.join(names[:_NAMED])}{more}"
    if index.skipped:
        total = index.skipped + len(index.offsets)
        yield f"{index.skipped} of {total} conversations have no question with an answer and were skipped"
