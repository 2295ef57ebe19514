"""Reading and writing of command lines, for every engine whose flags look like ``--name value``.

A value is exactly one argument and is never joined or quoted; a list is several arguments. Text is split only for flags
that take several arguments according to the catalog. The catalog also decides, from left to right, which arguments are
values, so a value that looks like a flag stays a value. A run of several arguments ends at the next one that looks like
a flag, as in argparse.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from autotuner.errors import Problem
from autotuner.plugins.engine import CommandFlags
from autotuner.study.base import Scalar, Value, parts_of
from autotuner.study.launch import Flag
from autotuner.study.parameters.parameter import CatalogEntry, Several

_PYTHON = re.compile(r"python[0-9.]*$")
_SPELLING = re.compile(r"--?[A-Za-z][A-Za-z0-9_.-]*")


def text_of(value: Value) -> str:
    """A value as one argument; a tuple is joined by spaces."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def json_of(value: Value) -> str:
    """A value for a server that reads JSON: ``true``, ``[1, 2, 4]``; text stays as it is."""
    return json.dumps(value) if isinstance(value, bool | tuple) else text_of(value)


def items_of(value: Value, entry: CatalogEntry | None) -> tuple[Scalar, ...]:
    """The arguments that a flag gets for a value. Text with spaces is split if the flag takes several arguments in a
    row, unless the text is JSON, which such flags accept as well (``--lora-modules``)."""
    in_a_row = entry is not None and entry.several == "arguments"
    if in_a_row and isinstance(value, str) and value.strip() and not value.lstrip().startswith(("{", "[")):
        return tuple(value.split())
    return parts_of(value)


def flags_of(
    name: str, value: Value, entry: CatalogEntry | None, *, underscores: bool = False, unknown: Several = "arguments"
) -> tuple[Flag, ...]:
    """The flags that set ``name`` to ``value``.

    Args:
        name: Canonical name, without dashes.
        value: None yields no flag, True a bare switch, False the off flag if there is one.
        entry: The flag's row in the catalog; None if the catalog does not list it.
        underscores: Whether the server spells its flags with underscores (``--max_batch_size``).
        unknown: How a flag that is not in the catalog takes several values.
    """
    dashes = "-" if len(name) == 1 else "--"
    written = f"{dashes}{name.replace('-', '_') if underscores else name}"
    if value is None:
        return ()
    if value is True:
        return (Flag(name=written),)
    if value is False:
        return (Flag(name=f"--{entry.off_flag}"),) if entry and entry.off_flag else ()
    texts = tuple(map(text_of, items_of(value, entry)))
    if (entry.several if entry else unknown) == "occurrences":
        return tuple(Flag(name=written, value=text) for text in texts)
    return (Flag(name=written, value=texts[0], more=texts[1:]),)


class Item(NamedTuple):
    """One flag of a command line with its value, or a positional argument."""

    name: str | None
    """Canonical name; None for a positional argument."""
    value: Value
    raw: tuple[str, ...]
    """The arguments as written."""


class CommandLine:
    """Finds and replaces a catalog's flags in command lines.

    Args:
        catalog: Every known flag, by canonical name.
        off: Additional spellings that turn a flag off, each with the flag's canonical name.
        underscores: Whether flags are written with underscores.
        abbreviates: Whether the server accepts an unambiguous prefix of a flag, as argparse does.
        unknown: How flags that are not in the catalog take several values.
    """

    def __init__(
        self,
        catalog: Mapping[str, CatalogEntry],
        off: Mapping[str, str] | None = None,
        *,
        underscores: bool = False,
        abbreviates: bool = True,
        unknown: Several = "arguments",
    ) -> None:
        self._catalog = catalog
        self._underscores = underscores
        self._abbreviates = abbreviates
        self._unknown: Several = unknown
        self._off = {e.off_flag: e.name for e in catalog.values() if e.off_flag} | dict(off or {})
        self._names = {s: e.name for e in catalog.values() for s in (e.name, *e.aliases)}

    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` without these flags in any spelling, followed by the flags as given (by canonical name)."""
        kept = [a for item in self._items(argv) if item.name not in flags for a in item.raw]
        new = [a for n, v in flags.items() for flag in self.flags(n, v) for a in flag.argv()]
        return (*kept, *new)

    def flags(self, name: str, value: Value) -> tuple[Flag, ...]:
        """The flags that set ``name`` to ``value``."""
        return flags_of(name, value, self._catalog.get(name), underscores=self._underscores, unknown=self._unknown)

    def value(self, argv: Sequence[str], name: str) -> Value:
        """The value of a flag: a tuple for several arguments, None if the flag is absent.

        The last occurrence wins, unless the flag adds one value per occurrence.
        """
        found: Value = None
        for item in self._items(argv):
            if item.name == name:
                found = _joined(found, item.value) if self._adds(name) else item.value
        return found

    def _adds(self, name: str) -> bool:
        entry = self._catalog.get(name)
        return (entry.several if entry else self._unknown) == "occurrences"

    def read(self, argv: Sequence[str]) -> CommandFlags:
        """All flags of a command line, and the names of those whose value is ambiguous."""
        single: dict[str, Value] = {}
        several: set[str] = set()
        last: str | None = None
        for item in self._items(argv):
            if item.name is None:
                # A stray argument: the flag in front of it may take more values than the catalog says.
                several |= {last} if last else set()
                continue
            last = item.name
            value = _typed(item.value, self._catalog.get(last))
            if last in single and not self._adds(last):
                several.add(last)
            single[last] = _joined(single.get(last), value) if self._adds(last) else value
        return CommandFlags({n: v for n, v in single.items() if n not in several}, frozenset(several))

    def _items(self, argv: Sequence[str]) -> Iterator[Item]:
        index = _program_length(argv)
        yield from (Item(None, None, (a,)) for a in argv[:index])
        while index < len(argv):
            item = self.item(argv, index)
            yield item
            index += len(item.raw)

    def item(self, argv: Sequence[str], index: int) -> Item:
        """The flag or positional argument at ``index``."""
        written = argv[index]
        spelling, equals, inline = written.partition("=")
        if not _SPELLING.fullmatch(spelling):
            return Item(None, None, (written,))
        bare = spelling.lstrip("-")
        name = self._names.get(bare) or self._names.get(bare.replace("_", "-")) or self._short_for(bare)
        if name is None and bare.replace("_", "-") in self._off:
            return Item(self._off[bare.replace("_", "-")], False, (written,))
        if equals:
            return Item(name or bare.replace("_", "-"), inline, (written,))
        values = self._following(argv, index, self._catalog[name] if name else None)
        value: Value = True if not values else values[0] if len(values) == 1 else values
        return Item(name or bare.replace("_", "-"), value, (written, *values))

    def _following(self, argv: Sequence[str], index: int, entry: CatalogEntry | None) -> tuple[str, ...]:
        """The values that follow a flag. A flag that is not in the catalog may take any number."""
        if entry is not None and entry.several != "arguments":
            return () if entry.type.kind == "bool" else tuple(argv[index + 1 : index + 2])
        most = index + 2 if entry is None and self._unknown == "occurrences" else len(argv)
        end = index + 1
        while end < min(most, len(argv)) and not _SPELLING.fullmatch(argv[end].partition("=")[0]):
            end += 1
        return tuple(argv[index + 1 : end])

    def _short_for(self, bare: str) -> str | None:
        """The flag that a spelling abbreviates, as argparse resolves it (``--mem-frac``).

        A spelling that ends at a word boundary is not resolved: it may be another flag that the catalog does not list.
        """
        if not self._abbreviates or "-" not in bare:
            return None
        prefix = bare.replace("_", "-")
        full = {self._names[s] for s in self._names if s.startswith(prefix) and s[len(prefix) :][:1] not in {"", "-"}}
        return full.pop() if len(full) == 1 else None


def _joined(first: Value, second: Value) -> Value:
    """The values of two occurrences of one flag."""
    parts = (*parts_of(first), *parts_of(second))
    return parts[0] if len(parts) == 1 else parts


def _typed(value: Value, entry: CatalogEntry | None) -> Value:
    """A text converted to the catalog's type; unchanged if it cannot be converted."""
    if isinstance(value, tuple):
        return tuple(part for item in value for part in parts_of(_typed(item, entry)))
    if entry is None or not isinstance(value, str) or entry.type.kind not in {"int", "float"}:
        return value
    try:
        number = int(value) if entry.type.kind == "int" else float(value)
    except ValueError:
        return value
    return number


def _program_length(argv: Sequence[str]) -> int:
    """Number of arguments that name the program. The ``-m`` of ``python -m module`` is not a flag of the server."""
    if not argv or not _PYTHON.search(PurePath(argv[0]).name):
        return min(1, len(argv))
    index = 1
    while index < len(argv) and argv[index].startswith("-"):
        index += 2 if argv[index] in {"-X", "-W"} else 1  # the two options of Python that take a value
    return min(index + 1, len(argv))


def type_problem(entry: CatalogEntry, value: Value) -> Problem | None:
    """Why a flag cannot have this value; None if it can."""
    if value is None:
        return None
    if isinstance(value, tuple) and entry.several == "no":
        why = "takes one value"
        remedy = "write one value; list values to try under parameters"
        return Problem(where=entry.name, value=text_of(value), why=why, remedy=remedy)
    if entry.several != "no" and not isinstance(value, bool):
        found = (_item_problem(entry, item) for item in items_of(value, entry))
        return next((problem for problem in found if problem), None)
    return _item_problem(entry, value)


def _item_problem(entry: CatalogEntry, value: Value) -> Problem | None:
    kind = entry.type.kind
    if kind == "bool":
        wrong = None if isinstance(value, bool) else ("is a switch", "write true or false")
    elif isinstance(value, bool):
        wrong = ("is not a switch", _expected(entry))
    elif kind == "string" or (isinstance(value, str) and value in entry.type.choices):
        wrong = None
    elif kind == "choice":
        wrong = ("is not a valid choice", _expected(entry))
    else:
        wrong = _number_problem(entry, value)
    return Problem(where=entry.name, value=text_of(value), why=wrong[0], remedy=wrong[1]) if wrong else None


def _number_problem(entry: CatalogEntry, value: Value) -> tuple[str, str] | None:
    low = entry.type.low
    high = entry.type.high
    kind = entry.type.kind
    try:
        number = int(text_of(value)) if kind == "int" else float(text_of(value))
    except ValueError:
        return (f"is not a {'whole ' if kind == 'int' else ''}number", _expected(entry))
    below = low is not None and not number >= low
    above = high is not None and not number <= high
    return ("is out of range", _expected(entry)) if below or above else None


def _expected(entry: CatalogEntry) -> str:
    words = ", ".join(entry.type.choices)
    if entry.type.kind == "choice":
        return f"use one of: {words}"
    low = entry.type.low
    high = entry.type.high
    whole = entry.type.kind == "int"
    bounds = [f"at least {low:.0f}" if whole else f"at least {low:g}"] if low is not None else []
    bounds += [f"at most {high:.0f}" if whole else f"at most {high:g}"] if high is not None else []
    kind = "use a whole number" if whole else "use a number"
    return ", ".join([kind, *bounds]) + (f", or one of: {words}" if words else "")
