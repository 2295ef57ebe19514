"""Output of ``show``: every trial with its rank and reasons, at any width, and one trial in detail."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from autotuner import scoring
from autotuner.cli.columns import MIN_WRAP_WIDTH
from autotuner.cli.study_page import study_text
from autotuner.cli.trial_page import trial_text
from autotuner.report.exports import csv_text, strict_json
from autotuner.report.result import StudyResult, study_result
from autotuner.report.terminal import marked_summary
from autotuner.report.trial_data import ArgvChange, argv_changes, trial_data
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.search.importance import ParameterImportance, Share
from autotuner.study.trial import Trial, TrialRole
from autotuner.testing.samples import SampleKind, StudyMaker, configuration, sample_spec, sample_study

WIDTHS = (60, 80, 100, 140, 200)
_TRIAL_ROW = re.compile(
    r" *(?:\d+ +)?(\d+)  (?:winner|keep|challenger|did|best|SLOs|measured|failed|not|void|running|queued)"
)


def result_of(kind: SampleKind) -> StudyResult:
    sample = sample_study(kind)
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


def table_lines(text: str) -> list[str]:
    """Returns the table without the lines above and below it."""
    return text.split("\n\n")[1].splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", SampleKind)
def test_every_trial_has_a_row_that_fits_the_screen(kind: SampleKind, width: int) -> None:
    result = result_of(kind)
    text = study_text(result, width=width)
    numbers = [int(found[1]) for line in text.splitlines() if (found := _TRIAL_ROW.match(line))]
    assert sorted(numbers) == [t.number for t in result.trials]
    assert max(cell_len(line) for line in table_lines(text)) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_no_part_of_a_configuration_is_cut(width: int) -> None:
    result = result_of(SampleKind.WINNER)
    words = set(study_text(result, width=width).split())
    for trial in result.trials:
        assert set(trial.configuration.text.split()) <= words or trial.repeat_of is not None


def test_trials_are_ordered_by_rank_each_before_its_repeats() -> None:
    result = result_of(SampleKind.WINNER)
    rows = result.ranking
    first = [t for t, _ in rows if t.role is not TrialRole.CONFIRM]
    assert first == scoring.rank(first, result.spec.objectives)
    assert [rank for _, rank in rows if rank is not None] == list(range(1, 10))
    assert result.best is not None
    assert rows[0] == (result.best, 1)
    assert [t.repeat_of for t, _ in rows[1:4]] == [result.best.number] * 3


def test_trials_that_could_not_win_show_why() -> None:
    missed = study_text(result_of(SampleKind.WINNER), width=160)
    assert "p99 ttft <= 400ms: 401 ms at D(128,48) concurrency=16" in missed
    failed = study_text(result_of(SampleKind.FAILURES), width=160)
    assert "out of memory: the KV cache does not fit into memory" in failed
    assert "could not keep up at D(128,48) concurrency=4: loop lag p99 31 ms" in failed


def test_narrow_screens_keep_state_objective_and_change() -> None:
    narrow, wide = (
        next(line for line in study_text(result_of(SampleKind.GPUS), width=w).splitlines() if "configuration" in line)
        for w in (60, 200)
    )
    assert narrow.split() == ["trial", "state", "configuration", "max", "vs", "default"]
    assert all(title in wide for title in ("rank", "time", "GPUs", "SM clock"))


@given(value=st.text(max_size=120), note=st.text(max_size=200), width=st.integers(60, 200))
def test_hostile_text_does_not_break_the_table(value: str, note: str, width: int) -> None:
    maker = StudyMaker(sample_spec())
    maker.measured()
    maker.failed(configuration(note=value), Failure(cause=FailureCause.CRASH_LOADING, message=note))
    sample = maker.sample(why=note, state="stopped")
    text = study_text(study_result(sample.spec, sample.state, sample.trials, why=sample.why), width=width)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert max(cell_len(line) for line in table_lines(text)) <= max(width, MIN_WRAP_WIDTH)


# One trial


def page(kind: SampleKind, number: int, *, width: int = 100) -> str:
    result = result_of(kind)
    return trial_text(result, result.trials[number], ["loading", "listening"], width=width)


def test_trial_page_shows_percentiles_slos_phases_flags_and_log() -> None:
    text = page(SampleKind.WINNER, 12)
    assert re.match(r"chat-8b trial 12: .*\brank 1\n", text)
    assert re.search(r"^  repeats +trials 15, 16, 19$", text, re.MULTILINE)
    assert "19 s: loading 1 s, measuring 16 s" in text
    assert "met     p99 ttft <= 400ms: 389 ms" in text
    assert "D(128,48) concurrency=16: 645 requests, 516 tokens/s" in text
    row = next(line for line in text.splitlines() if line.startswith("  TTFT"))
    assert row.split() == ["TTFT", "102", "ms", "96.5", "ms", "133", "ms", "150", "ms", "174", "ms", "195", "ms"]
    assert "  + --parallel 8" in text
    assert text.endswith("  loading\n  listening")


def test_failed_trial_shows_cause_remedy_and_exit_code() -> None:
    text = page(SampleKind.FAILURES, 1)
    assert "chat-broken trial 1: failed" in text
    assert "out of memory: the KV cache does not fit into memory" in text
    assert "lower ctx-size or parallel" in text
    assert re.search(r"^  exit code +1$", text, re.MULTILINE)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_percentiles_fit(width: int) -> None:
    rows = [
        line for line in page(SampleKind.WINNER, 12, width=width).splitlines() if line.startswith(("  TTFT", "  E2E"))
    ]
    assert len(rows) == 4
    assert max(map(cell_len, rows)) <= width


def test_trial_data() -> None:
    result = result_of(SampleKind.WINNER)
    data = trial_data(result, result.trials[12], ["x"])
    assert (data["rank"], data["repeats"], data["log"]) == (1, [15, 16, 19], ["x"])
    assert [(slo["slo"], slo["met"]) for slo in data["slos"]] == [("p99 ttft <= 400ms", True)]
    assert ArgvChange("--parallel", None, "8") in data["argv_changes"]
    assert data["reference"] == "default"


@pytest.mark.parametrize("several", [False, True], ids=["configuration", "combination"])
def test_environment_variables_are_part_of_the_command_and_of_the_changes(*, several: bool) -> None:
    """Tuned and fixed ones, also those that the flags of a combination name. Secrets are references."""
    sample = sample_study(SampleKind.WINNER)
    env = {"OMP_WAIT_POLICY": "passive", "HF_TOKEN": "***"}
    spec = sample.spec.replaced(engine=sample.spec.engine.replaced(env=env))
    trials = list(sample.trials)
    values = {"env.OMP_NUM_THREADS": 1}
    flags = {"flags": values} if several else {"configuration": Configuration(values=values)}
    trials[12] = trials[12].replaced(argv=trials[0].argv, **flags)
    result = study_result(spec, sample.state, trials, why=sample.why)
    text = trial_text(result, result.trials[12], [], width=160)
    assert 'OMP_WAIT_POLICY=passive HF_TOKEN="$HF_TOKEN" OMP_NUM_THREADS=1 ' in text
    assert text.endswith("changes from the default's command line\n  + env.OMP_NUM_THREADS 1")
    data = trial_data(result, result.trials[12], [])
    assert data["command"] in text
    assert data["argv_changes"] == [ArgvChange("env.OMP_NUM_THREADS", None, "1")]


def test_a_trial_without_a_process_has_no_changes() -> None:
    result = result_of(SampleKind.WINNER)
    data = trial_data(result, result.trials[12].replaced(argv=()), [])
    assert (data["command"], data["argv_changes"]) == ("", [])


def test_flags_are_compared_by_name_with_all_their_values() -> None:
    default = ("server", "--model", "m", "--port", "1", "--bs", "1", "2", "--x=5", "--on", "--seed", "-1")
    trial = ("server", "--model", "m", "--port", "2", "--bs", "1", "2", "4", "--x", "6", "--new", "a b", "--seed", "-1")
    assert argv_changes(default, trial, address=("--host", "--port")) == (
        ArgvChange("--bs", "1 2", "1 2 4"),
        ArgvChange("--x", "5", "6"),
        ArgvChange("--new", None, "'a b'"),
        ArgvChange("--on", "", None),
    )


def test_a_study_without_slos_meets_none() -> None:
    sample = sample_study(SampleKind.WINNER)
    result = study_result(sample.spec.replaced(slos=()), sample.state, sample.trials, why=sample.why)
    text = study_text(result, width=160)
    assert "SLOs met" not in text
    assert " measured " in text


def test_percentile_of_too_few_requests_is_marked_everywhere() -> None:
    sample = sample_study(SampleKind.WINNER)
    trials = [_with_few(t) for t in sample.trials]
    result = study_result(sample.spec, sample.state, trials, why=sample.why)
    assert "~SLOs met" in study_text(result, width=160)
    assert "p99 ttft of 30 requests" in study_text(result, width=160)
    assert "p99 ttft of 30 requests" in marked_summary(result)
    window = trial_text(result, trials[1], [], width=160)
    row = next(line for line in window.splitlines() if line.startswith("  TTFT"))
    assert sum(cell.startswith("~") for cell in row.split()) == 1
    assert "p99" in next(csv.DictReader(io.StringIO(csv_text(result))))["too_few"]


def _with_few(trial: Trial) -> Trial:
    few = []
    for m in trial.measurements:
        thirty = {name: d.model_copy(update={"count": 30}) for name, d in m.distributions.items()}
        few.append(m.model_copy(update={"distributions": thirty}))
    if trial.verdict is None:
        return trial
    verdict = trial.verdict.model_copy(update={"unsure": ("p99 ttft of 30 requests",)})
    return trial.model_copy(update={"measurements": tuple(few), "verdict": verdict})


def test_failed_requests_are_shown_with_the_servers_message() -> None:
    result = result_of(SampleKind.WINNER)
    trial = next(t for t in result.trials if t.measurements)
    failing = trial.measurements[0].model_copy(
        update={"failed": 3, "errors": {"http_500": 3}, "error_messages": {"http_500": "HTTP 500: out of blocks"}}
    )
    text = trial_text(result, trial.model_copy(update={"measurements": (failing,)}), [], width=200)
    assert "3 x http_500: out of blocks" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_what_drives_the_objective_and_what_drives_feasibility(width: int) -> None:
    shares = [
        ("threads", 0.82, 0.9, 0.0),
        ("parallel", 0.0, 0.001, 0.4),
        *((f"p{i}", 0.0, 0.002, 0.0) for i in range(3)),
    ]
    found = tuple(
        ParameterImportance(
            parameter=name, objective=Share(alone=alone, total=total), feasible=Share(alone=0.0, total=feasible)
        )
        for name, alone, total, feasible in shares
    )
    result = result_of(SampleKind.WINNER)
    text = study_text(result.replaced(importance=found), width=width)
    assert text.startswith(study_text(result, width=width)), "it comes last"
    own = text.removeprefix(study_text(result, width=width)).strip().splitlines()
    title = "what matters (share of the variance, by a model of all measured trials; 3 more are in the report):"
    assert " ".join(" ".join(own).split()).startswith(title)
    rows = [line.split() for line in own if line.startswith(("threads", "parallel", "p0"))]
    assert rows == [["threads", "82%", "90%", "0%"], ["parallel", "0%", "0.1%", "40%"]]
    assert max(map(cell_len, own)) <= width
    assert json.loads(strict_json(result.replaced(importance=found)))["importance"][0]["objective"]["alone"] == 0.82
