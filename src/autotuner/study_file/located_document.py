"""A file's text as plain data with the line of each part, so that every problem points to its place.

YAML is read from the parser's events by the core schema of YAML 1.2 and nothing more: ``on``, ``yes``, ``1_000`` and
dates stay strings, ``08`` is 8, ``0x10`` is 16, ``1e3`` is 1000.0, and whatever is quoted is a string. Tags, anchors
and aliases are rejected, so that no text can expand or create objects while it is read. JSON is read by the rules of
JSON, because not every JSON text is YAML. In both, a duplicate key is an error, and size and nesting are limited.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.plain_text import joined_line
from autotuner.study.problems import MAX_DETAILED, path_text, shown

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_VALUES = 20_000
_INTEGERS = range(-(2**63), 2**63)
_UNTEXT = re.compile("[\0\ud800-\udfff]")
"""Characters that are not valid in file names, environment variables or databases."""

Path = tuple[str | int, ...]


@dataclass
class Document:
    """A file's content and the place of each part."""

    source: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    """Line of each part, counted from 1."""
    problems: list[Problem] = field(default_factory=list)
    origins: dict[Path, str] = field(default_factory=dict)
    """Command-line option that set a part: ``--set search.trials``."""
    is_usable: bool = True
    """False if a value cannot be processed at all: a string with code points that are not text, an integer beyond 64
    bits. Reading stops there, because code that reads on would fail on it."""

    def where(self, path: Path) -> str:
        """Place and path of a part: ``study.yaml:12 parameters.threads[1]``, by the nearest part that has a line."""
        for n in range(len(path), 0, -1):
            if path[:n] in self.origins:
                return f"{self.origins[path[:n]]}: {path_text(path)}" if n < len(path) else self.origins[path]
            if path[:n] in self.lines:
                break
        line = next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), None)
        place = self.source if line is None else f"{self.source}:{line}"
        return f"{place} {path_text(path)}" if path else place

    def placed(self, text: str) -> str:
        """As :meth:`where`, of a part whose path is given as a text; the text itself if the file has no such part."""
        known = {path_text(path): path for path in (*self.lines, *self.origins) if path}
        ends = [len(text), *(found.start() for found in reversed(list(re.finditer(r"[.\[]", text))))]
        nearest = next((text[:end] for end in ends if text[:end] in known), None)
        if nearest is None:
            return text
        return self.where(known[nearest]).removesuffix(nearest) + text

    def fault(self, path: Path, why: str, *, value: Any = None, remedy: str = "") -> None:
        """Adds a problem; reading continues."""
        if len(self.problems) >= MAX_DETAILED:
            self.problems.append(FURTHER)
            return
        text = "" if value is None else shown(value, path_text(path))
        self.problems.append(Problem(where=self.where(path), value=text, why=why, remedy=remedy))

    def unknown(self, path: Path, known: Sequence[str]) -> None:
        """Adds a problem for an unknown key."""
        detailed = len(self.problems) < MAX_DETAILED
        self.fault(path, "unknown key", remedy=did_you_mean(str(path[-1]), known) if detailed else "")


FURTHER = Problem(where="further", why="not checked")
"""Placeholder for each problem after the first ``MAX_DETAILED``."""


def _check_scalar(document: Document, path: Path, value: Any) -> None:
    """Adds a problem for a value that a file can hold but other code cannot process."""
    if isinstance(value, int) and value not in _INTEGERS:
        document.is_usable = False
        document.fault(path, "a number beyond 64 bits", remedy="write a smaller number, or text in quotes")
    elif isinstance(value, str) and _UNTEXT.search(value):
        document.is_usable = False
        document.fault(path, "contains a NUL or a lone surrogate", remedy="remove the character")


def read_text(text: str, source: str) -> Document:
    """Reads YAML or JSON. Duplicate keys become problems of the document.

    Args:
        text: The file's text.
        source: The file's name; ``.json`` selects JSON, as does text that is valid JSON.

    Raises:
        UsageError: If the text cannot be read.
    """
    document = Document(source)
    if len(text.encode(errors="replace")) > MAX_BYTES:
        _fail(document, None, f"larger than {MAX_BYTES >> 20} MiB", "a study file is a few lines long")
    text = text.removeprefix("\ufeff")
    if not text.strip():
        _fail(document, None, "the file is empty", "autotuner init writes an example")
    if source.endswith(".json") or _is_json(text):
        _JsonReader(document, text).read()
    else:
        _YamlReader(document, text).read()
    return _checked(document)


def read_data(data: Mapping[str, Any], source: str) -> Document:
    """Data from memory, converted to what a file can hold. Raises :class:`UsageError` for other data."""
    document = Document(source)
    document.data = _plain(document, data, ())
    return _checked(document)


def _checked(document: Document) -> Document:
    if not document.is_usable:
        raise UsageError(document.problems)
    return document


def _plain(document: Document, data: Any, path: Path) -> Any:
    if len(path) > MAX_DEPTH:
        raise UsageError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(data, Mapping):
        for key in data:
            _check_scalar(document, path, str(key))
        return {str(k): _plain(document, v, (*path, str(k))) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(document, v, (*path, i)) for i, v in enumerate(data)]
    if data is None or (isinstance(data, bool | int | float | str) and not _unbounded(data)):
        _check_scalar(document, path, data)
        return data
    return str(data)


def _unbounded(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _fail(document: Document, line: int | None, why: str, remedy: str = "") -> NoReturn:
    where = document.source if line is None else f"{document.source}:{line}"
    raise UsageError([*document.problems, Problem(where=where, why=why, remedy=remedy)])


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Reader:
    def __init__(self, document: Document, text: str) -> None:
        self.document = document
        self.text = text
        self.count = 0

    def note(self, path: Path, line: int) -> None:
        """Records a part's line; enforces the limits of size and nesting."""
        self.count += 1
        if self.count > MAX_VALUES:
            _fail(self.document, line, f"more than {MAX_VALUES} values")
        if len(path) > MAX_DEPTH:
            _fail(self.document, line, f"nested more than {MAX_DEPTH} deep")
        self.document.lines[path] = line

    def duplicate(self, path: Path, line: int) -> None:
        """Adds a problem for a duplicate key."""
        first = self.document.lines[path]
        place = f"{self.document.source}:{line} {path_text(path)}"
        why = f"written twice (first in line {first})"
        self.document.problems.append(Problem(where=place, why=why, remedy="remove one of the two"))


_CORE: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda t: int(t, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda t: int(t, 16)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
)


def core_value(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar in YAML 1.2's core schema; numbers beyond the range of a float stay strings."""
    for pattern, make in _CORE:
        if pattern.fullmatch(text):
            try:
                value: bool | int | float | None = make(text)
            except ValueError:
                return text
            return text if _unbounded(value) else value
    return text


class _YamlReader(_Reader):
    def read(self) -> None:
        try:
            self.events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(self.text))
            documents = 0
            for event in self.events:
                if isinstance(event, DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        _fail(self.document, event.start_mark.line + 1, "a second document", "write one study per file")
                elif isinstance(event, NodeEvent):
                    self.document.data = self._node(event, ())
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            why = joined_line(str(error.problem or error.context))
            _fail(self.document, mark.line + 1 if mark else None, f"not valid YAML: {why}")
        except (YAMLError, ValueError, RecursionError) as error:
            _fail(self.document, None, f"not valid YAML: {joined_line(str(error))[:200]}")

    def _node(self, event: Any, path: Path) -> Any:
        line = event.start_mark.line + 1
        self.note(path, line)
        if isinstance(event, AliasEvent) or event.anchor is not None:
            _fail(self.document, line, "anchors and aliases are not supported", "write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and str(tag) != "!":
            _fail(self.document, line, f'the tag "{tag}" is not supported', "remove it; to write a string, use quotes")
        if isinstance(event, ScalarEvent):
            plain = event.style is None or event.style == ""
            value = core_value(event.value) if plain and tag is None else str(event.value)
            _check_scalar(self.document, path, value)
            return value
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, MappingStartEvent)  # noqa: S101 - the parser has no further node events
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, ScalarEvent) or event.anchor is not None or event.tag is not None:
                _fail(self.document, line, "a key must be plain text")
            key = str(event.value)
            inner = (*path, str(event.value))
            if key in found:
                self.duplicate(inner, line)
            value = self._node(next(self.events), inner)
            self.document.lines[inner] = line
            found.setdefault(key, value)
        return found


_SPACE = re.compile(r"[ \t\r\n]*")


class _JsonReader(_Reader):
    """Walks through containers to record lines; :mod:`json` parses the scalars."""

    def read(self) -> None:
        self.at = 0
        self.decoder = json.JSONDecoder(parse_constant=self._constant, strict=True)
        try:
            self.document.data = self._value(())
            self._skip()
            if self.at < len(self.text):
                _fail(self.document, self._line(), "not valid JSON: text after the end")
        except json.JSONDecodeError as error:
            _fail(self.document, error.lineno, f"not valid JSON: {error.msg[0].lower()}{error.msg[1:]}")
        except ValueError as error:
            _fail(self.document, self._line(), f"not valid JSON: {error}")

    def _constant(self, name: str) -> NoReturn:
        raise ValueError(f"{name} is not a valid number")

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def _skip(self) -> str:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def _take(self, wanted: str, why: str) -> None:
        if self._skip() != wanted:
            raise json.JSONDecodeError(why, self.text, self.at)
        self.at += 1

    def _value(self, path: Path) -> Any:
        first = self._skip()
        self.note(path, self._line())
        if first == "{":
            return self._object(path)
        if first == "[":
            return self._array(path)
        if not first:
            raise json.JSONDecodeError("Expecting value", self.text, self.at)
        value, self.at = self.decoder.raw_decode(self.text, self.at)
        if _unbounded(value):
            raise ValueError("a number beyond the range of a float")
        _check_scalar(self.document, path, value)
        return value

    def _object(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        if self._skip() == "}":
            self.at += 1
            return found
        while True:
            if self._skip() != '"':
                raise json.JSONDecodeError("Expecting a key in double quotes", self.text, self.at)
            line = self._line()
            key, self.at = self.decoder.raw_decode(self.text, self.at)
            inner = (*path, str(key))
            _check_scalar(self.document, path, key)
            if key in found:
                self.duplicate(inner, line)
            self._take(":", "Expecting ':'")
            found.setdefault(key, self._value(inner))
            if self._skip() != ",":
                break
            self.at += 1
        self._take("}", "Expecting ',' or '}'")
        return found

    def _array(self, path: Path) -> list[Any]:
        items: list[Any] = []
        self.at += 1
        if self._skip() == "]":
            self.at += 1
            return items
        while True:
            items.append(self._value((*path, len(items))))
            if self._skip() != ",":
                break
            self.at += 1
        self._take("]", "Expecting ',' or ']'")
        return items
