"""Results of the sample studies, each made once."""

from collections.abc import Callable
from functools import cache

import pytest

from autotuner.report.result import StudyResult, study_result
from autotuner.testing.samples import Sample, SampleKind, sample_study


@cache
def _result(kind: SampleKind) -> StudyResult:
    return result_of(sample_study(kind))


def result_of(sample: Sample) -> StudyResult:
    """The result of a sample."""
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


@pytest.fixture
def sampled() -> Callable[[str], StudyResult]:
    """The result of the sample of a kind."""
    return lambda kind: _result(SampleKind(kind))


@pytest.fixture
def made() -> Callable[[Sample], StudyResult]:
    """The result of a sample made in the test."""
    return result_of
