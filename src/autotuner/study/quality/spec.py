"""Check that a configuration answers as well as the default."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from autotuner.study.base import FrozenModel

FALSE_REJECTIONS = 0.01
"""Largest probability that an identical server is rejected, over all tests of one candidate."""


class TasksSpec(FrozenModel):
    """Tasks of lm-evaluation-harness whose accuracy is compared with the default's."""

    names: tuple[str, ...] = Field(min_length=1)
    """Tasks, or groups of tasks, as the harness knows them."""
    max_drop: float = Field(default=0.02, ge=0, lt=1)
    """Largest drop of the accuracy, as a difference of shares."""
    limit: int = Field(default=200, ge=16)
    """Items of each task; of a group, of each task in it."""
    metric: str | None = None
    """Metric, with or without its filter; None: the first of each task for which more is better."""
    fewshot: int | None = Field(default=None, ge=0)
    """Examples in each prompt; None: as the task defines."""
    api: Literal["completions", "chat"] = "completions"
    include: str | None = None
    """Folder with definitions of further tasks."""
    model_args: Mapping[str, bool | int | float | str] = Field(default_factory=dict)
    """Further ``--model_args``."""
    command: tuple[str, ...] = ()
    """Executable and first arguments; empty: AUTOTUNER_LM_EVAL, else ``lm_eval`` on PATH."""
    time_limit_s: float = Field(default=300.0, gt=0)
    """Time limit of evaluating one server, in seconds."""

    @property
    def asked(self) -> dict[str, object]:
        """The settings that determine the scores."""
        return self.model_dump(mode="json", exclude={"max_drop", "command", "time_limit_s"})


class QualitySpec(FrozenModel):
    """Which configurations are compared with the default's answers, and how much worse they may be."""

    parameters: tuple[str, ...] | Literal["auto", "all"] = "auto"
    """Parameters whose values are checked; ``auto``: those that change arithmetic, as the engine knows."""
    prompts: int = Field(default=32, ge=16)
    """Prompts of the built-in set that are asked."""
    tokens: int = Field(default=32, ge=1)
    """Tokens of each answer."""
    kl: float = Field(default=0.05, gt=0)
    """Largest mean KL divergence per token, in nats, beyond that of the control."""
    disagreement: float = Field(default=0.1, gt=0, lt=1)
    """Largest share of tokens that are not the default's choice in the same context, beyond that of the control."""
    time_limit_s: float = Field(default=60.0, gt=0)
    """Time limit of asking all prompts once, in seconds."""
    tasks: TasksSpec | None = None
    """Tasks to evaluate; None: only answers are compared."""

    @property
    def asked(self) -> dict[str, object]:
        """The settings that determine what is asked; bounds may change while results are kept."""
        asked = self.model_dump(mode="json", include={"parameters", "prompts", "tokens"})
        return {**asked, "tasks": self.tasks.asked} if self.tasks is not None else asked

    def level(self, *, engines: bool) -> float:
        """One-sided error probability of each test of a candidate: tokens, their probabilities, each task, and if there
        are several engines, the words of its engine's default."""
        tasks = len(self.tasks.names) if self.tasks is not None else 0
        return FALSE_REJECTIONS / (2 + tasks + engines)
