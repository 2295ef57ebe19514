"""Trials: what follows from their fields."""

import pytest

from autotuner.study.configuration import DEFAULT
from autotuner.study.search.cut import Cut, CutReason
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict, Violation

CUT = Cut(reason=CutReason.CANNOT_WIN, text="cannot win", left=(), rivals=(1,), saved_s=3.0)
MET = Verdict(feasible=True)
UNRANKED = Verdict(feasible=True, rankable=False)
MISSED = Verdict(feasible=False)
LATE = Violation(
    slo="p99 ttft <= 1s", where="D(8,8) concurrency=4", value=2.0, threshold=1.0, relative=1.0, doubtful=True
)
DOUBTFUL = Verdict(feasible=False, violations=(LATE,), rankable=False)
SURE = DOUBTFUL.replaced(violations=(LATE, LATE.replaced(doubtful=False)))


@pytest.mark.parametrize(
    ("state", "verdict", "cut", "meets"),
    [
        (TrialState.DONE, MET, None, True),
        (TrialState.DONE, MISSED, None, False),
        (TrialState.DONE, MISSED, CUT, False),
        (TrialState.DONE, MET, CUT, None),
        (TrialState.DONE, UNRANKED, None, None),
        (TrialState.DONE, DOUBTFUL, None, None),
        (TrialState.DONE, SURE, None, False),
        (TrialState.VOID, MET, None, None),
        (TrialState.FAILED, MISSED, None, None),
        (TrialState.RUNNING, None, None, None),
    ],
)
def test_slos_are_met_missed_or_open(
    state: TrialState, verdict: Verdict | None, cut: Cut | None, meets: bool | None
) -> None:
    trial = Trial(
        study="s",
        number=2,
        role=TrialRole.SEARCH,
        configuration=DEFAULT,
        state=state,
        verdict=verdict,
        cut=cut,
    )
    assert trial.meets_slos is meets
