"""Result of a quality check."""

from enum import StrEnum

from autotuner.study.base import FrozenModel


class QualityState(StrEnum):
    """What is known of a trial's answers."""

    REFERENCE = "reference"
    """The default, which the others are compared with."""
    COMPARED = "compared"
    INHERITED = "inherited"
    """It changes no arithmetic, so it answers as its engine's default; the figures are the default's."""
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
    """Lower bound, at the result's confidence."""


class EngineComparison(FrozenModel):
    """The answers of one engine's default compared with those of the study's baseline, word by word: tokens and
    probabilities of different servers cannot be compared."""

    reference: int | None = None
    """Number of the baseline's trial."""
    candidate: Distance | None = None
    control: Distance | None = None
    disagreement: Excess | None = None
    why: str = ""
    """Why nothing is known."""

    @property
    def text(self) -> str:
        """``its engine's reference agrees with trial 0 on 73% of words (control 100%)``."""
        if self.candidate is None or self.control is None:
            return f"the reference of its engine is not compared: {self.why}"
        return (
            f"its engine's reference agrees with trial {self.reference} on {self.candidate.agreement:.1%} of words "
            f"(control {self.control.agreement:.1%})"
        )


class Accuracy(FrozenModel):
    """Mean score in a task."""

    value: float
    stderr: float
    """Standard error of the mean, over items."""
    items: int


class Drop(FrozenModel):
    """By how much a candidate's accuracy is below the default's, on the same items."""

    value: float
    """As a difference of shares; negative if the candidate is better."""
    low: float
    """Lower bound, at the result's confidence."""
    high: float
    """Upper bound, at the same confidence."""
    losses: int
    """Items in which the candidate scored less than the default."""
    gains: int
    """Items in which it scored more."""
    chance: float
    """Probability of at least so many losses among these items if both servers are equal."""


class TaskResult(FrozenModel):
    """Accuracy in one task."""

    name: str
    metric: str = ""
    """Metric and filter, e.g. ``exact_match,strict-match``."""
    accuracy: Accuracy | None = None
    reference: Accuracy | None = None
    """The default's, on the same items; None for the default itself."""
    drop: Drop | None = None
    why: str = ""
    """Why nothing is known."""


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
    engine: EngineComparison | None = None
    """The default of its engine compared with the baseline, in a study of several engines; None for the baseline's own
    engine."""
    confidence: float = 0.995
    """Confidence of each bound, one-sided."""
    tasks: tuple[TaskResult, ...] = ()
    """Accuracy in the tasks of the study; empty if there are none, or if the answers differ too much already."""
    seconds: float = 0.0
    """Time that asking took."""
    once_s: float = 0.0
    """Time that asking all prompts once took, as a candidate is asked."""
    tasks_s: float = 0.0
    """Time that evaluating the tasks took."""
    why: str = ""
    """Why nothing is known."""

    @property
    def missing(self) -> str:
        """Why nothing can be compared with a reference; empty if everything can."""
        return self.why or next((f"{task.name}: {task.why}" for task in self.tasks if task.accuracy is None), "")
