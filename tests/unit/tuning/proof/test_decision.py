"""Adaptive proofs: when they end, what they may claim, and that they continue where they were interrupted."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from statistics import fmean

import pytest

from autotuner.report.exports import best_json, plain_data
from autotuner.report.headline import headline
from autotuner.report.result import study_result
from autotuner.scoring import Effect, Gain, paired_gain
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.spec import ConfirmSpec, StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict, Violation
from autotuner.testing.samples import LATENCY, THROUGHPUT, sample_spec
from autotuner.tuning.ending import Ending, conclude
from autotuner.tuning.proof.blocks import most_launches, next_repeat
from autotuner.tuning.proof.decision import Form, hopeless

CONFIRM = ConfirmSpec()
SPEC = sample_spec(slos=()).replaced(confirm=CONFIRM)
MISSED = Violation(slo="p99 ttft <= 200ms", where="D(128,48) concurrency=4", value=0.3, threshold=0.2, relative=0.5)
Value = float | None
"""A measured value; None if the launch missed an SLO."""


def trial(number: int, value: Value, role: TrialRole, of: int | None = None, block: int | None = None) -> Trial:
    base = number if of is None else of
    missed = value is None
    return Trial(
        study="s",
        number=number,
        role=role,
        configuration=Configuration(values={"parallel": base}) if base else DEFAULT,
        state=TrialState.DONE,
        repeat_of=of,
        block=block,
        verdict=Verdict(feasible=not missed, objectives=(value or 1.0,), violations=(MISSED,) if missed else ()),
        argv=("serve", str(base)),
    )


def searched(*values: Value) -> list[Trial]:
    return [trial(n, v, TrialRole.SEARCH if n else TrialRole.DEFAULT) for n, v in enumerate(values)]


Values = Callable[[int, int], Value]
"""(number of the trial, block) to the measured value."""


def proven(trials: list[Trial], values: Values, spec: StudySpec = SPEC, launches: int = 10_000) -> list[Trial]:
    """The trials after the proof, or after so many of its launches."""
    trials = list(trials)
    for _ in range(launches):
        found = next_repeat(trials, spec.objectives, spec.confirm)
        if found is None:
            break
        value = values(found.trial.number, found.block)
        trials.append(trial(len(trials), value, TrialRole.CONFIRM, found.trial.number, found.block))
    return trials


def repeats(trials: Sequence[Trial]) -> Counter[int | None]:
    return Counter(t.repeat_of for t in trials if t.role is TrialRole.CONFIRM)


def noisy(speeds: Sequence[float], noise: float = 0.01, drift: float = 0.0, seed: int = 1) -> Values:
    """Speeds by trial, with noise between launches, times the drift of each block."""
    source = Random(seed)
    return lambda number, block: speeds[number] * math.exp(drift * block + source.gauss(0, noise))


def inverse(speeds: Values) -> Values:
    """Latencies of the same launches."""
    return lambda number, block: 1 / (speeds(number, block) or math.inf)


def alternating(*speeds: float) -> Values:
    """Speeds by trial; the differences of successive blocks lie 2% above and below the true one."""
    return lambda number, block: speeds[number] * math.exp(0.01 * (-1) ** (number + block))


def test_large_gain_is_decided_after_three_blocks() -> None:
    trials = proven(searched(100.0, 150.0), noisy((100, 150)))
    assert repeats(trials) == {0: 3, 1: 3}
    found = conclude(SPEC, "done", trials)
    assert (found.ending, found.winner) == (Ending.PROVEN_BETTER, trials[1])
    assert found.decision is not None
    assert (found.decision.form, found.decision.blocks) == (Form.BETTER, 3)


def test_small_gain_takes_more_blocks() -> None:
    trials = proven(searched(100.0, 104.0), alternating(100, 104))
    assert 5 < repeats(trials)[1] <= CONFIRM.at_most
    assert conclude(SPEC, "done", trials).ending is Ending.PROVEN_BETTER


def test_equal_configurations_are_equivalent_within_the_margin() -> None:
    trials = proven(searched(100.0, 103.0), noisy((100, 100), noise=0.005))
    found = conclude(SPEC, "done", trials)
    assert (found.ending, found.winner) == (Ending.SHOWN_AS_GOOD, trials[0])
    gain = found.gains[0]
    assert gain is not None
    assert -0.02 <= gain.low < 0 < gain.high <= 0.02
    assert "±2%" in headline(study_result(SPEC, "done", trials))


def test_noise_leaves_it_undecided_and_hopeless_blocks_are_saved() -> None:
    trials = proven(searched(100.0, 103.0), noisy((100, 101), noise=0.05))
    found = conclude(SPEC, "done", trials)
    assert (found.ending, found.winner) == (Ending.NO_SIGNIFICANT_DIFFERENCE, trials[0])
    assert found.decision is not None
    assert found.decision.form is Form.UNDECIDED
    assert found.decision.blocks == repeats(trials)[1] < CONFIRM.at_most
    assert f"after {found.decision.blocks} blocks" in headline(study_result(SPEC, "done", trials))


@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_noisy_latencies_are_proven_like_noisy_speeds(noise: float) -> None:
    """The interval of a latency's gain often extends below -100%."""
    spec = SPEC.replaced(objectives=(LATENCY,))
    speeds = (100.0, 105.0, 95.0)
    lowest = 0.0
    for seed in range(20):
        fast = proven(searched(*speeds), noisy(speeds, noise, seed=seed))
        short = proven(searched(*(1 / s for s in speeds)), inverse(noisy(speeds, noise, seed=seed)), spec)
        assert repeats(short) == repeats(fast)
        lowest = min(lowest, *(g.low for g in conclude(spec, "done", short).gains if g))
    assert lowest < -1 or noise < 0.2


@pytest.mark.parametrize(
    ("direction", "ends", "finite"),
    [
        (Direction.MIN, (-1.5, 0.6), True),
        (Direction.MIN, (-1.5, 1.0), False),
        (Direction.MAX, (-0.6, 1.5), True),
        (Direction.MAX, (-1.0, 1.5), False),
        (Direction.MAX, (-0.6, math.inf), False),
    ],
)
def test_wide_intervals_are_judged_by_logs(direction: Direction, ends: tuple[float, float], finite: bool) -> None:
    low, high = ends
    found = Gain(relative=0.0, low=low, high=high, confidence=0.95, repeats=6, effect=Effect.UNDECIDED)
    assert (found.logs(direction) is not None) == finite
    assert hopeless(found, direction, 6, 0.05, 0.02) == finite


def test_default_that_is_better_is_kept() -> None:
    trials = proven(searched(100.0, 120.0), noisy((100, 80)))
    found = conclude(SPEC, "done", trials)
    assert (found.ending, found.winner) == (Ending.DEFAULT_BETTER, trials[0])
    assert found.decision is not None
    assert found.decision.form is Form.WORSE


def test_drift_of_the_machine_cancels() -> None:
    """The machine slows down by 3% per block, five times the noise of a launch."""
    still = proven(searched(100.0, 110.0), noisy((100, 110), noise=0.005))
    drifting = proven(searched(100.0, 110.0), noisy((100, 110), noise=0.005, drift=-0.03))
    assert repeats(drifting) == repeats(still)
    gains = [conclude(SPEC, "done", t).gains[0] for t in (still, drifting)]
    assert gains[0] is not None
    assert gains[1] is not None
    assert (gains[0].low, gains[0].high) == pytest.approx((gains[1].low, gains[1].high))


def test_challengers_are_not_ranked_by_the_drift_of_their_blocks() -> None:
    """The machine slows down by a fifth per block, and the better challenger missed the first and fastest one."""
    speeds = (100.0, 110.0, 120.0)
    made = [(number, block) for block in range(1, 5) for number in range(3) if (number, block) != (2, 1)]
    trials = searched(*speeds)
    for number, block in made:
        trials.append(trial(len(trials), speeds[number] * 0.8**block, TrialRole.CONFIRM, number, block))
    means = [
        fmean(v for t in trials if t.repeat_of == n and t.verdict for v in t.verdict.objectives if v) for n in (1, 2)
    ]
    assert means[0] > means[1]
    assert conclude(SPEC, "done", trials).winner == trials[2]


@pytest.mark.parametrize("launches", range(1, 8))
def test_interrupted_block_continues_where_it_was_cut_off(launches: int) -> None:
    """A void launch, as after a crash of the tuner, is repeated in its own block."""
    first = searched(100.0, 104.0, 103.0, 90.0)
    speeds = (100, 104, 103, 90)

    def values(number: int, block: int) -> float:
        return speeds[number] * math.exp(Random(number * 100 + block).gauss(0, 0.01))

    whole = proven(first, values)
    part = proven(first, values, launches=launches)
    part[-1] = part[-1].replaced(state=TrialState.VOID, verdict=None)
    resumed = proven(part, values)
    assert [(t.repeat_of, t.block) for t in resumed if t.repeat_of is not None and t.state.finished] == [
        (t.repeat_of, t.block) for t in whole if t.repeat_of is not None
    ]


def test_more_blocks_may_be_allowed_after_looking() -> None:
    few = SPEC.replaced(confirm=ConfirmSpec(at_most=4))
    values = alternating(100, 104)
    trials = proven(searched(100.0, 104.0), values, few)
    assert conclude(few, "done", trials).ending is Ending.NO_SIGNIFICANT_DIFFERENCE
    more = proven(trials, values)
    assert more[: len(trials)] == trials
    assert conclude(SPEC, "done", more).ending is Ending.PROVEN_BETTER


def test_repeats_of_an_earlier_version_count() -> None:
    """They have no block; every round launched each configuration once."""
    rounds = ((0, 100.0), (1, 150.0), (1, 151.0), (0, 101.0), (0, 99.0), (1, 149.0))
    first = searched(100.0, 150.0)
    trials = [*first, *(trial(2 + i, v, TrialRole.CONFIRM, of) for i, (of, v) in enumerate(rounds))]
    assert next_repeat(trials, SPEC.objectives, SPEC.confirm) is None, "three pairs decide a gain of 50%"
    unfinished = next_repeat(trials[:5], SPEC.objectives, SPEC.confirm)
    assert unfinished is not None
    assert (unfinished.trial.number, unfinished.block) == (0, 2)


def test_winner_that_misses_an_slo_in_a_late_block_is_not_a_winner() -> None:
    speeds = alternating(100, 104)
    trials = proven(searched(100.0, 104.0), lambda n, block: None if (n, block) == (1, 4) else speeds(n, block))
    result = study_result(SPEC, "done", trials)
    assert (result.ending, result.winner) == (Ending.WINNER_DID_NOT_HOLD_UP, trials[0])
    assert result.decision is not None
    assert result.decision.form is Form.REFUTED
    assert "1 of 5 launches missed the SLOs (p99 ttft <= 200ms by 50%)" in headline(result)


def test_a_miss_that_the_load_generator_may_have_caused_refutes_nothing() -> None:
    """Neither a challenger nor the default; a block with such a launch is not compared."""
    trials = searched(100.0, 150.0)
    values = noisy((100, 150))
    limited = Verdict(feasible=False, objectives=(90.0,), violations=(MISSED.replaced(doubtful=True),), rankable=False)
    while (found := next_repeat(trials, SPEC.objectives, SPEC.confirm)) is not None:
        made = trial(len(trials), values(found.trial.number, found.block), TrialRole.CONFIRM, found.trial.number)
        bad = (found.trial.number, found.block) in {(1, 1), (0, 2)}
        trials.append(made.replaced(block=found.block, verdict=limited if bad else made.verdict))
    result = study_result(SPEC, "done", trials)
    assert (result.ending, result.winner) == (Ending.PROVEN_BETTER, trials[1])
    assert result.repeats == repeats(trials)[1] - 2
    assert result.refuted == ()


def test_a_launch_whose_miss_is_doubtful_is_not_counted_as_meeting_the_slos() -> None:
    first = searched(None, 150.0)
    trials = proven(first, lambda n, _: 150.0 if n else None)
    last = max(t.number for t in trials if t.repeat_of == 1)
    violations = (MISSED.replaced(doubtful=True),)
    limited = Verdict(feasible=False, objectives=(90.0,), violations=violations, rankable=False)
    assert "met the SLOs in all 4 launches" in headline(study_result(SPEC, "done", trials))
    changed = [t.replaced(verdict=limited) if t.number == last else t for t in trials]
    text = headline(study_result(SPEC, "done", changed))
    assert "met the SLOs in 3 of 4 launches (the load generator could not keep up in the other)" in text


def test_challengers_share_the_error_probability() -> None:
    """Three equal pairs decide sooner for a lone challenger than for one of three."""
    gains = [
        conclude(SPEC, "done", proven(searched(100.0, *others), noisy((100, 130, 50, 50)), launches=12)).gains[0]
        for others in ((130.0,), (130.0, 50.0, 50.0))
    ]
    assert gains[0] is not None
    assert gains[1] is not None
    assert gains[0].high - gains[0].low < gains[1].high - gains[1].low


def test_without_a_default_challengers_are_launched_three_times() -> None:
    first = searched(100.0, 150.0)
    crash = Failure(cause=FailureCause.CRASH_UNDER_LOAD, message="it ended")
    first[0] = first[0].replaced(state=TrialState.FAILED, verdict=None, failure=crash)
    trials = proven(first, noisy((100, 150)))
    assert repeats(trials) == {1: 3}
    assert conclude(SPEC, "done", trials).ending is Ending.NO_DEFAULT


def test_challenger_that_is_never_ranked_does_not_prolong_the_proof() -> None:
    trials = searched(100.0, 150.0, 149.0)
    values = noisy((100, 150, 149))
    while (found := next_repeat(trials, SPEC.objectives, SPEC.confirm)) is not None:
        made = trial(len(trials), values(found.trial.number, found.block), TrialRole.CONFIRM, found.trial.number)
        made = made.replaced(block=found.block)
        if found.trial.number == 2 and made.verdict is not None:
            made = made.replaced(verdict=made.verdict.replaced(rankable=False))
        trials.append(made)
    assert conclude(SPEC, "done", trials).winner == trials[1]
    assert repeats(trials)[1] <= 4


@pytest.mark.parametrize(("unranked", "expected"), [(1, 4), (100, 3)])
def test_repeats_that_could_not_be_ranked_do_not_end_the_proof_at_once(unranked: int, expected: int) -> None:
    """On a busy machine the default may be measured badly once, or always."""
    trials = searched(100.0, 150.0)
    values = noisy((100, 150))
    while (found := next_repeat(trials, SPEC.objectives, SPEC.confirm)) is not None:
        made = trial(len(trials), values(found.trial.number, found.block), TrialRole.CONFIRM, found.trial.number)
        bad = found.trial.number == 0 and found.block <= unranked
        assert made.verdict is not None
        trials.append(made.replaced(block=found.block, verdict=made.verdict.replaced(rankable=not bad)))
    assert repeats(trials) == {0: expected, 1: expected}
    proven_better = conclude(SPEC, "done", trials).ending is Ending.PROVEN_BETTER
    assert proven_better == (unranked == 1)


@pytest.mark.parametrize(("at_most", "launched"), [(4, "within 4"), (6, "after 4")])
def test_blocks_that_could_not_be_ranked_are_not_called_hopeless(at_most: int, launched: str) -> None:
    """The second block is measured too badly, for example because the load generator could not keep up."""
    spec = SPEC.replaced(confirm=ConfirmSpec(at_most=at_most))
    trials = searched(100.0, 103.0)
    speeds = {1: 110.0, 3: 96.0, 4: 95.0}
    while (found := next_repeat(trials, spec.objectives, spec.confirm)) is not None:
        value = speeds.get(found.block, 103.0) if found.trial.number else 100.0
        made = trial(len(trials), value, TrialRole.CONFIRM, found.trial.number, found.block)
        assert made.verdict is not None
        trials.append(made.replaced(verdict=made.verdict.replaced(rankable=found.block != 2)))
    result = study_result(spec, "done", trials)
    assert result.ending is Ending.NO_SIGNIFICANT_DIFFERENCE
    assert result.repeats == repeats(trials)[0] - 1
    text = f"not decided {launched} blocks, {result.repeats} of which measured both well enough"
    assert headline(result).startswith(text)
    assert ("are unlikely to decide it" in headline(result)) == (at_most == 6)


@pytest.mark.parametrize("seed", range(20))
def test_proof_ends_within_the_announced_launches(seed: int) -> None:
    source = Random(seed)
    first = searched(100.0, *(source.uniform(80, 160) for _ in range(6)))
    spec = SPEC.replaced(confirm=ConfirmSpec(at_most=5))
    trials = proven(first, lambda n, _: None if n and source.random() < 0.2 else 100 * source.gauss(1, 0.1), spec)
    assert len(trials) - len(first) <= most_launches(spec.confirm)


def test_outputs_agree() -> None:
    trials = proven(searched(100.0, 110.0), noisy((100, 110)))
    result = study_result(SPEC, "done", trials)
    assert result.decision is not None
    expected = {"form": "better", "margin": 0.02, "confidence": 0.95, "blocks": result.repeats, "at_most": 12}
    assert best_json(result)["decision"] == plain_data(result)["decision"] == expected
    assert f"{result.repeats} interleaved blocks" in headline(result)


def test_direction_of_a_gain() -> None:
    pairs = [(100.0, 90.0), (110.0, 99.0), (90.0, 81.2)]
    assert paired_gain(pairs, Direction.MIN, alpha=0.05, confidence=0.95).effect is Effect.BETTER
    assert paired_gain(pairs, Direction.MAX, alpha=0.05, confidence=0.95).effect is Effect.WORSE
    found = paired_gain(pairs, Direction.MIN, alpha=0.05, confidence=0.95)
    assert found.relative == pytest.approx(0.1, abs=0.002)
    assert found.low < found.relative < found.high


def test_values_of_zero_are_compared_as_differences() -> None:
    """A repeat without any throughput is a bad repeat, not a missing one."""
    pairs = [(10.0, 12.0), (10.0, 0.0), (10.0, 12.0), (10.0, 12.0)]
    found = paired_gain(pairs, Direction.MAX, alpha=0.05, confidence=0.95)
    assert found.absolute
    assert (found.relative, found.repeats) == (-1.0, 4)
    assert found.effect is Effect.UNDECIDED
    nothing = paired_gain([(0.0, 5.0)] * 4, Direction.MAX, alpha=0.05, confidence=0.95)
    assert nothing.low < nothing.relative == 5.0


def test_shares_are_compared_in_points() -> None:
    pairs = [(0.97, 0.99), (0.971, 0.991), (0.969, 0.99), (0.97, 0.99)] * 3
    found = paired_gain(pairs, Direction.MAX, alpha=0.05, confidence=0.95, share=True)
    assert found.absolute
    assert found.relative == pytest.approx(0.02, abs=1e-3)
    assert found.effect is Effect.BETTER
    same = paired_gain([(0.5, 0.501)] * 12, Direction.MAX, alpha=0.05, confidence=0.95, share=True)
    assert same.effect is Effect.AS_GOOD, "0.1 points are less than the margin of 2 points"


def test_share_in_the_headline() -> None:
    share = Objective(metric="success_rate", direction=Direction.MAX)
    spec = SPEC.replaced(objectives=(share,))
    source = Random(3)
    trials = proven(searched(0.9, 0.97), lambda n, _: (0.9, 0.97)[n] + source.gauss(0, 0.002), spec)
    assert conclude(spec, "done", trials).ending is Ending.PROVEN_BETTER
    assert " points success rate " in headline(study_result(spec, "done", trials))


def test_several_objectives_have_wider_intervals_and_all_are_decided() -> None:
    """Throughput 30% up, latency 30% down: a trade-off only once both intervals exclude zero."""
    spec = SPEC.replaced(objectives=(THROUGHPUT, LATENCY))

    def both(trials: list[Trial]) -> list[Trial]:
        return [
            t.replaced(verdict=t.verdict.replaced(objectives=(v, (v or 1.0) / 100)))
            for t in trials
            if t.verdict is not None
            for v in t.verdict.objectives
        ]

    values = noisy((100, 130))
    trials = both(searched(100.0, 130.0))
    while (found := next_repeat(trials, spec.objectives, spec.confirm)) is not None:
        new = trial(len(trials), values(found.trial.number, found.block), TrialRole.CONFIRM, found.trial.number)
        trials += both([new.replaced(block=found.block)])
    result = conclude(spec, "done", trials)
    assert result.ending is Ending.TRADE_OFF
    assert [g.effect if g else None for g in result.gains] == [Effect.BETTER, Effect.WORSE]
    first = [t.replaced(verdict=t.verdict.replaced(objectives=t.verdict.objectives[:1])) for t in trials if t.verdict]
    alone = conclude(SPEC, "done", first)
    assert result.gains[0] is not None
    assert alone.gains[0] is not None
    assert result.gains[0].low < alone.gains[0].low


def test_challengers_that_cannot_be_distinguished_are_not_all_repeated_to_the_end() -> None:
    trials = proven(searched(100.0, 102.0, 102.0, 102.0), alternating(100, 102, 102.01, 101.99))
    made = repeats(trials)
    assert made[0] > 5
    assert made[1] + made[2] + made[3] <= 3 * 3 + 2 * 2 + made[0] - 5
