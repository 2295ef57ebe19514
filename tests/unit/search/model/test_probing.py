"""Values that no trial has had are tried once the model expects nothing more."""

import numpy as np
import pytest

from autotuner.search.durations import Durations
from autotuner.search.model.acquisition import Scores
from autotuner.search.model.encoding import Encoder
from autotuner.search.model.launching import Launching
from autotuner.search.model.memory import Memory
from autotuner.search.model.model import Model
from autotuner.search.model.observations import Windows
from autotuner.search.model.probing import new_values, with_new_values
from autotuner.search.model.proposing import _Rated
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import FloatRange, IntRange
from autotuner.study.trial import TrialState
from autotuner.testing.search_kit import context_of, made, space_of

SPACE = space_of(batch=[1, 2, 4], kernel=["a", "b"])


def test_a_value_is_new_until_a_trial_has_had_it_even_if_it_failed() -> None:
    space = space_of(batch=[1, 2, 4], many=IntRange(low=1, high=100), share=FloatRange(low=0.1, high=0.9))
    every = [Configuration(values={"batch": n, "many": 7, "share": 0.5}) for n in (1, 2, 4)]
    context = context_of(space)
    assert with_new_values(context, [], every).tolist() == [True, True, True]
    trials = [made(0, every[0]), made(1, every[2], state=TrialState.FAILED)]
    assert with_new_values(context, trials, every).tolist() == [False, True, False]
    assert [new_values(context, trials, c) for c in every] == [(), ("batch",), ()]


@pytest.mark.parametrize(("high", "batch"), [(0.3, 2), (0.09, 4)])
def test_it_is_tried_once_no_candidate_has_a_high_score(high: float, batch: int) -> None:
    """Batch 4 was never tried, and is likely to be a little better than all trials."""
    context = context_of(SPACE)
    tried = [Configuration(values={"batch": n, "kernel": k}) for n, k in ((1, "a"), (2, "b"))]
    trials = [made(i, c, objectives=(100.0 + i,)) for i, c in enumerate(tried)]
    candidates = [Configuration(values={"batch": n, "kernel": k}) for n, k in ((1, "b"), (2, "a"), (4, "a"))]
    encoder = Encoder(context, list(SPACE.grid()))
    model = Model(
        context, encoder, trials, candidates, lambda _: None, 0.03, Memory(context, encoder), Windows(context)
    )
    durations = Durations(context, trials, [])
    rated = _Rated(context, encoder, model, Launching(context, encoder, trials), durations, trials, [])
    rated.rate(candidates, np.random.default_rng(1))
    rated.scores = Scores(np.array([0.01, high, 0.05]), np.array([0.1, 0.3, 0.2]), np.ones(3))
    proposed = rated.best(1)
    assert proposed.configuration.values["batch"] == batch
    assert proposed.rationale.untried == (("batch",) if batch == 4 else ()), "the reason is stored"
    rated.scores = Scores(np.array([0.01, high, 0.05]), np.array([0.1, 0.3, 0.0]), np.ones(3))
    assert rated.best(1).configuration.values["batch"] == 2, "a value that cannot be better is not worth a launch"
