"""Which configurations start, learned from the causes of failures."""

import numpy as np
import pytest

from autotuner.plugins.search import SearchContext
from autotuner.search.model.encoding import Encoder, Units
from autotuner.search.model.launching import Launching
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.trial import Trial, TrialState
from autotuner.study.verdict import Verdict, Violation
from autotuner.testing.search_kit import context_of, made, space_of

CONTEXT: SearchContext = context_of(space_of(batch=[1, 2, 4, 8, 16, 32, 64], kernel=["a", "b"]))
CONFIGURATIONS = list(CONTEXT.space.grid())
ENCODER = Encoder(CONTEXT, CONFIGURATIONS)
UNITS: Units = ENCODER.units(CONFIGURATIONS)
SMALL = Configuration(values={"batch": 1, "kernel": "a"})
LARGE = Configuration(values={"batch": 64, "kernel": "a"})


def failed(configuration: Configuration, cause: FailureCause) -> Trial:
    return made(0, configuration, state=TrialState.FAILED).replaced(failure=Failure(cause=cause, message="it failed"))


def starts(*trials: Trial) -> dict[str, float]:
    """Probabilities by configuration."""
    found = Launching(CONTEXT, ENCODER, trials).starts(UNITS)
    return {c.text: p for c, p in zip(CONFIGURATIONS, found.tolist(), strict=True)}


def test_a_failure_makes_its_neighbors_doubtful_and_a_success_does_the_opposite() -> None:
    assert set(starts().values()) == {1.0}, "nothing has failed yet"
    found = starts(failed(LARGE, FailureCause.GPU_OUT_OF_MEMORY_LOADING), made(1, SMALL))
    ordered = [found[f"batch={n} kernel=a"] for n in (1, 2, 4, 8, 16, 32, 64)]
    assert ordered == sorted(ordered, reverse=True)
    assert ordered[-1] < 0.5 < 0.7 < ordered[0]
    assert found["batch=64 kernel=b"] > found["batch=64 kernel=a"]


def test_a_failure_says_nothing_about_the_hurdles_after_it() -> None:
    """So the probabilities multiply: what was refused by the engine counts neither for nor against memory."""
    refused = failed(SMALL, FailureCause.INVALID_VALUE)
    full = failed(LARGE, FailureCause.GPU_OUT_OF_MEMORY_RUNNING)
    both = starts(refused, full)
    valid = starts(refused, made(1, LARGE))
    runs = starts(full)
    assert both == pytest.approx({text: valid[text] * runs[text] for text in both})


def test_a_trial_whose_requests_fail_is_a_failure_and_one_that_is_slow_is_not() -> None:
    missed = Violation(slo="success_rate", where="D(8,8) concurrency=2", value=0.2, threshold=0.99, relative=0.8)
    unserved = Verdict(feasible=False, total_violation=1, violations=(missed,))
    slow = Verdict(feasible=False, total_violation=1, violations=(missed.replaced(slo="mean ttft"),))
    trial = made(0, LARGE)
    assert starts(trial.replaced(verdict=slow)) == starts()
    assert starts(trial.replaced(verdict=unserved))[LARGE.text] < 0.5


def test_a_failure_of_the_environment_counts_for_nothing() -> None:
    assert starts(failed(LARGE, FailureCause.ENVIRONMENT)) == starts()


def test_draws_agree_with_the_probabilities() -> None:
    launching = Launching(CONTEXT, ENCODER, [failed(LARGE, FailureCause.OUT_OF_MEMORY), made(1, SMALL)])
    drawn = launching.draw(UNITS, np.random.default_rng(1), 4000)
    assert drawn.mean(axis=0) == pytest.approx(launching.starts(UNITS), abs=0.05)
    assert Launching(CONTEXT, ENCODER, []).draw(UNITS, np.random.default_rng(1), 3).all()
