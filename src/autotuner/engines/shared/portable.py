"""Translation of portable settings into an engine's own flags, from :mod:`autotuner.engines.shared.portable_tables`.

Pure functions of an engine's ``kind``: :func:`expand` translates all values together, :func:`check` checks one value
regardless of the others, and :func:`flags` lists what a name may set. :class:`PortableEngine` offers them as methods.
"""

from collections.abc import Iterator, Mapping
from math import prod

from autotuner.engines.shared.portable_tables import TABLES, Degree, Rule, Table
from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.parameters.portable import (
    PRESET,
    SECTIONS,
    file_path,
    is_left_out,
    is_portable,
    plain,
    split,
    vocabulary_problem,
)

_NAMES = {"gemm": "GEMM", "kv-cache": "KV cache", "attention": "attention", "moe": "experts (moe)"}


class PortableEngine(Engine):
    """An engine with a table of portable settings."""

    def expand(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """See :func:`expand`."""
        return expand(self.kind, values)

    def check_portable(self, name: str, value: Value) -> list[Problem]:
        """See :func:`check`."""
        return check(self.kind, name, value)

    def portable_flags(self, name: str) -> frozenset[str]:
        """See :func:`flags`."""
        return flags(self.kind, name)


def expand(kind: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Replaces portable names by flags of the engine ``kind``. Flags among ``values`` take precedence.

    Raises:
        UsageError: With one problem for each value that the engine does not support, alone or beside the others.
    """
    table = TABLES[kind]
    given = {name: value for name, value in values.items() if is_portable(name)}
    if not given:
        return dict(values)
    own = {name: value for name, value in values.items() if name not in given}
    problems = [p for name, value in given.items() for p in check(kind, name, value)]
    if problems:
        raise UsageError(problems)
    found: dict[str, Value] = {}
    for section in SECTIONS:
        keys = {split(n)[1]: plain(v) for n, v in given.items() if split(n)[0] == section}
        found |= _section(kind, section, keys, own)
    taken = {spelling for name in own for spelling in _spelled(table, name)}
    return {**own, **{name: value for name, value in found.items() if name not in taken}}


def check(kind: str, name: str, value: Value) -> list[Problem]:
    """Problems of one portable value on the engine ``kind``, regardless of the other values."""
    wrong = vocabulary_problem(name, value)
    if wrong:
        return [wrong]
    table = TABLES[kind]
    section, key = split(name)
    where = file_path(name)
    text = str(value)
    value = plain(value)
    if key == PRESET:
        if value in table.presets[section]:
            return []
        why = f"{kind} has no such preset"
        return [Problem(where=where, value=text, why=why, remedy=did_you_mean(text, list(table.presets[section])))]
    if is_left_out(value):
        return []
    if section == "parallelism":
        degree = table.parallelism[key]
        refused = bool(degree.only_one) and value != 1
        why = f"{kind} does not support {key} above 1"
        return [Problem(where=where, value=text, why=why, remedy=degree.only_one)] if refused else []
    if value in table.quantization[key]:
        return []
    why = f"{kind} does not support {_NAMES[key]} in {value}, only {', '.join(table.quantization[key])}"
    return [Problem(where=where, value=text, why=why, remedy=table.remedies.get(key, ""))]


def flags(kind: str, name: str) -> frozenset[str]:
    """Every flag of the engine ``kind`` that a portable name may set, in every spelling."""
    table = TABLES[kind]
    section, key = split(name)
    found: set[str] = set()
    if key == PRESET:
        for preset in table.presets[section].values():
            found |= set(preset.flags).union(*(flags(kind, f"{section}.{k}") for k in preset.keys))
    elif section == "parallelism":
        found = {table.parallelism[key].flag} - {""} if key in table.parallelism else set()
    else:
        rules = table.quantization.get(key, {}).values()
        found = {flag for several in rules for rule in several for flag in rule.flags}
    return frozenset(spelling for flag in found for spelling in _spelled(table, flag))


def _spelled(table: Table, flag: str) -> tuple[str, ...]:
    return next((group for group in table.spellings if flag in group), (flag,))


def _section(kind: str, section: str, keys: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """The flags of one section. Each of its values has passed :func:`check`."""
    table = TABLES[kind]
    name = keys.get(PRESET)
    preset = table.presets[section][str(name)] if name is not None else None
    settings = {**(preset.keys if preset else {}), **{k: v for k, v in keys.items() if k != PRESET}}
    settings = {key: value for key, value in settings.items() if not is_left_out(value)}
    found = dict(preset.flags) if preset else {}
    problems: list[Problem] = []
    parts = _degrees if section == "parallelism" else _formats
    for part in parts(kind, table, settings, own):
        if isinstance(part, Problem):
            problems.append(part)
        else:
            found |= part
    if problems:
        raise UsageError(problems)
    return found


_Part = dict[str, Value] | Problem


def _formats(kind: str, table: Table, settings: Mapping[str, Value], own: Mapping[str, Value]) -> Iterator[_Part]:
    for key, value in settings.items():
        rules = table.quantization[key][str(value)]
        fitting = [rule for rule in rules if _holds(rule, settings)]
        if fitting:
            yield dict(fitting[0].flags)
            continue
        needed = " or ".join(dict.fromkeys(_needs(rule) for rule in rules))
        why = f"{kind} supports {_NAMES[key]} in {value} only with {needed}"
        yield Problem(where=file_path(f"quantization.{key}"), value=str(value), why=why)


def _holds(rule: Rule, settings: Mapping[str, Value]) -> bool:
    return all(settings.get(key, "auto") in values for key, values in rule.when.items())


def _needs(rule: Rule) -> str:
    return " and ".join(f"{key.replace('-', '_')}: {'|'.join(values)}" for key, values in rule.when.items())


def _degrees(kind: str, table: Table, settings: Mapping[str, Value], own: Mapping[str, Value]) -> Iterator[_Part]:
    for key, value in settings.items():
        degree = table.parallelism[key]
        if not degree.spans:
            yield {degree.flag: value} if degree.flag else {}
            continue
        whole = prod(_effective(table, other, settings, own) for other in degree.spans)
        if value == whole and whole > 1:
            yield {degree.flag: True}
        elif value != 1:
            product = " * ".join(degree.spans)
            why = f"{kind} distributes experts across all {whole} GPUs ({product}) or not at all"
            where = file_path(f"parallelism.{key}")
            yield Problem(where=where, value=str(value), why=why, remedy=f"set it to {whole} or 1" if whole > 1 else "")


def _effective(table: Table, key: str, settings: Mapping[str, Value], own: Mapping[str, Value]) -> int:
    """The size that applies to a key: its flag's value if set, else the key's own, else 1."""
    degree: Degree = table.parallelism[key]
    for spelling in _spelled(table, degree.flag):
        value = own.get(spelling)
        if isinstance(value, int):
            return value
    value = settings.get(key, 1)
    return value if isinstance(value, int) else 1
