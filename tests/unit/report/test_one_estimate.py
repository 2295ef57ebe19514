"""Every output shows the same number for the change of the first objective."""

import re
from typing import Any

import pytest
from rich.console import Console

from autotuner.cli.live_table import live_table
from autotuner.cli.study_page import study_text
from autotuner.cli.trial_page import trial_text
from autotuner.events.types import TrialFinished, TrialProposed
from autotuner.events.view import StudyView
from autotuner.report.exports import best_json, export_text, plain_data, strict_json
from autotuner.report.numbers import percent
from autotuner.report.result import StudyResult, study_result
from autotuner.report.terminal import result_text
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency
from autotuner.testing.samples import THROUGHPUT, StudyMaker, configuration, sample_spec
from autotuner.tuning.ending import conclude
from autotuner.tuning.stored_summary import answer_of
from support.web.reports import evidence_of, report_text

FIRST = 1
SECOND = 2
"""The winner, and a challenger that is repeated as often."""
FIXED = ConfirmSpec(repeats=3)
ADAPTIVE = ConfirmSpec()


def made(noise: float = 0.05, confirm: ConfirmSpec = FIXED) -> StudyResult:
    """One level, so that the objective is the metric itself; noisy enough for means and medians to differ."""
    spec = sample_spec(slos=(), objectives=(THROUGHPUT,)).replaced(confirm=confirm)
    spec = spec.model_copy(
        update={"workload": spec.workload.model_copy(update={"levels": (Concurrency(in_flight=16),)})}
    )
    maker = StudyMaker(spec, seed=5, noise=noise)
    maker.speed = lambda c: 400.0 + 40 * float(c.values.get("parallel", 0) or 0)
    maker.measured()
    maker.measured(configuration(parallel=8))
    maker.measured(configuration(parallel=7))
    blocks = [(0, FIRST, SECOND), (SECOND, FIRST, 0), (0, FIRST, SECOND)]
    if confirm.adaptive:
        blocks += [(FIRST, 0), (0,)]  # the last block has not measured the winner
    for numbers in blocks:
        for number in numbers:
            maker.measured(maker.trials[number].configuration, repeat_of=number)
    sample = maker.sample()
    return study_result(sample.spec, sample.state, sample.trials)


def live(result: StudyResult) -> str:
    """The live table at the end of the study."""
    view = StudyView(result.spec.name)
    for trial in result.trials:
        here: dict[str, Any] = {"study": "s", "trial": trial.number, "at": float(view.seq)}
        proposed = TrialProposed(
            **here,
            seq=view.seq + 1,
            role=trial.role,
            values=trial.configuration.values,
            repeat_of=trial.repeat_of,
        )
        finished = TrialFinished(**here, seq=view.seq + 2, state=TrialState.DONE, verdict=trial.verdict)
        view.apply([proposed, finished])
    console = Console(width=160, height=50, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(live_table(view, result.spec, now=99.0, width=160, height=48))
    return captured.get()


def of_trial(text: str, trial: Trial) -> list[str]:
    """The percentages in the rows of a table that begin with a trial's configuration."""
    rows = [line for line in text.splitlines() if trial.configuration.text in line and "│" not in line]
    return [p for line in rows for p in re.findall(r"[+-]\d[\d.,]*%", line)]


def changes(result: StudyResult) -> dict[str, list[str]]:
    """Every change of the winner's first objective, by output."""
    winner = result.trials[FIRST]
    assert result.gain is not None
    page = report_text(result)
    evidence = evidence_of(result)
    answer = answer_of(result.spec, conclude(result.spec, result.state, result.trials), result.trials)
    assert answer.change is not None
    interval = r"(?:interval|to) [+-][\d.]+%(?: to [+-][\d.]+%)?"
    return {
        "headline": re.findall(r"[+-]\d[\d.]*%", re.sub(interval, "", result_text(result).split("\n")[1])),
        "report's table": re.findall(
            rf"^\|.*\| ([+-]\d[\d.]*%) \| {re.escape(winner.configuration.text)}", page, re.MULTILINE
        ),
        "report's headline": re.findall(r"[+-]\d[\d.]*% output throughput", page)[:1],
        "comparison": [evidence.compared.places[0].figures[0].change],
        "show": of_trial(re.sub(interval, "", study_text(result, width=160)), winner),
        "show of one trial": re.findall(r"([+-]\d[\d.]*%)", trial_text(result, winner, [], width=160))[:1],
        "live table": of_trial(live(result), winner),
        "best": [percent(best_json(result)["gain"]["relative"])],
        "json": [percent(plain_data(result)["gain"]["relative"])],
        "list": [percent(answer.change)],
    }


@pytest.mark.parametrize(("noise", "confirm"), [(0.05, FIXED), (0.03, ADAPTIVE)])
def test_all_outputs_show_the_same_gain(noise: float, confirm: ConfirmSpec) -> None:
    result = made(noise, confirm)
    expected = percent(result.gain.relative) if result.gain else ""
    for output, found in changes(result).items():
        assert found, f"{output} shows no change"
        assert {f.removesuffix(" output throughput") for f in found} == {expected}, output
    assert strict_json(result) == export_text(result, "json").rstrip("\n")


def test_another_estimator_would_give_other_numbers() -> None:
    """Otherwise the test above shows nothing: medians and first measurements give other figures."""
    result = made()
    ours, theirs = (sorted(result.repeat_values(result.trials[n])) for n in (FIRST, 0))
    assert result.gain is not None
    shown = percent(result.gain.relative)
    assert percent(ours[1] / theirs[1] - 1) != shown
    firsts = [result.trials[n].verdict for n in (FIRST, 0)]
    assert firsts[0] is not None
    assert firsts[1] is not None
    assert percent((firsts[0].objectives[0] or 0) / (firsts[1].objectives[0] or 1) - 1) != shown


@pytest.mark.parametrize("number", [0, FIRST, SECOND])
def test_value_of_a_configuration_is_the_mean_of_its_repeats_everywhere(number: int) -> None:
    result = made()
    trial = result.trials[number]
    repeats = [t for t in result.trials if t.role is TrialRole.CONFIRM and t.repeat_of == number]
    mean = sum(t.verdict.objectives[0] or 0 for t in repeats if t.verdict) / len(repeats)
    if result.winner == trial:
        assert best_json(result)["objectives"]["max output_throughput"] == pytest.approx(mean)
        answer = answer_of(result.spec, conclude(result.spec, result.state, result.trials), result.trials)
        assert answer.value == pytest.approx(mean)
