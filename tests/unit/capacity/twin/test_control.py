"""Bets on the misses beyond those that a twin predicts."""

from math import log
from random import Random

import pytest

from autotuner.capacity.level import Bound, LevelState, LevelTest, Outcome
from autotuner.capacity.twin.control import Control, ControlledBets, Predictions
from autotuner.capacity.twin.model import Latency, TwinModel

MODEL = TwinModel(step=0.01, per_request=0.0, prefill=0.0)
ALLOWED = 0.1
SURE = -log(0.05)


def control(expected: float, *, error: float = 0.0, settles: int = 0) -> Control:
    return Control(MODEL, Latency.E2E, spread=0.001, expected=expected, error=error, settles=settles)


def decided(share: float, agreement: float, seed: int, *, requests: int = 300) -> str:
    """How bets end when a share of the requests misses, and so many of these are the ones that were predicted."""
    random = Random(seed)
    bets = ControlledBets(control(share), 1.0, ALLOWED)
    values = []
    for number in range(requests):
        missed = random.random() < share
        predicted = missed if random.random() < agreement else random.random() < share
        values.append(2.0 if missed else 0.1)
        bets.add(values[-1], 2.0 if predicted else 0.1)
        if number % 16 == 15:
            bets.refresh(values)
            if bets.log_evidence_below(1.3) >= SURE:
                return "certified"
            if bets.log_evidence_above(1.3) >= SURE:
                return "refuted"
    return "open"


@pytest.mark.parametrize("agreement", [0.0, 0.5, 0.95], ids=["useless", "half", "good"])
def test_at_the_allowed_share_it_is_seldom_wrong_however_good_the_prediction(agreement: float) -> None:
    found = [decided(ALLOWED, agreement, seed) for seed in range(120)]
    # 5% each; 13 of 120 or more have a chance of less than 1%
    assert found.count("certified") < 13
    assert found.count("refuted") < 13


@pytest.mark.parametrize(("share", "right"), [(0.05, "certified"), (0.18, "refuted")])
def test_a_good_prediction_decides_with_fewer_requests(share: float, right: str) -> None:
    useless, good = (
        [decided(share, agreement, seed, requests=200) for seed in range(40)].count(right) for agreement in (0.0, 0.98)
    )
    assert good >= 35
    assert useless < good / 2


def test_a_prediction_of_far_too_many_misses_does_not_certify_a_bad_level() -> None:
    # It expects every second request to miss, as its twin would; three times the allowed share does.
    random = Random(3)
    bets = ControlledBets(control(0.5), 1.0, ALLOWED)
    for _ in range(2_000):
        bets.add(2.0 if random.random() < 0.3 else 0.1, 2.0 if random.random() < 0.5 else 0.1)
    assert bets.log_evidence_below(1.0) < 0
    assert bets.log_evidence_above(1.0) > SURE


def test_an_uncertain_expectation_counts_against_both_bets() -> None:
    exact, vague = (ControlledBets(control(0.05, error=error), 1.0, ALLOWED) for error in (0.0, 0.02))
    for _ in range(100):
        exact.add(0.1, 0.1)
        vague.add(0.1, 0.1)
    assert vague.log_evidence_below(1.0) < exact.log_evidence_below(1.0)
    assert vague.log_evidence_above(1.0) < exact.log_evidence_above(1.0)


def test_requests_before_the_queue_has_settled_are_not_bet_on() -> None:
    bets = ControlledBets(control(0.05, settles=50), 1.0, ALLOWED)
    for _ in range(50):
        bets.add(2.0, 0.1)
    assert bets.log_evidence_below(1.0) == pytest.approx(0.0)
    bets.add(2.0, 0.1)
    assert bets.log_evidence_below(1.0) < 0


def test_clustered_misses_that_are_not_predicted_weigh_less() -> None:
    def dispersion(run: int) -> float:
        random = Random(1)
        bets = ControlledBets(control(0.0), 1.0, ALLOWED)
        values = []
        for _ in range(2_000 // run):
            values += [2.0 if random.random() < 0.1 else 0.1] * run
        for value in values:
            bets.add(value, 0.1)
        bets.refresh(values)
        return bets.dispersion

    assert dispersion(1) < 2
    assert dispersion(20) > 8


def test_a_level_is_certified_by_its_control_but_not_before_the_table_of_mlperf_and_the_settled_queue() -> None:
    test = LevelTest([Bound("p90", 1.0, ALLOWED)], 0.05, 0.05, controls=[control(0.02, settles=100)])
    while test.state is LevelState.OPEN:
        test.add(Outcome((0.1,), 300, (0.1,)))
        assert test.requests < 400
    assert test.state is LevelState.CERTIFIED
    assert test.requests >= 100 + 64


def test_a_prediction_waits_for_the_arrivals_that_can_change_it() -> None:
    model = TwinModel(step=0.01, per_request=0.01, prefill=0.0)
    found = Predictions([Control(model, False, 0.1), None], [1.0, 1.0])
    found.arrive(0.0, 10, 10, counted=False)
    found.arrive(0.5, 10, 100, counted=True)
    assert found.value(0, 0) is None
    assert found.value(1, 0) == 0.0  # a bound without a control
    found.arrive(1.0, 10, 1, counted=True)
    assert found.value(0, 0) is None
    found.arrive(2.0, 10, 1, counted=True)
    # longer than the limit and four spreads: how much longer does not matter, and is not known yet
    assert found.value(0, 0) == pytest.approx(1.4)
    assert found.value(0, 1) == pytest.approx(0.03)
