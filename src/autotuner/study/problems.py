"""Problems from pydantic's validation errors: one clear line each, with "did you mean" for unknown keys."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autotuner.errors import HIDDEN_VALUE, Problem, did_you_mean, hides_value
from autotuner.invalid_value import InvalidValueError
from autotuner.plain_text import blanked_line, shortened
from autotuner.study.base import number_text

MAX_DETAILED = 100
"""Validation errors that become full problems. Each costs a comparison of its key with all known ones."""


_LIMITS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_LARGEST = 10**6
"""Larger defaults are byte counts, which make poor examples."""
_MAPPINGS = frozenset({"dict_type", "model_type", "mapping_type"})


def problems_of(error: ValidationError, model: type[BaseModel], *, prefix: str = "") -> list[Problem]:
    """One problem per validation error; those after the first ``MAX_DETAILED`` are placeholders.

    Args:
        error: What pydantic raised.
        model: The model that was validated.
        prefix: Path of the validated part in the file.
    """
    found = error.errors(include_url=False)
    detailed = [_problem(details, model, prefix) for details in found[:MAX_DETAILED]]
    return [*detailed, *[Problem(where=prefix, why="not checked")] * len(found[MAX_DETAILED:])]


def path_text(location: Sequence[str | int], prefix: str = "") -> str:
    """A path in a file for display: ``parameters.threads[1]``."""
    text = prefix
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return blanked_line(text) or "(top level)"


def shown(value: Any, where: str) -> str:
    """A value for a message, shortened, without secrets.

    Args:
        value: Any part of a file.
        where: Its path, whose last key decides whether it may be shown.
    """
    if hides_value(where):
        return HIDDEN_VALUE
    if isinstance(value, Mapping):
        text = "{" + ", ".join(map(str, value)) + "}" if len(value) <= 8 else "(a mapping)"
    elif isinstance(value, list) and any(isinstance(item, list | Mapping) for item in value):
        text = "(a list)"
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    return shortened(blanked_line(text), 80)


def _problem(details: ErrorDetails, model: type[BaseModel], prefix: str) -> Problem:
    location = details["loc"]
    where = path_text(location, prefix)
    if details["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        return Problem(where=where, why="unknown key", remedy=did_you_mean(str(location[-1]), known))
    if details["type"] == "missing":
        return Problem(where=where, why="missing", remedy="this key is required")
    why, remedy = _reason(details)
    if details["type"] in _LIMITS:
        remedy = _default_of(model, location)
    return Problem(where=where, value=shown(details["input"], where), why=why, remedy=remedy)


def _reason(details: ErrorDetails) -> tuple[str, str]:
    """What is wrong, and the remedy if the validator gave one."""
    refused = details.get("ctx", {}).get("error")
    if isinstance(refused, InvalidValueError):
        return blanked_line(refused.why), blanked_line(refused.remedy)
    if isinstance(refused, ValueError):
        return blanked_line(str(refused)), ""
    why = blanked_line(details["msg"])  # pydantic's own, which begins with a capital letter
    if details["type"] in _MAPPINGS:
        return "must be a mapping", "write {KEY: VALUE, ..}"
    if why.startswith("Input should be"):
        return "must be" + why.removeprefix("Input should be"), ""
    return why[0].lower() + why[1:], ""


def _default_of(model: type[BaseModel], location: Sequence[str | int]) -> str:
    """A remedy for a number beyond a limit: the key's default, if that is a number."""
    parent = _model_at(model, location[:-1])
    field = parent.model_fields.get(str(location[-1])) if parent else None
    if field is None or isinstance(field.default, bool) or not isinstance(field.default, int | float):
        return ""
    if field.default > _LARGEST:
        return ""
    return f"write e.g. {number_text(field.default)}, the default"


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    found = _model_at(model, location)
    return list(found.model_fields) if found else []


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in location:
        if current is None or not isinstance(part, str):
            continue
        field = current.model_fields.get(part)
        found = _model_in(field.annotation) if field else None
        current = found or current
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found:
            return found
    return None
