"""What of a long study a report contains."""

from collections.abc import Callable
from itertools import pairwise

from autotuner.report.documents.selection import answer_trials, shown_trials
from autotuner.report.result import StudyResult
from autotuner.testing.samples import Sample, StudyMaker, configuration, sample_spec

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]


def test_a_usual_study_is_complete(sampled: Sampled) -> None:
    result = sampled("gpus")
    assert shown_trials(result) == {t.number for t in result.trials}


def test_the_answer_comes_first(sampled: Sampled) -> None:
    result = sampled("winner")
    numbers = [t.number for t in answer_trials(result)]
    assert numbers[:2] == [12, 0]
    assert set(numbers) >= {t.number for t in result.trials if t.repeat_of in {0, 12}}


def test_a_long_study_keeps_its_answer_its_best_and_its_course(made: Made) -> None:
    maker = StudyMaker(sample_spec(space={"parallel": tuple(range(1, 151))}))
    maker.measured()
    for value in range(1, 151):
        maker.measured(configuration(parallel=value))
    maker.proof(maker.trials[70])
    result = made(maker.sample())
    shown = shown_trials(result, 100)
    assert len(shown) == 100
    assert shown >= {t.number for t in answer_trials(result)}
    best = [trial.number for trial, rank in result.ranking if rank is not None]
    assert shown >= set(best[:30])
    ordered = sorted(shown)
    assert max(b - a for a, b in pairwise(ordered)) <= 5, "no part of the study is missing"
