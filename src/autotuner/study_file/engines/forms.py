"""Forms of engines and their deployers: one under ``engine``, or several under ``engines``."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from autotuner.invalid_value import InvalidValueError
from autotuner.study.parameters.conditions import hyphenated
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.engines import ENGINE
from autotuner.study.parameters.portable import SECTIONS
from autotuner.study_file.form_fields import (
    FileForm,
    FileValue,
    ListOf,
    ParameterForm,
    checked_variables,
    env_value,
    mapped,
    short,
)

MAX_PARAMETERS = 64
MAX_ENGINES = 16
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*")
_MOST_CHARACTERS = 40
_RESERVED = frozenset({ENGINE, "env", *SECTIONS})
"""Names in front of a dot that mean something else in a space."""


class EngineForm(FileForm):
    """The inference server; further keys are settings of the engine."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(min_length=1, description="Inference server, e.g. llama_cpp.")
    args: dict[str, FileValue] = Field(
        default_factory=dict, description="Flags for every launch, including the default; true is a bare switch."
    )
    env: Annotated[
        dict[str, Annotated[str, BeforeValidator(env_value, json_schema_input_type=str | int | float | bool)]],
        AfterValidator(checked_variables),
    ] = Field(default_factory=dict, description="Environment of the server; tune variables as parameters.env.NAME.")


class PluginForm(FileForm):
    """A plugin by kind; further keys are its settings."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(min_length=1, description="Name of the plugin.")


def _constraint(value: Any) -> Any:
    if isinstance(value, Constraint):
        return value
    if not isinstance(value, str):
        raise InvalidValueError("must be text", remedy="write e.g. tp-size * pp-size <= gpus")
    found = Constraint.parse(value)
    if not found.names:
        raise InvalidValueError("names no parameter", remedy="leave it out")
    return found


Constraints = Annotated[
    list[Annotated[Constraint, BeforeValidator(_constraint, json_schema_input_type=str)]],
    ListOf,
]


Baseline = dict[str, FileValue]
"""Values of tuned parameters by name."""


def _entry_name(text: str) -> str:
    if text in _RESERVED:
        raise InvalidValueError("has a meaning of its own", remedy="choose another name")
    if not _NAME.fullmatch(text) or len(text) > _MOST_CHARACTERS:
        remedy = f"use letters, digits, hyphens and underscores, at most {_MOST_CHARACTERS}, e.g. vllm-0-11"
        raise InvalidValueError("not a valid name of an engine", remedy=remedy)
    return text


class EngineEntryForm(EngineForm):
    """One of several engines: what ``engine`` has, with its own parameters and deployer."""

    name: Annotated[str, AfterValidator(_entry_name)] | None = Field(
        default=None, description="Identifies the engine in results; default: its kind."
    )
    deploy: Annotated[PluginForm, short("kind", "docker")] | None = Field(
        default=None, description="Where its servers run; default: the study's deploy."
    )
    parameters: dict[str, ParameterForm] = Field(
        default_factory=dict, max_length=MAX_PARAMETERS, description="What to tune of it, by its own flag names."
    )
    constraints: Constraints = Field(default_factory=list, max_length=100, description="Constraints on its parameters.")
    baseline: Baseline = Field(
        default_factory=dict, description="Values of its parameters that run today; default: the engine's default."
    )

    @property
    def proper_name(self) -> str:
        """The entry's name, or its kind."""
        return self.name or self.kind

    @property
    def engine(self) -> dict[str, Any]:
        """The part that ``engine`` has."""
        return self.model_dump(exclude={"name", "deploy", "parameters", "constraints", "baseline"})


def _checked_entries(entries: list[EngineEntryForm]) -> list[EngineEntryForm]:
    if not entries:
        raise InvalidValueError("lists no engine", remedy="write e.g. [vllm, sglang]")
    seen: dict[str, str] = {}
    for entry in entries:
        name = entry.proper_name
        if entry.name is None:
            _entry_name(name)
        if hyphenated(name) in seen:
            what = f'"{name}"' if name == seen[hyphenated(name)] else f'"{seen[hyphenated(name)]}" and "{name}"'
            raise InvalidValueError(f"has two engines named {what}", remedy="give each a name of its own: {name: ..}")
        seen[hyphenated(name)] = name
    return entries


_ENTRY = "write e.g. vllm, or {name: vllm, kind: vllm, ..}"


def _entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(mapped(value, remedy=_ENTRY), Mapping) and isinstance(value.get("parameters"), list):
        why = "a list of combinations covers the whole space, which several engines do not share"
        raise InvalidValueError(why, remedy="name them: {profile: {combinations: {..}}}")
    return value


Engines = Annotated[
    list[Annotated[EngineEntryForm, BeforeValidator(_entry, json_schema_input_type=str | EngineEntryForm)]],
    AfterValidator(_checked_entries),
]
