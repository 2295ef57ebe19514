"""What a capacity search found, in sentences."""

from typing import Any

import pytest

from autotuner.report.views.capacity_texts import capacity_answer, level_notes
from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.measurement import Measurement
from autotuner.study.workload import LoadUnit, RequestRate

BOUNDS = (
    CapacityBound(slo="p95 ttft <= 500ms", metric="ttft", limit=0.5, allowed=0.05),
    CapacityBound(slo="mean tpot <= 40ms", metric="tpot", limit=0.04),
    CapacityBound(slo="success_rate >= 0.99", metric="success_rate", limit=0.0, allowed=0.01),
)


def level(requests: int, state: str, **measured: Any) -> CapacityLevel:
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
            arrived=requests,
            failed=measured.pop("failed", 0),
            distributions={},
            scalars={},
            **measured,
        ),
    )


def result(*levels: CapacityLevel, missing: str = "budget used") -> CapacityResult:
    return CapacityResult(
        scenario="D(128,64)",
        unit=LoadUnit.RATE,
        precision=0.1,
        confidence=0.95,
        certified_missing=missing,
        levels=levels,
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
    found = result(level(900, "refuted"), *(level(count, "open") for count in requests), missing=missing)
    assert capacity_answer(found)[0] == answer


def test_notes_of_several_levels_appear_once() -> None:
    notes = level_notes(
        result(
            level(100, "open", warnings=("not steady: 9 tokens/s in the first half", "90% sent before")),
            level(200, "open", warnings=("85% sent before",)),
            level(300, "refuted", failed=3, errors={"http_503": 3}, error_messages={"http_503": "HTTP 503: busy"}),
        )
    )
    assert notes == [
        "10 requests/s: 90% sent before (and at 1 other level)",
        "10 requests/s: 3 of 300 requests failed (http_503 x3: busy)",
    ]


@pytest.mark.parametrize(("interrupted", "why"), [(False, "budget used"), (True, "the search was interrupted")])
def test_why_the_ends_are_far_apart(interrupted: bool, why: str) -> None:
    found = result(missing="").replaced(certified=2.0, refuted=3.0, interrupted=interrupted)
    assert f"the ends are 50% apart, not 10%: {why}" in capacity_answer(found)
