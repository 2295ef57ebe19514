"""How much each parameter matters, by a model of all measured trials."""

from pydantic import Field

from autotuner.study.base import FrozenModel


class Share(FrozenModel):
    """Share of the variance over the space that one parameter explains; 0 if there is hardly any."""

    alone: float = Field(ge=0, le=1)
    """By its value alone."""
    total: float = Field(ge=0, le=1)
    """With its interactions; the shares of all parameters may add up to more than 1."""


class ParameterImportance(FrozenModel):
    """What depends on one parameter."""

    parameter: str
    objective: Share
    """Of the logarithm of the first objective, feasible or not."""
    feasible: Share
    """Of the probability that a configuration starts and meets every hard SLO."""
