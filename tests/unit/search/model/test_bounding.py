"""The bound of the remaining gain, from draws and from searches of spaces with a known optimum."""

import math

import numpy as np
import pytest

from autotuner.plugins.search import SearchContext, Stop
from autotuner.search.calibrated import CalibratedSearch, CalibratedSettings
from autotuner.search.model import proposing
from autotuner.search.model.bounding import Excess
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.search.stopping import GainBound
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.search_kit import context_of, made, space_of

CONTEXT: SearchContext = context_of(space_of(batch=[1, 2, 4, 8, 16, 32], kernel=["a", "b", "c"]))
LARGE: SearchContext = context_of(space_of(**{f"p{n}": list(range(10)) for n in range(4)}))


def value(configuration: Configuration) -> float:
    batch = configuration.values["batch"]
    assert isinstance(batch, int)
    return 100.0 * math.log2(2 + batch) * {"a": 1.0, "b": 1.5, "c": 0.5}[str(configuration.values["kernel"])]


def trials(configurations: list[Configuration], *, scale: float = 1.0) -> list[Trial]:
    return [made(i, c, objectives=(scale * value(c),)) for i, c in enumerate(configurations)]


def bound(history: list[Trial], *, context: SearchContext = CONTEXT, confidence: float = 0.95) -> GainBound | None:
    search = CalibratedSearch(CalibratedSettings(), context)
    for trial in history:
        if trial.role is TrialRole.CONFIRM:
            search.tell_repeat(trial)
        elif trial.state.finished:
            search.tell(trial)
    return search.remaining_gain(history, confidence)


def searched(launches: int) -> list[Trial]:
    search = CalibratedSearch(CalibratedSettings(), CONTEXT)
    history: list[Trial] = []
    for _ in range(launches):
        proposal = search.ask(history)
        assert not isinstance(proposal, Stop)
        history.append(made(len(history), proposal, objectives=(value(proposal),)))
        search.tell(history[-1])
    return history


@pytest.mark.parametrize(("confidence", "log"), [(0.95, 0.95), (0.9, 0.9), (0.9999, 1.0)])
def test_the_bound_is_not_exceeded_in_this_share_of_the_draws(confidence: float, log: float) -> None:
    logs = np.random.default_rng(1).permutation(np.linspace(0, 1, 1001))
    excess = Excess(3, logs)
    assert excess.bound(confidence, Direction.MAX) == pytest.approx(math.expm1(log), abs=0.005)
    assert excess.bound(confidence, Direction.MIN) == pytest.approx(-math.expm1(-log), abs=0.005), "a share of it"


def test_the_bound_falls_with_the_launches_and_holds() -> None:
    history = searched(8)
    best = max(value(c) for c in CONTEXT.space.grid())
    counts = (3, 5, 8)
    found = [bound(history[:n]) for n in counts]
    assert all(b is not None for b in found)
    gains = [b.gain for b in found if b is not None]
    assert gains == sorted(gains, reverse=True)
    for n, b in zip(counts, found, strict=True):
        assert b is not None
        assert best / value(history[b.trial].configuration) - 1 <= b.gain
        assert (b.untried, b.complete) == (18 - n, True)
    surer = bound(history[:5], confidence=0.99)
    assert surer is not None
    assert surer.gain > gains[1]


def test_no_bound_without_a_feasible_trial_or_an_untried_configuration() -> None:
    every = list(CONTEXT.space.grid())
    assert bound(trials(every)) is None
    assert bound([]) is None
    assert bound([made(i, c, violation=0.5) for i, c in enumerate(every[:4])]) is None
    several = CONTEXT.space
    front = context_of(several, directions=(Direction.MAX, Direction.MIN))
    assert bound([made(i, c, objectives=(value(c), 1.0)) for i, c in enumerate(every[:4])], context=front) is None


def test_running_and_void_trials_count_as_untried() -> None:
    history = trials(list(CONTEXT.space.grid())[:6])
    known = bound(history)
    running = made(6, list(CONTEXT.space.grid())[10]).replaced(state=TrialState.RUNNING, verdict=None)
    assert bound([*history, running]) == known
    assert bound([*history, running.replaced(state=TrialState.VOID)]) == known


def test_residuals_that_surprise_the_model_widen_the_bound() -> None:
    """The same launches, with values that no configuration predicts of another."""
    history = searched(6)
    known = bound(history)
    erratic = [
        t.replaced(verdict=t.verdict.replaced(objectives=(value(t.configuration) * math.exp(2 * (-1) ** t.number),)))
        for t in history
        if t.verdict is not None
    ]
    found = bound(erratic)
    assert known is not None
    assert found is not None
    assert found.gain > 2 * known.gain


def test_a_trial_that_fails_in_a_repeat_is_not_the_best_one() -> None:
    history = trials(list(CONTEXT.space.grid())[:6])
    known = bound(history)
    assert known is not None
    repeat = made(6, history[known.trial].configuration, role=TrialRole.CONFIRM, state=TrialState.FAILED)
    found = bound([*history, repeat.replaced(repeat_of=known.trial)])
    assert found is not None
    assert found.trial != known.trial


def test_a_repeat_that_cannot_be_ranked_says_nothing_about_which_trial_is_the_best() -> None:
    history = trials(list(CONTEXT.space.grid())[:6])
    known = bound(history)
    assert known is not None
    repeat = made(
        6, history[known.trial].configuration, role=TrialRole.CONFIRM, objectives=(value(history[0].configuration),)
    )
    assert repeat.verdict is not None
    limited = repeat.replaced(repeat_of=known.trial, verdict=repeat.verdict.replaced(rankable=False))
    found = bound([*history, limited])
    assert found is not None
    assert found.trial == known.trial


def test_a_default_with_unknown_values_may_be_the_best_trial() -> None:
    """Its parameters say little about it, and its launches do."""
    default = Configuration(values={"batch": 8})
    context = context_of(CONTEXT.space, default=default)
    history = trials(list(CONTEXT.space.grid())[:6])
    best = max(value(t.configuration) for t in history)
    first = made(0, Configuration(values={}), role=TrialRole.DEFAULT, objectives=(1.2 * best,))
    rest = [t.replaced(number=t.number + 1) for t in history]
    found = bound([first, *rest], context=context)
    worse = bound([first.replaced(verdict=rest[0].verdict), *rest], context=context)
    assert found is not None
    assert worse is not None
    assert found.trial == 0
    assert worse.trial != 0


def test_a_large_space_is_sampled_and_the_bound_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposing, "_BOUNDED", 300)
    first = list(LARGE.space.grid())[:4]
    history = [made(i, c, objectives=(100.0 + i,)) for i, c in enumerate(first)]
    found = bound(history, context=LARGE)
    assert found is not None
    assert not found.complete
    assert 300 <= found.untried < 1000


def test_tried_configurations_do_not_count_whatever_their_noise() -> None:
    """All but one were tried; many are about equally fast, and the last one belongs to the slow ones."""
    points = list(CONTEXT.space.grid())
    slow = [c for c in points if c.values["kernel"] == "c"]
    fast = [c for c in points if c not in slow]
    history = [made(i, c, objectives=(100.0,)) for i, c in enumerate(fast)]
    history += [made(len(fast) + i, c, objectives=(1.0,)) for i, c in enumerate(slow[:-1])]
    found = bound(history)
    assert found is not None
    assert (found.untried, found.gain) == (1, 0)
