"""A trial is cut only if the levels that were left out cannot matter."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner import scoring
from autotuner.scoring import Lost, lost
from autotuner.scoring.ranking import rank
from autotuner.study.configuration import DEFAULT
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.search.cut import CutReason
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.study.workload import Concurrency

LEVELS = [Concurrency(in_flight=n) for n in (1, 8, 32)]
PLACES = [("D(8,8)", level.text) for level in LEVELS]
THROUGHPUT = Objective(metric="output_throughput", direction=Direction.MAX)
AT_ONE = THROUGHPUT.replaced(at="concurrency=1")
TTFT = Objective(metric="ttft", statistic="p99", direction=Direction.MIN)
SUCCESS = Objective(metric="success_rate", direction=Direction.MAX)
BOUND = SLO(metric="ttft", statistic="p99", threshold=0.2)
SOFT = BOUND.replaced(hard=False, weight=2.0)


def window(level: Concurrency, ttft: float, rate: float = 100.0, failed: int = 0) -> Measurement:
    most = dict.fromkeys(("p50", "p75", "p90", "p95", "p99", "p99_9", "max"), ttft)
    return Measurement(
        scenario="D(8,8)",
        level=level,
        window_s=10,
        requests=100,
        failed=failed,
        distributions={"ttft": Distribution(count=100, mean=ttft, std=0, min=0, **most)},
        scalars={"output_throughput": rate},
    )


def verdict(
    windows: Sequence[Measurement], objectives: Sequence[Objective], slos: Sequence[SLO] = (), cut: str = ""
) -> Verdict:
    expected = [("D(8,8)", level) for level in LEVELS]
    left = PLACES[len(windows) :]
    return scoring.score(windows, objectives, slos, min_success_rate=0.9, expected=expected, left=left, cut=cut)


def trial(number: int, found: Verdict, role: TrialRole = TrialRole.SEARCH) -> Trial:
    return Trial(study="s", number=number, role=role, configuration=DEFAULT, state=TrialState.DONE, verdict=found)


def complete(number: int, ttft: float, objectives: Sequence[Objective] = (TTFT,), slos: Sequence[SLO] = ()) -> Trial:
    return trial(number, verdict([window(level, ttft) for level in LEVELS], objectives, slos))


def judged(
    found: Verdict, trials: Sequence[Trial], objectives: Sequence[Objective] = (TTFT,), keep: int = 1
) -> Lost | None:
    return lost(found, objectives, trials, keep=keep, itself=99)


def test_levels_that_are_left_violate_nothing_and_bound_the_worst_latency() -> None:
    found = verdict(
        [window(LEVELS[0], 0.1)], (TTFT, THROUGHPUT, AT_ONE, SUCCESS), [BOUND, BOUND.replaced(at="concurrency=8")]
    )
    assert (found.feasible, found.violations) == (True, ())
    assert found.objectives == (None, None, 100.0, None)
    assert found.bounds == (0.1, None, None, 1.0)


def test_a_cut_trial_is_never_ranked() -> None:
    found = verdict([window(LEVELS[0], 0.1)], (AT_ONE,), cut="cut after 1 of 3 levels")
    assert (found.objectives, found.cut, found.rankable) == ((100.0,), True, False)
    assert found.reasons == ("cut after 1 of 3 levels",)


def test_a_cut_trial_comes_after_complete_ones_that_miss_slos_by_more() -> None:
    cut = trial(1, verdict([window(LEVELS[0], 0.21)], (TTFT,), [BOUND], cut="cut"))
    assert [t.number for t in rank([cut, complete(2, 0.9, slos=[BOUND])], (TTFT,))] == [2, 1]


def test_a_missed_slo_decides_as_soon_as_another_trial_meets_all() -> None:
    missed = verdict([window(LEVELS[0], 0.3)], (TTFT,), [BOUND])
    found = judged(missed, [complete(4, 0.1, slos=[BOUND])])
    assert found is not None
    assert (found.reason, [t.number for t in found.rivals]) == (CutReason.SLO, [4])


def test_so_does_the_success_rate() -> None:
    missed = verdict([window(LEVELS[0], 0.1, failed=11)], (TTFT,))
    assert judged(missed, [complete(0, 0.1)]) is not None


def test_while_nothing_meets_the_slos_the_size_of_the_violation_decides() -> None:
    nearest = complete(0, 0.22, slos=[BOUND])
    assert nearest.verdict is not None
    assert nearest.verdict.total_violation == pytest.approx(0.3)
    assert judged(verdict([window(LEVELS[0], 0.24)], (TTFT,), [BOUND]), [nearest]) is None
    assert judged(verdict([window(LEVELS[0], 0.27)], (TTFT,), [BOUND]), [nearest]) is not None


def test_a_trial_has_lost_once_as_many_others_are_better_as_the_proof_launches() -> None:
    slow = verdict([window(LEVELS[0], 0.3)], (TTFT,))
    better = [complete(1, 0.1), complete(2, 0.2)]
    assert judged(slow, better, keep=3) is None
    found = judged(slow, [*better, complete(3, 0.25)], keep=3)
    assert found is not None
    assert (found.reason, [t.number for t in found.rivals]) == (CutReason.CANNOT_WIN, [1, 2, 3])


def test_equal_ones_and_those_that_do_not_count_do_not_beat_it() -> None:
    slow = verdict([window(LEVELS[0], 0.3)], (TTFT,))
    default = complete(0, 0.1).replaced(role=TrialRole.DEFAULT)
    repeat = complete(7, 0.1).replaced(role=TrialRole.CONFIRM)
    cut = trial(8, verdict([window(LEVELS[0], 0.1)], (TTFT,), cut="cut"))
    assert judged(slow, [default, repeat, cut, complete(9, 0.3), complete(99, 0.1)]) is None
    assert judged(slow, [complete(9, 0.299)]) is not None


def test_a_mean_of_rates_has_no_bound_before_its_last_level() -> None:
    rival = [complete(1, 0.1, (THROUGHPUT,))]
    two = [window(level, 0.1, 1.0) for level in LEVELS[:2]]
    assert judged(verdict(two, (THROUGHPUT,)), rival, (THROUGHPUT,)) is None
    assert judged(verdict(two, (AT_ONE,)), [complete(1, 0.1, (AT_ONE,))], (AT_ONE,)) is not None


def test_penalties_for_soft_slos_count_as_far_as_they_are_known() -> None:
    rival = [complete(1, 0.3, slos=[])]
    assert judged(verdict([window(LEVELS[0], 0.29)], (TTFT,)), rival) is None
    assert judged(verdict([window(LEVELS[0], 0.29)], (TTFT,), [SOFT]), rival) is not None


def test_with_several_objectives_a_trial_is_cut_only_if_it_is_dominated() -> None:
    both = (TTFT, SUCCESS)
    rival = [complete(1, 0.1, both)]
    assert judged(verdict([window(LEVELS[0], 0.2)], both), rival, both) is not None
    assert judged(verdict([window(LEVELS[0], 0.05)], both), rival, both) is None
    assert judged(verdict([window(LEVELS[0], 0.2)], (TTFT, THROUGHPUT)), rival, (TTFT, THROUGHPUT)) is None


_TTFTS = st.lists(st.tuples(*[st.sampled_from((0.1, 0.15, 0.19, 0.21, 0.25, 0.4))] * 3), min_size=2, max_size=9)
_GOALS = st.sampled_from(((TTFT,), (AT_ONE,), (THROUGHPUT,), (SUCCESS,), (TTFT, SUCCESS)))


@given(
    _TTFTS, _GOALS, st.sampled_from(((), (BOUND,), (SOFT,), (BOUND.replaced(at="concurrency=32"),))), st.integers(1, 3)
)
def test_racing_changes_neither_the_best_trials_nor_the_nearest_one(
    ttfts: list[tuple[float, float, float]], objectives: tuple[Objective, ...], slos: tuple[SLO, ...], keep: int
) -> None:
    whole: list[Trial] = []
    raced: list[Trial] = []
    for number, values in enumerate(ttfts):
        role = TrialRole.SEARCH if number else TrialRole.DEFAULT
        windows = [
            window(level, value, 10 / value, failed=value > 0.2) for level, value in zip(LEVELS, values, strict=True)
        ]
        whole.append(trial(number, verdict(windows, objectives, slos), role))
        seen = 1
        while seen < len(windows) and (
            not number
            or lost(verdict(windows[:seen], objectives, slos), objectives, raced, keep=keep, itself=number) is None
        ):
            seen += 1
        cut = "cut" if seen < len(windows) else ""
        raced.append(trial(number, verdict(windows[:seen], objectives, slos, cut), role))

    def usable(trials: list[Trial]) -> list[int]:
        found = [t for t in trials if t.verdict is not None and t.verdict.feasible and t.verdict.rankable and t.number]
        return [t.number for t in rank(found, objectives)][:keep]

    assert usable(raced) == usable(whole)
    assert rank(raced, objectives)[0].number == rank(whole, objectives)[0].number
