"""Result of a quality check."""

from enum import StrEnum

from autotuner.study.base import FrozenModel


class QualityState(StrEnum):
    """What is known of a trial's answers."""

    REFERENCE = "reference"
    """The default, which the others are compared with."""
    COMPARED = "compared"
    UNDECIDED = "undecided"
    """They could not be compared; see ``why``."""


class Distance(FrozenModel):
    """Answers compared with the default's, token by token in the same context: up to the first different token of each
    answer, after which the contexts differ."""

    prompts: int
    tokens: int
    """Tokens that were compared."""
    identical: float
    """Share of answers in which every token is the default's."""
    agreement: float
    """Share of the compared tokens that are the default's choice."""
    kl: float | None = None
    """Mean KL divergence per token in nats, from the default's most likely tokens; a lower bound of the true one. None
    if the server returns no log-probabilities."""
    logprob: float | None = None
    """Mean change of the log-probability of the default's choice, in nats."""


class Excess(FrozenModel):
    """Difference between a candidate and the control, which is the default compared with itself."""

    value: float
    low: float
    """Lower end of its one-sided 99.5% interval."""


class QualityResult(FrozenModel):
    """Answers of one trial compared with the default's."""

    state: QualityState
    method: str = ""
    """The request that the server understood, e.g. ``/v1/completions logprobs=20``."""
    prompts: str = ""
    """Digest of the prompts that were asked."""
    reference: int | None = None
    """Number of the default's trial."""
    candidate: Distance | None = None
    control: Distance | None = None
    """The default compared with itself under other batch compositions; the larger distance of the arms."""
    disagreement: Excess | None = None
    kl: Excess | None = None
    seconds: float = 0.0
    """Time that asking took."""
    why: str = ""
    """Why nothing is known."""
