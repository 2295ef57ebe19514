"""What a capacity search found, in sentences."""

import pytest

from autotuner.report.views.capacity_texts import capacity_answer
from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.measurement import Measurement
from autotuner.study.workload import LoadUnit, RequestRate

BOUNDS = (
    CapacityBound(slo="p95 ttft <= 500ms", metric="ttft", limit=0.5, allowed=0.05),
    CapacityBound(slo="mean tpot <= 40ms", metric="tpot", limit=0.04),
    CapacityBound(slo="success_rate >= 0.99", metric="success_rate", limit=0.0, allowed=0.01),
)


def level(requests: int, state: str) -> CapacityLevel:
    decision = {"state": state, "requests": (requests,) * 3, "log_evidence_below": 1.0, "log_evidence_above": 0.0}
    return CapacityLevel(
        load=10.0,
        plan=LevelPlan(bounds=BOUNDS, certify=0.02, refute=0.02, requests=5_000),
        decision=LevelDecision.model_validate(decision),
        measurement=Measurement(
            scenario="D(128,64)",
            level=RequestRate(rate=10.0),
            window_s=10,
            requests=requests,
            failed=0,
            arrived=requests,
            distributions={},
            scalars={},
        ),
    )


@pytest.mark.parametrize(
    ("requests", "missing", "answer"),
    [
        (
            (56, 450),
            "budget used",
            "no load certified: budget used; success_rate >= 0.99 takes at least 662 requests at one load, and had 450",
        ),
        ((56, 700), "budget used", "no load certified: budget used"),
        ((56, 450), "load generator at its limit", "no load certified: load generator at its limit"),
        ((), "budget used", "no load certified: budget used"),
    ],
)
def test_a_budget_that_was_too_small_names_the_slo_that_needs_most(
    requests: tuple[int, ...], missing: str, answer: str
) -> None:
    found = CapacityResult(
        scenario="D(128,64)",
        unit=LoadUnit.RATE,
        precision=0.1,
        confidence=0.95,
        certified_missing=missing,
        levels=(level(900, "refuted"), *(level(count, "open") for count in requests)),
    )
    assert capacity_answer(found)[0] == answer
