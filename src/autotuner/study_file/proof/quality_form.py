"""Form of the section ``quality``: whether answers stay as good as the default's."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study_file.form_fields import Duration, FileForm, ListOf, Ratio

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]*")


class TasksForm(FileForm):
    """Accuracy in tasks of lm-evaluation-harness."""

    names: Annotated[list[str], ListOf] = Field(description="Tasks or groups of tasks of the harness.")
    max_drop: Ratio = Field(
        default=0.02, ge=0, lt=1, description="Largest drop of accuracy below the default's, in points."
    )
    limit: int = Field(default=200, ge=16, description="Items of each task.")
    metric: str | None = Field(
        default=None,
        description="Metric, or metric,filter; by default the first of each task for which more is better.",
    )
    fewshot: int | None = Field(default=None, ge=0, description="Examples in each prompt; by default the task's own.")
    api: Literal["completions", "chat"] = Field(default="completions", description="completions or chat.")
    include: str | None = Field(default=None, description="Folder with definitions of further tasks.")
    model_args: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="Further model arguments of the harness, e.g. {tokenizer: Qwen/Qwen3-8B}."
    )
    command: Annotated[list[str], ListOf] = Field(
        default_factory=list, description="Executable; by default AUTOTUNER_LM_EVAL, then lm_eval on PATH."
    )
    time_limit: Duration = Field(default=300.0, gt=0, description="Time limit of evaluating one server.")

    @field_validator("names")
    @classmethod
    def _plain(cls, names: list[str]) -> list[str]:
        for name in names:
            if not _NAME.fullmatch(name):
                raise InvalidValueError(f"{name!r} is not the name of a task", remedy="list them: lm_eval ls tasks")
        if not names or len(set(names)) < len(names):
            raise InvalidValueError("names no task, or one twice", remedy="name each task once")
        return names

    def spec(self, resolve: Callable[[str], str]) -> TasksSpec:
        """The section as the study keeps it, with a path that ``resolve`` finds."""
        rest = self.model_dump(exclude={"names", "command", "time_limit", "include"})
        return TasksSpec(
            **rest,
            names=tuple(self.names),
            include=resolve(self.include) if self.include is not None else None,
            command=tuple(self.command),
            time_limit_s=self.time_limit,
        )


def _long(value: Any) -> Any:
    """The long form of a name, or of a list of names."""
    return {"names": value} if isinstance(value, str | list) else value


class QualityForm(FileForm):
    """Comparison of a configuration's answers with the default's."""

    parameters: list[str] | Literal["auto", "all"] = Field(
        default="auto",
        description="Parameters to check: auto (those that change arithmetic), all, or names.",
    )
    prompts: int = Field(default=32, ge=16, le=64, description="Prompts of the built-in set that are asked.")
    tokens: int = Field(default=32, ge=1, le=1024, description="Tokens of each answer.")
    kl: float = Field(
        default=0.05, gt=0, le=100, description="Largest mean KL divergence per token in nats, beyond the control's."
    )
    disagreement: Ratio = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Largest share of tokens unlike the default's, beyond the control's.",
    )
    time_limit: Duration = Field(default=60.0, gt=0, description="Time limit of asking one server all prompts once.")
    tasks: Annotated[TasksForm, BeforeValidator(_long, json_schema_input_type=str | list[str] | TasksForm)] | None = (
        Field(default=None, description="Tasks whose accuracy must not drop: names, or {names, max_drop, limit, ..}.")
    )

    @field_validator("parameters", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("auto", "all"):
            raise InvalidValueError("not a choice", remedy="write auto, all, or a list of parameters")
        if value == []:
            raise InvalidValueError("no parameter is checked", remedy="write auto, all, or remove the section")
        return value

    def spec(self, resolve: Callable[[str], str]) -> QualitySpec:
        """The section as the study keeps it, with paths that ``resolve`` finds."""
        named = self.parameters if isinstance(self.parameters, str) else tuple(self.parameters)
        return QualitySpec(
            parameters=named,
            prompts=self.prompts,
            tokens=self.tokens,
            kl=self.kl,
            disagreement=self.disagreement,
            time_limit_s=self.time_limit,
            tasks=self.tasks.spec(resolve) if self.tasks is not None else None,
        )
