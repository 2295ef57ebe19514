"""Winner, proof and ties, for the sample studies and for small studies made for one question."""

from collections.abc import Callable
from statistics import fmean

import pytest

from autotuner.report.headline import headline
from autotuner.report.result import DEFAULT_NOISE, StudyResult, objective_value, study_result
from autotuner.scoring import Effect
from autotuner.study.configuration import DEFAULT
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import SelfCheck
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO
from autotuner.testing.samples import LATENCY, THROUGHPUT, Sample, StudyMaker, configuration, sample_spec
from autotuner.tuning.ending import Ending

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]
FAILED = Failure(cause=FailureCause.CRASH_LOADING, message="it ended")


def speeds(maker: StudyMaker, fast: float) -> None:
    """Makes every configuration but the default ``fast`` times as fast, without noise."""
    maker.speed = lambda c: 420.0 * (fast if c.values else 1.0)
    maker.latency = lambda _: 0.13


def test_proven_winner(sampled: Sampled) -> None:
    result = sampled("winner")
    assert result.winner is not None
    assert result.winner == result.best
    assert not result.as_good
    assert result.gain is not None
    assert 0 < result.gain.low < result.gain.relative < result.gain.high
    assert result.repeats == 3
    assert result.command[0] == "llama-server"
    assert "--parallel" in result.command
    assert not {"--host", "127.0.0.1", "--port", "41234"} & set(result.command), "the address was only the trial's"


def test_gain_uses_repeats_only(sampled: Sampled) -> None:
    result = sampled("winner")
    assert result.best is not None
    assert result.gain is not None
    sides = {
        number: fmean(objective_value(t) or 0 for t in result.trials if t.repeat_of == number)
        for number in (0, result.best.number)
    }
    assert result.gain.relative == pytest.approx(sides[result.best.number] / sides[0] - 1)


@pytest.mark.parametrize("kind", ["as_good", "no_difference", "default_best", "refuted"])
def test_default_is_kept_unless_something_is_shown_to_be_better(sampled: Sampled, kind: str) -> None:
    result = sampled(kind)
    assert result.keeps_default
    assert result.winner == result.default
    assert result.as_good == (kind == "as_good")
    assert "--parallel" not in result.command


def test_without_the_proof_there_is_no_gain(sampled: Sampled) -> None:
    result = sampled("unproven")
    assert result.winner == result.best
    assert result.best is not None
    assert result.best.number != 0
    assert (result.gain, result.repeats, result.as_good) == (None, 0, False)


def test_one_repeat_proves_nothing(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    speeds(maker, 2.0)
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)), repeats=1)
    result = made(maker.sample())
    assert result.ending is Ending.NOT_DECIDED
    assert result.gain is not None
    assert result.gain.effect is Effect.UNDECIDED, "one repeat on each side has no interval"


def test_a_default_that_failed_is_why_it_has_no_repeats(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.failed(DEFAULT, Failure(cause=FailureCause.OUT_OF_MEMORY, message="allocation failed under load"))
    winner = maker.measured(configuration(parallel=8))
    maker.measured(winner.configuration, repeat_of=winner.number)
    result = made(maker.sample())
    assert result.ending is Ending.NOT_DECIDED
    assert headline(result).endswith(
        "1 of 3 for trial 1, 0 of 3 for the default, which failed: allocation failed under load"
    )


def test_client_limited_repeat_proves_nothing(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    speeds(maker, 1.0)
    maker.measured()
    winner = maker.measured(configuration(parallel=8))
    for _ in range(2):
        maker.speed = lambda c: 420.0 if c.values else 100.0
        maker.measured(repeat_of=0, self_check=SelfCheck(client_limited=True))
        maker.measured(winner.configuration, repeat_of=winner.number)
    result = made(maker.sample())
    assert result.gain is None, "the default was not slow, the load generator was"


def test_nothing_feasible_has_a_nearest_and_no_winner(sampled: Sampled) -> None:
    result = sampled("infeasible")
    assert (result.winner, result.best, result.command, result.tied) == (None, None, (), ())
    assert result.nearest is not None
    missed = {t.number: t.verdict.total_violation for t in result.trials if t.verdict}
    assert missed[result.nearest.number] == min(missed.values())


def test_challenger_whose_repeats_miss_the_slo_does_not_win(made: Made) -> None:
    maker = StudyMaker(sample_spec(slos=(SLO(metric="ttft", statistic="p99", threshold=0.4),)))
    speeds(maker, 2.0)
    maker.measured()
    lucky = maker.measured(configuration(parallel=8))
    maker.latency = lambda c: 0.9 if c.values else 0.13
    maker.proof(lucky)
    result = made(maker.sample())
    assert (result.ending, result.refuted) == (Ending.WINNER_DID_NOT_HOLD_UP, (1,))
    assert result.winner == result.default
    assert not result.as_good, "that was not shown"
    assert result.gain is None, "what did not hold up gained nothing"


def test_client_limited_trial_never_wins(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    speeds(maker, 2.0)
    maker.measured()
    maker.failed(configuration(parallel=16), FAILED)
    maker.measured(configuration(parallel=8), self_check=SelfCheck(client_limited=True))
    assert (objective_value(maker.trials[2]) or 0) > 1.5 * (objective_value(maker.trials[0]) or 0)
    result = made(maker.sample())
    assert result.winner == result.default
    assert result.tied == (0,)


def test_lower_latency_is_a_positive_gain(sampled: Sampled) -> None:
    result = sampled("latency")
    assert result.spec.objectives[0].direction is Direction.MIN
    assert result.gain is not None
    assert result.best is not None
    assert result.default is not None
    assert result.gain.low > 0
    assert (objective_value(result.best) or 9) < (objective_value(result.default) or 0)


def test_several_objectives_have_gains_and_a_front(sampled: Sampled) -> None:
    result = sampled("several")
    assert result.best is not None
    assert len(result.gains) == 2
    assert result.best.number in result.front
    values = {t.number: [objective_value(t, i) or 0 for i in (0, 1)] for t in result.trials if t.number in result.front}
    for mine in values.values():
        beaten = [v for v in values.values() if v[0] > mine[0] and v[1] < mine[1]]
        assert not beaten, "no point of the front is beaten in both"
    gains = [g for g in result.gains if g]
    assert {g.low > 0 for g in gains} == {True, False}, "a trade-off: one is better, the other is not"


def test_trade_off_without_a_proven_gain_keeps_the_default(made: Made) -> None:
    maker = StudyMaker(sample_spec(objectives=(THROUGHPUT, LATENCY), slos=()), noise=0.03)
    speeds(maker, 1.0)
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)))
    result = made(maker.sample())
    assert result.winner == result.default


def test_default_that_misses_the_slos_is_not_an_answer(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.speed = lambda c: 420.0 if c.values else 800.0
    maker.latency = lambda c: 0.1 if c.values else 0.9
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)))
    result = made(maker.sample())
    assert result.winner is not None
    assert result.winner.number == 1, "the default is faster and may not be used"
    assert result.ending is Ending.DEFAULT_INFEASIBLE


def test_default_that_cannot_run(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.failed(configuration(), FAILED)
    maker.measured(configuration(parallel=8))
    result = made(maker.sample())
    assert result.winner is not None
    assert (result.winner.number, result.gain) == (1, None)


def test_ties_are_within_the_noise_of_the_repeats(sampled: Sampled) -> None:
    result = sampled("huge")
    assert result.winner is not None
    assert result.noise != DEFAULT_NOISE
    assert len(result.tied) > 1
    best = fmean(result.repeat_values(result.winner))
    for number in result.tied:
        if number != result.winner.number:
            value = objective_value(result.trials[number]) or 0
            assert best / value <= 1 + result.noise + 1e-9
    assert sampled("unproven").noise == DEFAULT_NOISE


def test_nothing_measured_yet(sampled: Sampled) -> None:
    result = sampled("empty")
    assert (result.winner, result.best, result.nearest, result.default) == (None, None, None, None)


def test_the_order_of_the_trials_does_not_matter(sampled: Sampled) -> None:
    result = sampled("several")
    assert study_result(result.spec, result.state, result.trials[::-1], why=result.why) == result


def test_command_omits_only_the_address(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    trial = maker.measured()
    argv = ("serve", "--port-range", "5", "--host", "--port", "--port", "9", "x", "--port=7")
    maker.trials[0] = trial.model_copy(update={"argv": argv})
    assert made(maker.sample()).command == ("serve", "--port-range", "5", "x", "--port=7")
