"""Ranking of trials: nothing undesirable ever improves a rank."""

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.scoring import noise_of, pareto, rank, score, ties, worsened
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import Distribution, Measurement, SelfCheck
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.study.workload import Concurrency

FAST = Objective(metric="output_throughput", direction=Direction.MAX)
SOON = Objective(metric="ttft", statistic="p99", direction=Direction.MIN)
LEVELS = [("D(8,8)", Concurrency(in_flight=n)) for n in (1, 8)]
SLOS = (
    SLO(metric="ttft", statistic="p99", threshold=0.5),
    SLO(metric="ttft", statistic="p50", threshold=0.3, hard=False, weight=2.0),
    SLO(metric="output_throughput", comparison=Comparison.GE, threshold=20),
)

latency = st.floats(0.01, 2.0)
windows = st.tuples(latency, st.floats(1, 1000), st.integers(0, 5))
two_windows = st.tuples(windows, windows)
objectives = st.sampled_from([(FAST,), (SOON,), (FAST, SOON)])


def measured(numbers: Sequence[tuple[float, float, int]], *, limited: bool = False) -> list[Measurement]:
    return [
        Measurement(
            scenario=scenario,
            level=level,
            window_s=10,
            requests=100,
            failed=failed,
            distributions={"ttft": spread(ttft)},
            scalars={"output_throughput": throughput},
            self_check=SelfCheck(client_limited=limited),
        )
        for (scenario, level), (ttft, throughput, failed) in zip(LEVELS, numbers, strict=False)
    ]


def spread(v: float) -> Distribution:
    return Distribution(count=9, mean=v, std=0, min=v, p50=v, p75=v, p90=v, p95=v, p99=v, p99_9=v, max=v)


def trial(number: int, measurements: Sequence[Measurement], wanted: Sequence[Objective]) -> Trial:
    return scored(number, score(measurements, wanted, SLOS, min_success_rate=0.99, expected=LEVELS))


def scored(number: int, verdict: Verdict | None, state: TrialState = TrialState.DONE) -> Trial:
    failure = Failure(cause=FailureCause.CRASH_LOADING, message="x") if state is TrialState.FAILED else None
    return Trial(
        study="s",
        number=number,
        role=TrialRole.SEARCH,
        configuration=Configuration(values={"n": number}),
        state=state,
        verdict=verdict,
        failure=failure,
    )


def feasible(number: int, *values: float, penalty: float = 0.0) -> Trial:
    return scored(number, Verdict(feasible=True, objectives=values, penalty=penalty))


def infeasible(number: int, violation: float, *values: float) -> Trial:
    return scored(number, Verdict(feasible=False, objectives=values, total_violation=violation))


def more_errors(m: Measurement) -> Measurement:
    return m.model_copy(update={"failed": m.failed + 1})


def slower(m: Measurement) -> Measurement:
    worse = spread(m.distributions["ttft"].p99 * 1.3)
    return m.model_copy(update={"distributions": {"ttft": worse}})


def less(m: Measurement) -> Measurement:
    return m.model_copy(update={"scalars": {"output_throughput": m.scalars["output_throughput"] / 1.3}})


@pytest.mark.parametrize("worse", [more_errors, slower, less])
@given(numbers=two_windows, others=st.lists(two_windows, max_size=4), at=st.integers(0, 1), wanted=objectives)
@settings(max_examples=60, deadline=None)
def test_worse_measurements_never_improve_a_rank(
    worse: Callable[[Measurement], Measurement],
    numbers: tuple[tuple[float, float, int], ...],
    others: list[tuple[tuple[float, float, int], ...]],
    at: int,
    wanted: tuple[Objective, ...],
) -> None:
    own = measured(numbers)
    changed = [worse(m) if i == at else m for i, m in enumerate(own)]
    _never_better(own, changed, others, wanted)


@given(numbers=two_windows, others=st.lists(two_windows, max_size=4), at=st.integers(0, 1), wanted=objectives)
@settings(max_examples=100, deadline=None)
def test_skipping_a_level_never_improves_a_rank(
    numbers: tuple[tuple[float, float, int], ...],
    others: list[tuple[tuple[float, float, int], ...]],
    at: int,
    wanted: tuple[Objective, ...],
) -> None:
    own = measured(numbers)
    _never_better(own, [m for i, m in enumerate(own) if i != at], others, wanted)


@given(numbers=two_windows, others=st.lists(two_windows, max_size=4), wanted=objectives)
@settings(max_examples=60, deadline=None)
def test_limited_load_generator_or_crash_never_improves_a_rank(
    numbers: tuple[tuple[float, float, int], ...],
    others: list[tuple[tuple[float, float, int], ...]],
    wanted: tuple[Objective, ...],
) -> None:
    _never_better(measured(numbers), measured(numbers, limited=True), others, wanted)
    peers = [trial(i + 1, measured(o), wanted) for i, o in enumerate(others)]
    before = _place(trial(0, measured(numbers), wanted), peers, wanted)
    assert _place(scored(0, None, TrialState.FAILED), peers, wanted) >= before


def _never_better(
    own: list[Measurement],
    changed: list[Measurement],
    others: list[tuple[tuple[float, float, int], ...]],
    wanted: tuple[Objective, ...],
) -> None:
    peers = [trial(i + 1, measured(o), wanted) for i, o in enumerate(others)]
    twin = trial(9, own, wanted)  # the unchanged trial itself is among the peers
    before = trial(0, own, wanted)
    after = trial(0, changed, wanted)
    assert _place(after, peers, wanted) >= _place(before, peers, wanted)
    assert _place(after.model_copy(update={"number": 10}), [*peers, twin], wanted) > rank([*peers, twin], wanted).index(
        twin
    )


def _place(one: Trial, peers: Sequence[Trial], wanted: Sequence[Objective]) -> int:
    return [t.number for t in rank([*peers, one], wanted)].index(one.number)


@given(st.lists(st.tuples(two_windows, st.booleans()), min_size=1, max_size=8), objectives)
@settings(max_examples=60, deadline=None)
def test_feasible_trials_rank_above_all_others(
    rows: list[tuple[tuple[tuple[float, float, int], ...], bool]], wanted: tuple[Objective, ...]
) -> None:
    trials = [
        scored(i, None, TrialState.FAILED) if fails else trial(i, measured(numbers), wanted)
        for i, (numbers, fails) in enumerate(rows)
    ]
    order = [t.verdict is not None and t.verdict.feasible for t in rank(trials, wanted)]
    assert order == sorted(order, reverse=True)
    states = [t.state is TrialState.FAILED for t in rank(trials, wanted)]
    assert states == sorted(states)


@given(st.lists(two_windows, min_size=2, max_size=6), objectives, st.data())
@settings(max_examples=60, deadline=None)
def test_rank_does_not_depend_on_the_given_order(
    rows: list[tuple[tuple[float, float, int], ...]], wanted: tuple[Objective, ...], data: st.DataObject
) -> None:
    trials = [trial(i, measured(numbers), wanted) for i, numbers in enumerate(rows)]
    assert rank(data.draw(st.permutations(trials)), wanted) == rank(trials, wanted)
    backwards = trial(0, measured(rows[0])[::-1], wanted)
    assert backwards.verdict == trials[0].verdict


@given(st.lists(st.floats(1, 1000), min_size=2, max_size=8), st.floats(0.001, 1000))
@settings(deadline=None)
def test_rank_does_not_depend_on_units(values: list[float], scale: float) -> None:
    rounded = [round(v, 1) for v in values]
    one = rank([feasible(i, v) for i, v in enumerate(rounded)], (FAST,))
    other = rank([feasible(i, v * scale) for i, v in enumerate(rounded)], (FAST,))
    assert [t.number for t in one] == [t.number for t in other]


@pytest.mark.parametrize("objective", [FAST, SOON])
def test_soft_penalty_worsens_both_directions(objective: Objective) -> None:
    clean = feasible(1, 100.0)
    late = feasible(0, 100.0, penalty=0.2)
    assert rank([late, clean], (objective,)) == [clean, late]
    assert worsened(100, Direction.MAX, 0.25) == 80
    assert worsened(100, Direction.MIN, 0.25) == 125


def test_infeasible_trials_rank_by_violation_not_by_objective() -> None:
    good = infeasible(2, 0.1, 1.0)
    bad = infeasible(1, 0.2, 1000.0)
    assert rank([bad, good], (FAST,)) == [good, bad]


def test_unrankable_trials_rank_between_feasible_and_infeasible() -> None:
    limited = scored(0, Verdict(feasible=True, objectives=(999.0,), rankable=False))
    fine = feasible(2, 1.0)
    missed = infeasible(1, 0.001, 999.0)
    for given_order in permutations([limited, fine, missed]):
        assert rank(given_order, (FAST,)) == [fine, limited, missed]


def test_ties_rank_by_number_and_unfinished_trials_last() -> None:
    running = scored(0, None, TrialState.RUNNING)
    assert [t.number for t in rank([feasible(5, 1.0), running, feasible(3, 1.0)], (FAST,))] == [3, 5, 0]


def test_fronts_take_precedence_over_the_mean() -> None:
    both = (FAST, SOON)
    front = [feasible(0, 100.0, 0.1), feasible(1, 10.0, 0.01), feasible(2, 50.0, 0.02)]
    dominated = feasible(3, 49.0, 0.0201)
    assert pareto([*front, dominated, infeasible(4, 0.1, 900.0, 0.001)], both) == rank(front, both)
    assert rank([dominated, *front], both)[0].number == 2
    assert rank([dominated, *front], both)[-1] == dominated


def test_ties_within_noise() -> None:
    trials = [feasible(0, 100.0), feasible(1, 98.0), feasible(2, 95.0), infeasible(3, 0.1, 100.0)]
    assert [t.number for t in ties(trials[0], trials, (FAST,), 0.03)] == [0, 1]
    assert [t.number for t in ties(trials[0], trials, (FAST,), 0.0)] == [0]
    assert [t.number for t in ties(trials[2], trials, (FAST,), 0.04)] == [1, 2], "the first one was measured better"
    assert ties(infeasible(3, 0.1, 100.0), [infeasible(3, 0.1, 100.0)], (FAST,), 0.5) == []


def test_noise_of_repeats() -> None:
    assert noise_of([[1.0], []]) is None
    assert noise_of([[99.0, 101.0], [50.0, 50.0]]) == pytest.approx(2.7719 * 0.01, rel=1e-3)
    assert noise_of([[100.0, 100.0]]) == 0
