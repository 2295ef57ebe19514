"""Trials that ran beside others: one pass says the same as looking at every pair."""

from hypothesis import given
from hypothesis import strategies as st

from autotuner.study.configuration import DEFAULT
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.proof.records import all_in_company, in_company

TIMES = st.one_of(st.none(), st.integers(0, 6).map(float))


@given(st.lists(st.tuples(TIMES, TIMES), max_size=8))
def test_one_pass_is_the_same_as_every_pair(spans: list[tuple[float | None, float | None]]) -> None:
    trials = [
        Trial(study="s", number=n, role=TrialRole.SEARCH, configuration=DEFAULT, started_at=start, finished_at=end)
        for n, (start, end) in enumerate(spans)
    ]
    assert all_in_company(trials) == {trial.number for trial in trials if in_company(trial, trials)}
