"""Forms of objectives and SLOs in a study file."""

from typing import Any

from pydantic import Field, model_validator

from autotuner.study.base import number_text
from autotuner.study.metric import METRICS, Direction, Unit
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.text.forms import (
    check_comparison,
    check_direction,
    check_statistic,
    known_metric,
    parse_objective,
    parse_slo,
    parse_threshold,
    place,
)
from autotuner.study.text.slices import parse_slice
from autotuner.study_file.form_fields import FileForm, mapped


class ObjectiveForm(FileForm):
    """The long form of an objective."""

    metric: str = Field(description="Name of the metric.")
    statistic: str | None = Field(default=None, description="Statistic over requests, e.g. p99, where needed.")
    direction: str | None = Field(default=None, description="min or max; default: the better direction of the metric.")
    at: str | None = Field(default=None, description="A single load level, e.g. concurrency=8; default: all.")
    scenario: str | None = Field(default=None, description="A single scenario; default: all.")

    @model_validator(mode="after")
    def _sound(self) -> "ObjectiveForm":
        self.parsed()
        return self

    def parsed(self) -> Objective:
        """The objective. Raises ``ValueError`` if its parts do not fit together."""
        metric = known_metric(self.metric)
        direction = self.direction or metric.better.value
        check_direction(metric, direction)
        check_statistic(metric, self.statistic, needed=direction)
        at, scenario = place(self.at, self.scenario)
        return Objective(
            metric=metric.name, statistic=self.statistic, direction=Direction(direction), at=at, scenario=scenario
        )


class SloForm(FileForm):
    """The long form of an SLO."""

    metric: str = Field(description="Name of the metric.")
    statistic: str | None = Field(default=None, description="Statistic, e.g. p99; none: bound on every request.")
    at_most: int | float | str | None = Field(default=None, description="Upper bound; times need a unit: 200ms.")
    at_least: int | float | str | None = Field(default=None, description="Lower bound.")
    threshold: int | float | str | None = Field(default=None, description="Bound in the worse direction of the metric.")
    weight: float = Field(default=1.0, ge=0, le=10**9, description="Weight of a violation if the bound is soft.")
    hard: bool = Field(default=True, description="If false, a violation only lowers the rank.")
    of: str | None = Field(default=None, description="A part of the load, e.g. part 1 or later turns; default: all.")
    at: str | None = Field(default=None, description="A single load level, e.g. concurrency=8; default: all.")
    scenario: str | None = Field(default=None, description="A single scenario; default: all.")

    @model_validator(mode="after")
    def _sound(self) -> "SloForm":
        self.parsed()
        return self

    def parsed(self) -> SLO:
        """The SLO. Raises ``ValueError`` if its parts do not fit together."""
        metric = known_metric(self.metric)
        check_statistic(metric, self.statistic)
        given = {k: v for k in ("at_most", "at_least", "threshold") if (v := getattr(self, k)) is not None}
        if len(given) != 1:
            raise ValueError("needs exactly one of at_most, at_least and threshold")
        [(key, bound)] = given.items()
        worse = Comparison.LE if metric.better is Direction.MIN else Comparison.GE
        comparison = {"at_most": Comparison.LE, "at_least": Comparison.GE}.get(key, worse)
        check_comparison(metric, comparison)
        at, scenario = place(self.at, self.scenario)
        return SLO(
            metric=metric.name,
            statistic=self.statistic,
            comparison=comparison,
            threshold=parse_threshold(bound, metric),
            of=parse_slice(self.of, metric) if self.of else None,
            at=at,
            scenario=scenario,
            hard=self.hard,
            weight=self.weight,
        )


def long_objective(value: Any) -> Any:
    """The long form of an objective."""
    if not isinstance(value, str):
        return mapped(value, remedy='write e.g. "max output_throughput"')
    found = parse_objective(value)
    return {**found.model_dump(), "direction": found.direction.value}


def long_slo(value: Any) -> Any:
    """The long form of an SLO."""
    if not isinstance(value, str):
        return mapped(value, remedy='write e.g. "p99 ttft <= 200ms"')
    found = parse_slo(value)
    bound = number_text(found.threshold) + ("s" if METRICS[found.metric].unit is Unit.SECONDS else "")
    key = "at_most" if found.comparison is Comparison.LE else "at_least"
    return {
        "metric": found.metric,
        "statistic": found.statistic,
        key: bound,
        "of": found.of,
        "at": found.at,
        "scenario": found.scenario,
    }
