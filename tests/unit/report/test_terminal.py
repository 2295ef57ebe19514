"""The headline of each kind of study: trial, gain, failures, and no claim beyond the proof."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from autotuner.report.exports import command_line
from autotuner.report.headline import headline, signed
from autotuner.report.numbers import percent
from autotuner.report.result import StudyResult
from autotuner.report.terminal import failures_text, result_text, summary_text
from autotuner.report.views.failed_launches import failed_launches
from autotuner.study.configuration import DEFAULT
from autotuner.study.failure import Failure, FailureCause
from autotuner.testing.samples import Sample, SampleKind, StudyMaker, configuration, sample_spec
from autotuner.tuning.ending import Ending

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]

FAILED = Failure(cause=FailureCause.CRASH_LOADING, message="it ended")
NAMED = {
    "winner": 12, "as_good": 5, "no_difference": 5, "refuted": 2, "default_best": 5, "unproven": 6, "infeasible": 7,
    "failures": 9, "latency": 7, "several": 13, "huge": 215, "gpus": 9, "simulated": 9, "empty": None,
}  # fmt: skip
"""The trial that the sentence is about."""


@pytest.mark.parametrize("kind", SampleKind)
def test_headline_names_trial_configuration_and_gain(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    text = headline(result)
    found = re.search(r"trial (\d+)", text)
    assert (int(found[1]) if found else None) == NAMED[kind.value]
    if found:
        assert result.trials[int(found[1])].configuration.text in text
    if result.gain is None or result.gain.repeats < 2 or result.state != "done":
        return
    for objective, gain in zip(result.spec.objectives, result.gains, strict=True):
        assert gain is not None
        change, low, high = signed(objective, gain)
        assert all(percent(value) in text for value in (change, low, high))
    assert f"{result.repeats} interleaved repeats" in text


def test_headline_says_what_was_missed_and_what_failed(sampled: Sampled) -> None:
    refuted = failed_launches(sampled("refuted").trials[2], sampled("refuted"))
    assert re.match(r"1 of 2 .*crash under load", refuted)
    assert refuted in headline(sampled("refuted"))
    nearest = sampled("infeasible").nearest
    assert nearest is not None
    assert nearest.verdict is not None
    violation = nearest.verdict.violations[0]
    for part in (violation.slo, violation.where, percent(violation.relative, sign=False)):
        assert part in headline(sampled("infeasible"))


@pytest.mark.parametrize("kind", SampleKind)
def test_no_gain_is_claimed_that_is_not_proven(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    first = summary_text(result).split("\n")[0]
    proven = any(g is not None and g.repeats > 1 and g.low > 0 for g in result.gains)
    assert (first.startswith("best: ") and "not proven" not in first) == result.ending.proven
    assert result.ending.proven <= proven


def test_one_repeat_is_too_few(made: Made) -> None:
    maker = StudyMaker(sample_spec(), speed=lambda c: 840.0 if c.values else 420.0, latency=lambda _: 0.1)
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)), repeats=1)
    result = made(maker.sample())
    assert (result.ending, result.repeats) == (Ending.NOT_DECIDED, 1)
    assert result.winner is result.trials[1]
    assert "%" not in headline(result), "no gain is shown"


def test_default_that_misses_the_slos_is_named(made: Made) -> None:
    maker = StudyMaker(sample_spec(), speed=lambda c: 400.0 if c.values else 800.0)
    maker.latency = lambda c: 0.1 if c.values else 0.9
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)))
    result = made(maker.sample())
    assert result.ending is Ending.DEFAULT_INFEASIBLE
    assert result.default is not None
    assert failed_launches(result.default, result) in headline(result)
    assert percent(-0.51) in headline(result)


def test_default_that_could_not_run_differs_from_one_not_measured(made: Made) -> None:
    headlines = []
    for failed in (True, False):
        maker = StudyMaker(sample_spec())
        if failed:
            maker.failed(DEFAULT, FAILED)
        else:
            maker.running()
        winner = maker.measured(configuration(parallel=8))
        for _ in range(2):
            maker.measured(winner.configuration, repeat_of=winner.number)
        result = made(maker.sample())
        assert (result.ending, result.winner) == (Ending.NO_DEFAULT, result.trials[1])
        headlines.append(headline(result))
    assert headlines[0] != headlines[1]


def test_all_failed_differs_from_not_started(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.failed(DEFAULT, FAILED)
    assert made(maker.sample()).ending is Ending.NOTHING_MEASURED


def test_signs_follow_the_metric(sampled: Sampled) -> None:
    for kind, sign in (("winner", 1), ("latency", -1)):
        result = sampled(kind)
        assert result.gain is not None
        change, low, high = signed(result.spec.objectives[0], result.gain)
        assert low < change < high
        assert change * sign > 0


@pytest.mark.parametrize("kind", SampleKind)
def test_run_ends_with_command_report_and_next_steps(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    text = result_text(result, report=Path("/x/report.html"), program=".venv/bin/autotuner")
    lines = text.splitlines()
    assert "report: /x/report.html" in text
    assert f".venv/bin/autotuner show {result.spec.name}" in lines[-1]
    assert (f"best {result.spec.name}" in lines[-1]) == (result.winner is not None)
    if result.winner is None:
        assert "start " not in text
    else:
        start = next(i for i, line in enumerate(lines) if line.startswith("start "))
        assert shlex.split(lines[start + 1]) == list(result.command)
        assert lines[start].startswith("start the default") == result.keeps_default


def test_unfinished_run_says_so(sampled: Sampled) -> None:
    assert "interrupted: Ctrl-C" in result_text(sampled("failures"))
    assert "interrupted" not in result_text(sampled("winner"))


def test_external_server_has_no_command(sampled: Sampled) -> None:
    found = sampled("default_best")
    assert found.winner is not None
    result = found.model_copy(update={"command": (), "winner": found.winner.replaced(argv=())})
    assert command_line(result) == ""
    assert "start " not in result_text(result)


def test_failed_configurations_are_listed_with_their_remedy(sampled: Sampled) -> None:
    lines = failures_text(sampled("failures").trials)
    assert len([line for line in lines if line.startswith("  trial")]) == 5
    failure = sampled("failures").trials[1].failure
    assert failure is not None
    assert f"{failure.message}; {failure.remedy}" in lines[2]


def test_foreign_text_cannot_control_the_terminal(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.measured()
    words = "evil\x1b[2J\nsecond\rline\x07"
    maker.failed(configuration(note=words), Failure(cause=FailureCause.CRASH_LOADING, message=words))
    result = made(maker.sample(why=words, state="stopped"))
    text = "\n".join(failures_text(result.trials))
    assert not set("\x1b\r\x07") & set(text)
    assert not [line for line in text.splitlines() if line.startswith("second")]
