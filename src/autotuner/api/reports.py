"""Reports of a study: one HTML file, Markdown, or JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from autotuner.api import results, trial_plots
from autotuner.errors import AutotunerError, NotFoundError, Problem, UsageError
from autotuner.report.documents.markdown import markdown_report
from autotuner.report.documents.page import page
from autotuner.report.documents.selection import answer_trials, shown_trials
from autotuner.report.exported.options import Form
from autotuner.report.exports import best_json, command_line, plain_data, strict_json
from autotuner.report.overview import StudyOverview, overview_of_result
from autotuner.report.trial_data import trial_data
from autotuner.report.views.study_details import study_details
from autotuner.report.views.study_evidence import StudyEvidence, study_evidence
from autotuner.report.views.study_predictions import study_predictions
from autotuner.secrets import clean, clean_document
from autotuner.store import files
from autotuner.store.paths import study_folder
from autotuner.study.workload import CapacityLoad

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from autotuner.report.result import StudyResult
    from autotuner.report.views.latencies import WindowLatencies
    from autotuner.study.trial import Trial

_DETAILED = 40
"""Trials with a page of their own, besides those that the answer rests on."""
_MOST_DETAILS = 3 << 20
"""Characters of the pages of trials, their latencies and their histories."""
_MOST_WINDOWS = 12
"""Windows of a trial whose latencies are in the report."""
_LATENCIES = frozenset({"ttft", "tpot", "e2e_latency"})
"""Latencies of the report, besides those with an SLO."""


def write(url: str | None, found: StudyResult, path: Path | None, form: str) -> Path:
    """See :meth:`autotuner.api.results.ResultFiles.report`."""
    text = render(url, found, form)
    if path is not None:
        files.write_output(path, text)
        return path
    path = study_folder(found.spec.name) / f"report.{form}"
    files.write_private(path, text)
    return path


def render(url: str | None, found: StudyResult, form: str) -> str:
    """See :meth:`autotuner.api.results.ResultFiles.report_text`."""
    rendered = {"html": _html, "json": _json, "md": _markdown}.get(form)
    if rendered is None:
        why = "no such format of a report"
        raise UsageError(Problem(where="form", value=form, why=why, remedy="use html, json or md"))
    return rendered(url, found)


def _json(_: str | None, found: StudyResult) -> str:
    made = manifests(found)
    return strict_json({**plain_data(found), "manifests": made} if made else found) + "\n"


def manifests(found: StudyResult) -> dict[str, str]:
    """The winner as files for other systems, by form: those that need nothing but the study. Without a cluster."""
    made = {}
    for form in Form if found.winner is not None else ():
        with suppress(AutotunerError):  # most forms need an image, which a study of local processes does not name
            made[form.value] = clean_document(results.manifest(found, form.value, {}).text)
    return made


def _markdown(url: str | None, found: StudyResult) -> str:
    return _text(found, _subject(url, found).evidence)


def _html(url: str | None, found: StudyResult) -> str:
    subject = _subject(url, found)
    title = f"{found.spec.name}: tuning report"
    return page(title, _text(found, subject.evidence), _page_data(subject))


def _text(found: StudyResult, evidence: StudyEvidence) -> str:
    return clean_document(markdown_report(found, evidence, manifests(found)))


@dataclass(frozen=True)
class _Subject:
    """What a report is about."""

    url: str | None
    result: StudyResult
    overview: StudyOverview
    is_stored: bool
    """Whether the result is from the store, which then has the files of its trials."""
    evidence: StudyEvidence


def _subject(url: str | None, found: StudyResult) -> _Subject:
    stored = None
    with suppress(NotFoundError):
        stored = results.overview(url, found.spec.name)
    overview = stored or overview_of_result(found)
    return _Subject(url, found, overview, stored is not None, study_evidence(found, overview))


def page_data(url: str | None, found: StudyResult) -> dict[str, Any]:
    """What the page of a report shows: the server's answers about the study, by their addresses below its own.

    Args:
        url: The store, for what is not part of a result.
        found: The study.

    Returns:
        Plain data without secrets. ``left_out`` says what a long study has besides; ``positions`` then is the place of
        each trial in the JSON of the study.
    """
    return _page_data(_subject(url, found))


def _page_data(subject: _Subject) -> dict[str, Any]:
    import autotuner

    found = subject.result
    shown = shown_trials(found)
    answers = _answers_about_study(subject, shown)
    detailed = _answers_about_trials(found)
    if subject.is_stored:
        detailed |= _answers_from_files(subject.url, found, room=_MOST_DETAILS - _size(detailed))
    few = len(shown) < len(found.trials)
    return {
        "study": found.spec.name,
        "version": autotuner.__version__,
        "left_out": _left_out(found, shown),
        "positions": {str(t.number): i for i, t in enumerate(found.trials) if t.number in shown} if few else None,
        "answers": {**answers, **detailed},
    }


def _answers_about_study(subject: _Subject, shown: Collection[int]) -> dict[str, Any]:
    found = subject.result
    # The time of reading is not now: the same study gives the same file.
    details = study_details(found, subject.overview, now=subject.overview.updated_at)
    predictions = study_predictions(found)
    answers: dict[str, Any] = {
        "details": details.model_copy(update={"trials": tuple(r for r in details.trials if r.number in shown)}),
        "predictions": predictions.model_copy(
            update={"trials": tuple(p for p in predictions.trials if p.trial in shown)}
        ),
        "evidence": subject.evidence,
        "best": best_json(found),
    }
    if found.winner is not None:
        answers["command"] = f"{command_line(found)}\n"
        answers |= {f"manifest?form={form}": text for form, text in manifests(found).items()}
    return {place: _clean(answer) for place, answer in answers.items()}


def _answers_about_trials(found: StudyResult) -> dict[str, Any]:
    """The pages of the most important trials, as far as there is room."""
    others = [trial for trial, _ in found.ranking if trial.repeat_of is None]
    numbers = list(dict.fromkeys(trial.number for trial in (*answer_trials(found), *others)))
    answers: dict[str, Any] = {}
    size = 0
    for number in numbers[:_DETAILED]:
        trial = found.trial(number)
        log = trial.failure.log_tail.splitlines() if trial.failure is not None else []
        page_of = {
            f"trials/{number}": _clean(trial_data(found, trial, ())),
            f"trials/{number}/log": _clean({"trial": number, "lines": log}),
        }
        size += _size(page_of)
        if size > _MOST_DETAILS:
            break
        answers |= page_of
    return answers


def _answers_from_files(url: str | None, found: StudyResult, *, room: int) -> dict[str, Any]:
    """Latencies and histories of the best and the default, from the files of their trials, as far as there is room."""
    answers: dict[str, Any] = {}
    name = found.spec.name
    shown = {trial.number: trial for trial in (found.best, found.winner, found.default) if trial is not None}
    for trial in shown.values():
        for place, read in _reads(url, name, trial):
            answer = {place: _clean(read())}
            room -= _size(answer)
            if room < 0:
                return answers
            answers |= answer
    return answers


def _reads(url: str | None, name: str, trial: Trial) -> Iterator[tuple[str, Callable[[], object]]]:
    """The addresses of what the files of a trial say, with what reads it, the most important one first."""
    for window in _windows(trial):
        place = f"trials/{trial.number}/latencies?window={window}"
        yield place, partial(_latencies, url, name, trial.number, window)
    yield f"trials/{trial.number}/history", partial(trial_plots.history, url, name, trial.number)


def _windows(trial: Trial) -> list[str]:
    """Places of the windows whose latencies are shown: the certified load of each capacity search, and all others."""
    certified = [
        f"capacities.{i}.levels.{j}"
        for i, found in enumerate(trial.capacities)
        for j, level in enumerate(found.levels)
        if level.load == found.certified
    ]
    measured = [f"measurements.{i}" for i, m in enumerate(trial.measurements) if not isinstance(m.level, CapacityLoad)]
    return [*certified, *measured][:_MOST_WINDOWS]


def _latencies(url: str | None, name: str, number: int, window: str) -> WindowLatencies:
    found = trial_plots.latencies(url, name, number, window)
    kept = tuple(one for one in found.latencies if one.slos or one.metric in _LATENCIES)
    return found.model_copy(update={"latencies": kept})


def _left_out(found: StudyResult, shown: Collection[int]) -> list[str]:
    if len(shown) == len(found.trials):
        return []
    return [
        f"This report has {len(shown):,} of {len(found.trials):,} trials: those that the answer rests on, the best, "
        f"and an even selection of the others. All of them: autotuner export {found.spec.name} --as csv"
    ]


def _clean(answer: object) -> Any:
    return clean(plain_data(answer))


def _size(answers: object) -> int:
    return len(json.dumps(answers))
