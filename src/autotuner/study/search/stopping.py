"""When a search may end by itself, and how much better than its best trial untried configurations can be."""

import math

from pydantic import Field

from autotuner.study.base import FrozenModel, number_text

CONFIDENCE = 0.95
"""Confidence of bounds, unless the study says otherwise."""


class StopRule(FrozenModel):
    """Ends the search once no untried configuration can be much better than the best trial."""

    remaining_gain: float = Field(gt=0, lt=1)
    """Relative gain that is not worth another launch, e.g. 0.03."""
    confidence: float = Field(default=CONFIDENCE, gt=0.5, lt=1)
    """Probability that none gains more than that."""

    @property
    def too_good(self) -> str:
        """What no untried configuration may be, in words."""
        return f"more than {number_text(round(self.remaining_gain * 100, 6))}% better than the best trial"


class GainBound(FrozenModel):
    """How much better than a trial the configurations that were not launched can be, as far as the search knows."""

    gain: float = Field(ge=0)
    """Bound of the relative gain in the objective: 0.03 means at most 3% better."""
    confidence: float
    """Probability that the bound holds."""
    trial: int
    """Number of the best trial by the search's model. It need not be the answer: the highest measurement is often a
    lucky one."""
    untried: int
    """Number of configurations that the bound was computed from."""
    complete: bool = True
    """Whether these are all that were not launched. If not, the bound says nothing about the others."""

    @property
    def text(self) -> str:
        """What holds, in words; the gain is rounded up to whole percent."""
        percent = math.ceil(self.gain * 100 - 1e-9)
        better = f"more than {percent}% better" if percent else "better"
        return f"{self._which} is {better} than trial {self.trial}"

    def within(self, rule: StopRule) -> str:
        """Why the search ends by a rule; empty if it does not.

        It states the rule alone: the proof measures more, and the bound at the end of the study differs.
        """
        if self.gain > rule.remaining_gain:
            return ""
        return f"search.stop reached: {self._which} was {rule.too_good}"

    @property
    def _which(self) -> str:
        sample = f"none of {self.untried:,} untried configurations, a sample of the space,"
        return f"with {self.confidence * 100:g}% confidence, {'no untried configuration' if self.complete else sample}"
