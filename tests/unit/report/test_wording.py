"""The sentences of terminal summary and report, in one snapshot: the only place where a test fixes their wording.

After a deliberate change: ``.venv/bin/pytest tests/unit/report/test_wording.py --snapshot-update``, and read the diff.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.report.analysis import caveats
from autotuner.report.result import StudyResult
from autotuner.report.terminal import result_text
from autotuner.study.configuration import DEFAULT
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.trial import TrialState
from autotuner.testing.samples import Sample, SampleKind, StudyMaker, configuration, sample_spec
from autotuner.tuning.ending import Ending
from support.web.reports import report_text

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]
FAILED = Failure(cause=FailureCause.CRASH_LOADING, message="exited during start")


@pytest.mark.parametrize("kind", SampleKind)
def test_the_end_of_a_run(sampled: Sampled, kind: SampleKind, snapshot: SnapshotAssertion) -> None:
    result = sampled(kind.value)
    text = result_text(result, report=Path("/x/report.html"))
    assert "\n".join([result.ending.value, text, "", *caveats(result)]) == snapshot


def default_infeasible() -> Sample:
    maker = StudyMaker(sample_spec(), speed=lambda c: 400.0 if c.values else 800.0)
    maker.latency = lambda c: 0.1 if c.values else 0.9
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)))
    return maker.sample()


def no_default() -> Sample:
    maker = StudyMaker(sample_spec())
    maker.failed(DEFAULT, FAILED)
    winner = maker.measured(configuration(parallel=8))
    for _ in range(2):
        maker.measured(winner.configuration, repeat_of=winner.number)
    return maker.sample()


def default_only() -> Sample:
    maker = StudyMaker(sample_spec())
    maker.measured()
    maker.failed(configuration(parallel=8), FAILED)
    return maker.sample()


def nothing_tried() -> Sample:
    maker = StudyMaker(sample_spec())
    maker.measured()
    return maker.sample()


def not_decided() -> Sample:
    maker = StudyMaker(sample_spec(), speed=lambda c: 840.0 if c.values else 420.0, latency=lambda _: 0.1)
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)), repeats=1)
    return maker.sample()


def nothing_measured() -> Sample:
    maker = StudyMaker(sample_spec())
    maker.failed(DEFAULT, FAILED)
    return maker.sample()


def environment_fault() -> Sample:
    maker = StudyMaker(sample_spec())
    maker.failed(DEFAULT, Failure(cause=FailureCause.PORT_UNAVAILABLE, message="no free port"))
    maker.trials[0] = maker.trials[0].model_copy(update={"state": TrialState.VOID})
    return maker.sample(why="no free port", state="failed")


OTHERS = {
    Ending.DEFAULT_INFEASIBLE: default_infeasible,
    Ending.NO_DEFAULT: no_default,
    Ending.DEFAULT_ONLY: default_only,
    Ending.NOTHING_TRIED: nothing_tried,
    Ending.NOT_DECIDED: not_decided,
    Ending.NOTHING_MEASURED: nothing_measured,
    Ending.ENVIRONMENT_FAULT: environment_fault,
}
"""Endings that no sample kind has."""


@pytest.mark.parametrize("ending", OTHERS)
def test_further_endings(made: Made, ending: Ending, snapshot: SnapshotAssertion) -> None:
    result = made(OTHERS[ending]())
    assert result.ending is ending
    assert "\n".join([result_text(result), "", *caveats(result)]) == snapshot


@pytest.mark.parametrize("kind", ["winner", "failures", "gpus", "several", "empty"])
def test_the_report(sampled: Sampled, kind: str, snapshot: SnapshotAssertion) -> None:
    """What a reader sees, without the rows of tables and the study file, which are checked elsewhere."""
    lines = report_text(sampled(kind)).partition("## Reproduce")[0].splitlines()
    shown = [line for i, line in enumerate(lines) if not (line.startswith("|") and lines[i - 1].startswith("|"))]
    assert "\n".join(shown) == snapshot
