"""Scores of a server in tasks of lm-evaluation-harness, item by item."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.study.base import FrozenModel


class TaskScores(FrozenModel):
    """The scores in one task."""

    name: str
    metric: str
    """Metric and filter, e.g. ``exact_match,strict-match``."""
    scores: Mapping[str, float] = Field(default_factory=dict)
    """By item, from 0 to 1. An item is identified by its number and by hashes of question, prompt and answer."""


class TaskRun(FrozenModel):
    """One run of the harness on one server."""

    tasks: tuple[TaskScores, ...] = ()
    seconds: float = 0.0
    version: str = ""
    """Version of lm-evaluation-harness."""
    problem: str = ""
    """Why there are no scores, in the harness' own words where it has any."""

    def of(self, name: str) -> TaskScores | None:
        """The scores in one task; None if there are none."""
        return next((task for task in self.tasks if task.name == name), None)
