"""The sentence that matters, by sample kind: it claims a gain only where one is proven."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from autotuner.report.exports import command_line
from autotuner.report.headline import signed
from autotuner.report.result import StudyResult
from autotuner.report.terminal import failures_text, result_text, summary_text
from autotuner.study.configuration import DEFAULT
from autotuner.study.failure import Failure, FailureCause
from autotuner.testing.samples import Sample, SampleKind, StudyMaker, configuration, sample_spec

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]

FAILED = Failure(cause=FailureCause.CRASH_LOADING, message="it ended")
SENTENCES = {
    "winner": r"best: trial 12, parallel=8 ubatch-size=128 flash-attn=on: \+21 % output throughput over the default "
    r"\(95 % interval \+18 % to \+25 %, 3 interleaved repeats\)$",
    "as_good": r"the default is as good as trial \d+ \(.*\), the best of 9 others: [+-].* % output throughput \(95 % "
    r"interval -.* to \+.*, 3 interleaved repeats\), inside ±3 %$",
    "no_difference": r"no significant difference; keep the default: trial \d+ \(.*\), the best of 9 others, is not ",
    "refuted": r"keep the default: trial 2 \(parallel=16\) did not hold up: 1 of 2 launches died \(crash under load\)",
    "default_best": r"keep the default: trial \d+ \(.*\), the best of 5 others, is worse: -29 % output throughput",
    "unproven": r"stopped before the end; best so far: trial \d+, .*: \d+ tokens/s output throughput; not proven\n",
    "infeasible": r"no configuration met the SLOs; nearest: trial 7 \(.*\): p99 ttft <= 50ms missed by \d+ % at D\(128",
    "failures": r"interrupted before the end; best so far: trial 9, .*: \d+ tokens/s output throughput; not proven$",
    "latency": r"best: trial 7, .*: -\d+ % p99 ttft over the default \(95 % interval -\d+ % to -\d+ %, 3 ",
    "several": r"best: trial 13, .*: a trade-off, -.* % p99 ttft \(better\), -.* % output throughput \(worse\) over",
    "huge": r"best: trial \d+, .*: \+.* % output throughput over the default",
    "gpus": r"best: trial \d+, .*: \+191 % output throughput over the default",
    "simulated": r"best: trial \d+, .*: \+191 % output throughput over the default",
    "empty": r"not compared yet: nothing has been measured yet$",
}


@pytest.mark.parametrize("kind", SampleKind)
def test_the_sentence(sampled: Sampled, kind: SampleKind) -> None:
    assert re.match(SENTENCES[kind.value], summary_text(sampled(kind.value)))


@pytest.mark.parametrize("kind", SampleKind)
def test_no_gain_is_claimed_that_is_not_proven(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    first = summary_text(result).split("\n")[0]
    proven = any(g is not None and g.repeats > 1 and g.low > 0 for g in result.gains)
    assert (first.startswith("best: ") and "not proven" not in first) == result.ending.proven
    assert result.ending.proven <= proven


def test_one_repeat_is_called_too_few(made: Made) -> None:
    maker = StudyMaker(sample_spec(), speed=lambda c: 840.0 if c.values else 420.0, latency=lambda _: 0.1)
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)), repeats=1)
    text = summary_text(made(maker.sample()))
    assert text.startswith("best: trial 1, parallel=8: ")
    assert "not decided: of 3 repeats each, 1 of it and 1 of the default could be used" in text


def test_a_default_that_misses_the_slos_is_named(made: Made) -> None:
    maker = StudyMaker(sample_spec(), speed=lambda c: 400.0 if c.values else 800.0)
    maker.latency = lambda c: 0.1 if c.values else 0.9
    maker.measured()
    maker.proof(maker.measured(configuration(parallel=8)))
    text = summary_text(made(maker.sample()))
    assert text.startswith("best: trial 1, parallel=8: met the SLOs in all 4 launches; of the default, 4 of 4 launches")
    assert "-51 % output throughput over the default" in text


@pytest.mark.parametrize(
    ("state", "words"),
    [("failed", "the default could not run"), ("none", "the default was not measured")],
)
def test_why_there_is_nothing_to_compare_with(made: Made, state: str, words: str) -> None:
    maker = StudyMaker(sample_spec())
    if state == "failed":
        maker.failed(DEFAULT, FAILED)
    else:
        maker.running()
    winner = maker.measured(configuration(parallel=8))
    for _ in range(2):
        maker.measured(winner.configuration, repeat_of=winner.number)
    text = summary_text(made(maker.sample()))
    assert text.startswith("best: trial 1, parallel=8: ")
    assert words in text


def test_all_failed_is_not_the_same_as_not_begun(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.failed(DEFAULT, FAILED)
    assert summary_text(made(maker.sample())) == "no configuration could be measured"


def test_signs_follow_the_metric(sampled: Sampled) -> None:
    for kind, sign in (("winner", 1), ("latency", -1)):
        result = sampled(kind)
        assert result.gain is not None
        change, low, high = signed(result.spec.objectives[0], result.gain)
        assert low < change < high
        assert change * sign > 0


@pytest.mark.parametrize("kind", SampleKind)
def test_a_run_ends_with_command_report_and_what_to_type_next(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    text = result_text(result, report=Path("/x/report.html"), program=".venv/bin/autotuner")
    lines = text.splitlines()
    assert "report: /x/report.html" in text
    assert f".venv/bin/autotuner show {result.spec.name}" in lines[-1]
    if result.winner is None:
        assert "start " not in text
    else:
        start = next(i for i, line in enumerate(lines) if line.startswith("start "))
        assert shlex.split(lines[start + 1]) == list(result.command)
        assert lines[start].startswith("start the default") == result.keeps_default


def test_a_run_that_was_cut_short_says_so(sampled: Sampled) -> None:
    assert "The study is interrupted: Ctrl-C" in result_text(sampled("failures"))
    assert "The study is" not in result_text(sampled("winner"))


def test_a_server_of_others_has_no_command(sampled: Sampled) -> None:
    result = sampled("default_best").model_copy(update={"command": ()})
    assert command_line(result) == ""
    assert "start " not in result_text(result)


def test_failed_configurations_are_listed_with_their_remedy(sampled: Sampled) -> None:
    lines = failures_text(sampled("failures").trials)
    assert len([line for line in lines if line.startswith("  trial")]) == 5
    assert "the KV cache does not fit into memory; lower ctx-size or parallel" in lines[2]


def test_what_others_wrote_cannot_move_the_cursor(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.measured()
    words = "evil\x1b[2J\nsecond\rline\x07"
    maker.failed(configuration(note=words), Failure(cause=FailureCause.CRASH_LOADING, message=words))
    result = made(maker.sample(why=words, state="stopped"))
    text = "\n".join(failures_text(result.trials))
    assert not set("\x1b\r\x07") & set(text)
    assert not [line for line in text.splitlines() if line.startswith("second")]
