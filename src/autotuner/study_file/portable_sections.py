"""Portable sections of a study file: conversion to fixed arguments and parameters, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotuner.study.base import Value
from autotuner.study.parameters.parameter import Choices, Domain, Parameter
from autotuner.study.parameters.portable import PRESET, SECTIONS, file_path, is_portable, split, vocabulary_problem
from autotuner.study_file.form_fields import ParameterForm
from autotuner.study_file.located_document import Document, Path

Written = Mapping[str, ParameterForm | Value]
"""A section's keys and values as written."""
MAX_CHECKED = 1000
"""Values of a range that are checked."""


def read_sections(
    sections: Mapping[str, Written], document: Document
) -> tuple[dict[str, Value], tuple[Parameter, ...]]:
    """Fixed values by portable name, and the tuned parameters; problems go to the document."""
    fixed: dict[str, Value] = {}
    parameters: list[Parameter] = []
    for section in SECTIONS:
        spelled: dict[str, str] = {}
        for written, setting in sections.get(section, {}).items():
            name = f"{section}.{written.replace('_', '-')}"
            if (first := spelled.setdefault(name, written)) != written:
                document.fault((section, written), f'the same key as "{first}"', remedy="remove one of the two")
            elif isinstance(setting, ParameterForm) and setting.combinations is not None:
                document.fault((section, written), "cannot have combinations", remedy="write them under parameters")
            elif isinstance(setting, ParameterForm):
                domain = setting.domain()
                if _sound(name, domain, (section, written), document):
                    parameters.append(Parameter(name=name, domain=domain, when=setting.when or ""))
            elif _known(name, setting, (section, written), document):
                fixed[name] = setting
    return fixed, tuple(parameters)


def _sound(name: str, domain: Domain, path: tuple[str, str], document: Document) -> bool:
    section, key = split(name)
    grid = domain.grid()
    if grid is None:
        document.fault(path, "cannot be a continuous range", remedy="write a list of values")
        return False
    listed = isinstance(domain, Choices)
    if not listed and SECTIONS[section].keys.get(key, ()) is not None:
        document.fault(path, "cannot be a range", remedy="write a list of values")
        return False
    known = [_known(name, v, (*path, i) if listed else path, document) for i, v in enumerate(grid[:MAX_CHECKED])]
    return all(known)


def _known(name: str, value: Value, path: tuple[str | int, ...], document: Document) -> bool:
    problem = vocabulary_problem(name, value)
    if problem:
        document.fault(path, problem.why, value=value if problem.value else None, remedy=problem.remedy)
    return problem is None


def misplaced(names: Mapping[str, Any] | Sequence[str], path: Path, document: Document) -> None:
    """Adds a problem for each portable name among an engine's flags, since these have sections of their own."""
    for name in names:
        if is_portable(name):
            section, key = split(file_path(name))
            remedy = f"write it as {key} in the section {section}"
            document.fault((*path, name), "not a flag of the engine", remedy=remedy)


def written_sections(
    fixed: Mapping[str, Value], parameters: Sequence[Parameter], written: Callable[[Parameter], Any]
) -> dict[str, Any]:
    """The sections for these values; the inverse of :func:`read_sections`."""
    found: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in [*fixed.items(), *((p.name, written(p)) for p in parameters)]:
        if is_portable(name):
            section, key = split(file_path(name))
            found[section][key] = value
    short = {s: keys[PRESET] for s, keys in found.items() if set(keys) == {PRESET} and isinstance(keys[PRESET], str)}
    return {**found, **short}
