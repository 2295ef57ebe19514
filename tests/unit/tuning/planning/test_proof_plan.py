"""What a plan says about a proof: launches at least and at most, and what its blocks can decide."""

import pytest

from autotuner.study.check import CheckStatus
from autotuner.study.spec import ConfirmSpec
from autotuner.testing.samples import LATENCY, THROUGHPUT, sample_spec
from autotuner.tuning.planning.proof_plan import fewest_launches, proof_checks
from autotuner.tuning.proof.blocks import most_launches

SPEC = sample_spec().replaced(confirm=ConfirmSpec())


@pytest.mark.parametrize(
    ("confirm", "trials", "fewest", "most"),
    [
        (ConfirmSpec(), 20, 8, 48),  # three blocks, and one launch of the two that are dropped
        (ConfirmSpec(), 2, 6, 24),
        (ConfirmSpec(at_most=2), 2, 4, 4),
        (ConfirmSpec(repeats=3), 20, 12, 12),
        (ConfirmSpec(), 1, 0, 0),
    ],
)
def test_launches(confirm: ConfirmSpec, trials: int, fewest: int, most: int) -> None:
    assert fewest_launches(SPEC.replaced(confirm=confirm), trials) == fewest
    assert most_launches(confirm, trials - 1) == most


def test_too_few_blocks_are_a_warning() -> None:
    spec = SPEC.replaced(confirm=ConfirmSpec(at_most=3, confidence=0.99, challengers=1))
    (check,) = proof_checks(spec, 20)
    assert (check.status, check.name) == (CheckStatus.WARN, "confirm.at_most")
    assert " 4" in check.remedy
    assert proof_checks(spec.replaced(confirm=ConfirmSpec(repeats=3)), 20) == []


def test_decidable_noise_falls_with_objectives() -> None:
    (one,) = proof_checks(SPEC, 20)
    (two,) = proof_checks(SPEC.replaced(objectives=(THROUGHPUT, LATENCY)), 20)
    assert one.status is two.status is CheckStatus.OK
    assert "less than 1.0%" in one.detail
    assert "less than 0.9%" in two.detail
