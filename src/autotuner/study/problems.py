"""Turns pydantic's validation errors into one clear line each, with "did you mean" for unknown keys."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autotuner.errors import HIDDEN_VALUE, Problem, did_you_mean, hides_value
from autotuner.invalid_value import InvalidValueError
from autotuner.plain_text import blanked_line, shortened

MAX_DETAILED = 100
"""Validation errors that become full problems: a misspelled key is compared with all known ones."""


def problems_of(error: ValidationError, model: type[BaseModel], *, prefix: str = "") -> list[Problem]:
    """One problem per validation error; ``prefix`` is the path of the validated part in the file. Of very many, only
    the first ones are worked out."""
    found = error.errors(include_url=False)
    worked_out = [_problem(details, model, prefix) for details in found[:MAX_DETAILED]]
    return [*worked_out, *[Problem(where=prefix, why="not looked at")] * len(found[MAX_DETAILED:])]


def path_text(location: Sequence[str | int], prefix: str = "") -> str:
    """``parameters.threads[1]``."""
    text = prefix
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return blanked_line(text) or "(top level)"


def shown(value: Any, where: str) -> str:
    """A value for a message: short, and never a secret."""
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
    refused = details.get("ctx", {}).get("error")
    if isinstance(refused, InvalidValueError):
        why = blanked_line(refused.why)
        remedy = blanked_line(refused.remedy)
    else:
        why = blanked_line(details["msg"].removeprefix("Value error, "))
        remedy = ""
    if why.startswith("Input should be"):
        why = "must be" + why.removeprefix("Input should be")
    if not why.startswith(("N ", "U ")):
        why = why[0].lower() + why[1:]
    return Problem(where=where, value=shown(details["input"], where), why=why, remedy=remedy)


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in location:
        if current is None or not isinstance(part, str):
            continue
        field = current.model_fields.get(part)
        found = _model_in(field.annotation) if field else None
        current = found or current
    return list(current.model_fields) if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found:
            return found
    return None
