"""Constructors for the rows of an engine's catalog."""

from collections.abc import Iterable, Mapping

from autotuner.study.base import Value
from autotuner.study.parameters.parameter import CatalogEntry, Several, ValueType

Rows = tuple[CatalogEntry, ...]


def integer(
    name: str,
    default: int | None,
    meaning: str,
    *,
    low: int | None = 1,
    high: int | None = None,
    aliases: tuple[str, ...] = (),
    suggested: tuple[int, ...] = (),
    words: tuple[str, ...] = (),
) -> CatalogEntry:
    """A flag that takes an integer; ``words`` are accepted as well."""
    kind = ValueType(kind="int", low=low, high=high, choices=words)
    return CatalogEntry(name=name, type=kind, default=default, meaning=meaning, aliases=aliases, suggested=suggested)


def number(
    name: str,
    default: float | None,
    meaning: str,
    *,
    low: float | None = 0.0,
    high: float | None = None,
    aliases: tuple[str, ...] = (),
    suggested: tuple[float, ...] = (),
) -> CatalogEntry:
    """A flag that takes a float."""
    kind = ValueType(kind="float", low=low, high=high)
    return CatalogEntry(name=name, type=kind, default=default, meaning=meaning, aliases=aliases, suggested=suggested)


def choice(
    name: str,
    default: str | None,
    choices: Iterable[str],
    meaning: str,
    *,
    aliases: tuple[str, ...] = (),
    suggested: tuple[str, ...] = (),
) -> CatalogEntry:
    """A flag that takes one of several words."""
    kind = ValueType(kind="choice", choices=tuple(choices))
    return CatalogEntry(name=name, type=kind, default=default, meaning=meaning, aliases=aliases, suggested=suggested)


def text(
    name: str, default: str | None, meaning: str, *, aliases: tuple[str, ...] = (), suggested: tuple[Value, ...] = ()
) -> CatalogEntry:
    """A flag that takes any text as one argument."""
    return CatalogEntry(
        name=name, type=ValueType(kind="string"), default=default, meaning=meaning, aliases=aliases, suggested=suggested
    )


def sizes(
    name: str, meaning: str, *, low: int | None = 1, aliases: tuple[str, ...] = (), suggested: tuple[Value, ...] = ()
) -> CatalogEntry:
    """A flag that takes several integers as arguments in a row."""
    return CatalogEntry(
        name=name,
        type=ValueType(kind="int", low=low),
        several="arguments",
        meaning=meaning,
        aliases=aliases,
        suggested=suggested,
    )


def numbers(name: str, meaning: str) -> CatalogEntry:
    """A flag that takes several floats as arguments in a row."""
    return CatalogEntry(name=name, type=ValueType(kind="float", low=0.0), several="arguments", meaning=meaning)


def texts(name: str, meaning: str, *, several: Several = "arguments", aliases: tuple[str, ...] = ()) -> CatalogEntry:
    """A flag that takes several texts, as arguments in a row or by being repeated."""
    return CatalogEntry(name=name, type=ValueType(kind="string"), several=several, meaning=meaning, aliases=aliases)


def switch(name: str, meaning: str, *, aliases: tuple[str, ...] = ()) -> CatalogEntry:
    """A switch that is off by default and has no off spelling."""
    kind = ValueType(kind="bool")
    return CatalogEntry(name=name, type=kind, default=False, meaning=meaning, aliases=aliases, suggested=(False, True))


def pair(name: str, default: bool | None, meaning: str, *, aliases: tuple[str, ...] = ()) -> CatalogEntry:
    """A switch with a flag for each state: ``--x`` and ``--no-x``."""
    kind = ValueType(kind="bool")
    suggested = (False, True)
    return CatalogEntry(
        name=name,
        type=kind,
        default=default,
        meaning=meaning,
        aliases=aliases,
        off_flag=f"no-{name}",
        suggested=suggested,
    )


def by_name(*groups: Rows) -> Mapping[str, CatalogEntry]:
    """Groups of rows merged into one catalog."""
    return {row.name: row for group in groups for row in group}
