"""How long a launch takes, learned from which ones loaded the same before."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from autotuner.search.calibrated import CalibratedSearch, CalibratedSettings
from autotuner.search.durations import Durations, LaunchKind
from autotuner.study.configuration import Configuration
from autotuner.study.trial import Phase, Trial, TrialState
from autotuner.testing.search_kit import context_of, made, space_of

SPACE = space_of(weights=["a", "b", "c"], batch=list(range(1, 9)))
CONTEXT = replace(context_of(SPACE), loading=lambda c: c.values["weights"])
REST_S = 100.0

Machine = Callable[[str, Sequence[str]], float]


def page_cache(own: str, before: Sequence[str]) -> float:
    """It holds the weights of one server."""
    return 60.0 if own in before[-1:] else 300.0


def files(own: str, before: Sequence[str]) -> float:
    """What was compiled once is kept."""
    return 60.0 if own in before else 300.0


def indifferent(own: str, before: Sequence[str]) -> float:
    """The first launch reads what all share."""
    return 60.0 if before else 300.0


def configuration(weights: str, batch: int) -> Configuration:
    return Configuration(values={"weights": weights, "batch": batch})


def launched(order: str, machine: Machine, objective: Callable[[Configuration], float] = lambda _: 1.0) -> list[Trial]:
    """Trials that load these weights one after the other; times vary by a few percent."""
    found = []
    for number, weights in enumerate(order):
        launch_s = machine(weights, order[:number]) * (1 + (number * 7 % 5 - 2) / 50)
        chosen = configuration(weights, 1 + order[:number].count(weights))
        trial = made(number, chosen, objectives=[objective(chosen)])
        phases = {Phase.QUEUED: 500.0, Phase.LOADING: launch_s, Phase.READY: 0.0, Phase.MEASURING: REST_S}
        found.append(trial.replaced(phases={p.value: s for p, s in phases.items()}, started_at=1000.0 * number))
    return found


def durations(trials: Sequence[Trial], running: Sequence[Trial] = ()) -> Durations:
    return Durations(CONTEXT, trials, running)


def test_a_page_cache_makes_only_the_next_launch_quicker() -> None:
    found = durations(launched("aabbcabca", page_cache)).launch_s
    assert found[LaunchKind.LAST] < 100 < 250 < found[LaunchKind.EARLIER] <= found[LaunchKind.NEW]


def test_files_make_every_later_launch_quicker() -> None:
    found = durations(launched("aabbcabca", files)).launch_s
    assert found[LaunchKind.LAST] <= found[LaunchKind.EARLIER] < 120 < 250 < found[LaunchKind.NEW]


def test_what_is_compiled_once_is_paid_in_any_order() -> None:
    """So nothing is preferred for having been compiled already."""
    found = durations(launched("aabbcabcab", files))
    new, last = (configuration(weights, 8) for weights in "db")
    assert found.kind(new) is LaunchKind.NEW
    assert found.launch_s[LaunchKind.NEW] > 3 * found.launch_s[LaunchKind.LAST]
    assert found.relative([new, last]).max() < 1.1


@pytest.mark.parametrize("order", ["aabbcabca", "abcabcabc", "aaabbbccc", "aabbaacba"])
def test_nothing_is_quicker_where_launches_take_as_long(order: str) -> None:
    trials = launched(order, indifferent)
    for count in range(2, len(trials) + 1):
        found = durations(trials[:count]).launch_s
        assert found[LaunchKind.LAST] > 0.9 * found[LaunchKind.NEW]


def test_weights_that_load_slowly_are_not_taken_for_sharing() -> None:
    """The slow ones are new, the quick ones are launched again and again."""
    found = durations(launched("aaaabaca", lambda own, _: 60.0 if own == "a" else 300.0)).launch_s
    assert found[LaunchKind.LAST] > 0.8 * found[LaunchKind.NEW]


def test_it_takes_two_launches_of_each_kind_and_never_counts_more_than_measured() -> None:
    trials = launched("aabbcb", page_cache)
    assert len(set(durations(trials[:4]).launch_s.values())) == 1, "only one launch was a new one"
    found = durations(trials).launch_s
    assert 60 < found[LaunchKind.LAST] < found[LaunchKind.NEW]
    assert durations(trials).relative([configuration("c", 8), configuration("b", 8)]).tolist() == pytest.approx(
        [(REST_S + found[LaunchKind.EARLIER]) / (REST_S + found[LaunchKind.LAST]), 1.0]
    )


def test_one_slow_start_proves_nothing() -> None:
    found = durations(launched("aabbcc", lambda own, before: 300.0 if before == "aa" else 60.0)).launch_s
    assert found[LaunchKind.LAST] > 0.8 * found[LaunchKind.NEW]


def test_failed_starts_load_nothing_and_running_trials_came_last() -> None:
    trials = launched("aabbcabca", page_cache)
    failed = made(9, configuration("b", 8), state=TrialState.FAILED).replaced(phases={"loading": 900.0})
    found = durations([*trials, failed])
    assert found.kind(configuration("a", 8)) is LaunchKind.LAST
    assert found.launch_s == durations(trials).launch_s
    running = made(10, configuration("c", 8), state=TrialState.RUNNING)
    assert durations(trials, [running]).kind(configuration("c", 7)) is LaunchKind.LAST


def test_launches_follow_each_other_as_they_began() -> None:
    """Trial 1 waited in a queue until trial 2 ran."""
    trials = launched("abca", page_cache)
    late = trials[1].replaced(started_at=2500.0)
    assert durations([trials[0], late, trials[2]]).kind(configuration("b", 8)) is LaunchKind.LAST


def asked(trials: Sequence[Trial], **changes: object) -> tuple[Configuration, CalibratedSearch]:
    """What a search proposes that is given stored trials, as on resume."""
    search = CalibratedSearch(CalibratedSettings(), replace(CONTEXT, **changes))
    for trial in trials:
        search.tell(trial)
    found = search.ask(trials)
    assert isinstance(found, Configuration)
    return found, search


ORDER = "aabbccab"
"""The last one loaded ``b``."""


def alike(chosen: Configuration) -> float:
    """Weights make hardly any difference; ``c`` is the best by 1%."""
    return {"a": 100.0, "b": 100.0, "c": 101.0}[str(chosen.values["weights"])] * (
        1 + float(str(chosen.values["batch"])) / 10
    )


def far_better(chosen: Configuration) -> float:
    """``c`` is three times as good as the others."""
    return alike(chosen) * (3 if chosen.values["weights"] == "c" else 1)


def test_of_close_candidates_the_one_that_loads_the_same_is_launched() -> None:
    trials = launched(ORDER, page_cache, alike)
    by_score, _ = asked(trials, loading=lambda c: c.key)
    by_time, search = asked(trials)
    assert by_score.values["weights"] == "c"
    assert by_time.values["weights"] == "b"
    why = search.explain(by_time)
    assert why is not None
    assert why.reuse is not None
    assert why.reuse.trial == 7
    assert why.reuse.launch_s < 150 < why.reuse.other_launch_s
    assert asked(trials)[0] == by_time  # a search that is rebuilt proposes the same


def test_what_loads_the_same_is_not_preferred_where_launches_take_as_long() -> None:
    trials = launched(ORDER, indifferent, alike)
    found, search = asked(trials)
    assert found == asked(trials, loading=lambda c: c.key)[0]
    why = search.explain(found)
    assert why is not None
    assert why.reuse is None


def test_a_far_better_candidate_is_launched_whatever_it_loads() -> None:
    found, _ = asked(launched(ORDER, page_cache, far_better))
    assert found.values["weights"] == "c"


def held(trial: Trial) -> Trial:
    """A trial whose server runs on, and can change the size of its batches."""
    return trial.replaced(argv=("server",), finished_at=(trial.started_at or 0.0) + 500)


CHANGING = replace(CONTEXT, server=lambda c: c.values["weights"])


def test_a_running_server_needs_no_launch() -> None:
    trials = launched("abca", files)
    trials[-1] = held(trials[-1])
    found = Durations(CHANGING, trials, [])
    running = configuration("a", 8)
    last = configuration("b", 8)
    assert found.kind(running) is LaunchKind.RUNNING
    assert found.kind(last) is not LaunchKind.RUNNING
    assert found.relative([running, last])[1] > 1.5
    reuse = found.reuse(running, last)
    assert reuse is not None
    assert (reuse.trial, reuse.running, reuse.launch_s) == (3, True, 1.0)
    assert reuse.other_launch_s > 50


def test_a_changed_server_is_no_launch() -> None:
    """It would count as a launch that takes no time."""
    trials = launched("abca", files)
    seconds = Durations(CHANGING, trials, []).launch_s
    changed = held(made(4, configuration("a", 7), objectives=[1.0])).replaced(
        server_of=3, phases={Phase.LAUNCHING.value: 0.1, Phase.MEASURING.value: REST_S}, started_at=4000.0
    )
    found = Durations(CHANGING, [*trials, changed], [])
    assert found.launch_s == seconds | {LaunchKind.RUNNING: 1.0}
    assert found.kind(configuration("a", 8)) is LaunchKind.RUNNING
    reuse = found.reuse(configuration("a", 8), configuration("b", 8))
    assert reuse is not None
    assert reuse.trial == 3


@pytest.mark.parametrize("why", ["failed", "repeat", "another began since", "no server was started"])
def test_no_server_waits(why: str) -> None:
    trials = launched("abca", files)
    last = held(trials[-1])
    running: list[Trial] = []
    if why == "failed":
        last = last.replaced(state=TrialState.FAILED)
    elif why == "repeat":
        last = last.replaced(repeat_of=0)
    elif why == "no server was started":
        last = last.replaced(argv=())
    else:
        running = [made(4, configuration("c", 7)).replaced(state=TrialState.RUNNING, started_at=4000.0)]
    found = Durations(CHANGING, [*trials[:-1], last], running)
    assert found.kind(configuration("a", 8)) is not LaunchKind.RUNNING


def test_search_prefers_what_the_running_server_can_become() -> None:
    """All configurations are equally good so far, so the time decides."""
    trials = launched("abc", indifferent)
    trials[-1] = held(trials[-1])
    search = CalibratedSearch(CalibratedSettings(), CHANGING)
    for trial in trials:
        search.tell(trial)
    proposed = search.ask(trials)
    assert isinstance(proposed, Configuration)
    assert proposed.values["weights"] == "c"
    without = CalibratedSearch(CalibratedSettings(), CONTEXT)
    assert without.ask(trials) != proposed
