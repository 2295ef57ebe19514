"""Stored results, overviews and logs, and results in other forms.

The module imports little, because it determines the start-up time that ``benchmarks/startup.py`` measures; what only
some functions need is imported by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from autotuner.errors import AutotunerError, NotFoundError, Problem, UsageError, did_you_mean
from autotuner.secrets import clean_document, clean_text
from autotuner.store import ReadStore, StudyRecord, files, open_to_read
from autotuner.store.paths import trial_folder
from autotuner.study.launch import SERVER_LOG
from autotuner.study.trial import Trial
from autotuner.tuning.ending import environment_fault
from autotuner.tuning.run_liveness import as_they_stand, living_holders, state_as_it_stands

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from autotuner.api.options import ExportForm, ManifestForm, ManifestOptions, ReportForm
    from autotuner.report.exported.render import Manifest
    from autotuner.report.overview import StudyOverview
    from autotuner.report.result import StudyResult

_LOG_BYTES = 8 << 20
"""Bytes that are read from the end of a log at most, whatever the number and length of its lines."""


@dataclass(frozen=True)
class ServerLog:
    """The end of a trial's server log."""

    trial: int
    """Number of the trial."""
    path: Path
    lines: list[str]
    """Last lines, without secrets."""


def record_of(store: ReadStore, name: str) -> StudyRecord:
    """A stored study by its name, or by the path of its file. Raises ``UsageError`` if it is not stored."""
    record = store.studies.get(name)
    if record is None and name.endswith((".yaml", ".yml", ".json")) and files.exists(Path(name)):
        from autotuner.api.study_input import read_study

        name = read_study(name).spec.name
        record = store.studies.get(name)
    if record is None:
        known = [r.name for r in store.studies.all()]
        remedy = did_you_mean(name, known) or "autotuner run"
        raise NotFoundError.at("study", "not in the store", value=name, remedy=remedy)
    return record


def _as_it_stands(store: ReadStore, study: StudyRecord) -> StudyRecord:
    return study.replaced(state=state_as_it_stands(store, study.state, study.owner_id))


def is_stored(url: str | None, name: str) -> bool:
    """See :meth:`autotuner.api.stored.StoredStudies.is_stored`."""
    with open_to_read(url) as store:
        return store.studies.holder(name)[0]


def record(url: str | None, name: str) -> StudyRecord:
    """See :meth:`autotuner.api.stored.StoredStudies.study`."""
    with open_to_read(url) as store:
        return _as_it_stands(store, record_of(store, name))


def load(url: str | None, name: str) -> StudyResult:
    """See :meth:`autotuner.api.stored.StoredStudies.load`."""
    with open_to_read(url) as store:
        found = record_of(store, name)
        trials = as_they_stand(store, found.owner_id, store.trials.all(found.name))
        return result_of(_as_it_stands(store, found), trials)


def result_of(found: StudyRecord, trials: Sequence[Trial]) -> StudyResult:
    """The result of a study from its record and all of its trials."""
    from autotuner.report.result import study_result
    from autotuner.tuning.stored_summary import stored_findings

    summary = found.summary or {}
    return study_result(
        found.spec,
        found.state,
        trials,
        why=str(summary.get("why", "")),
        environment_fault=environment_fault(summary),
        beginning=found.beginning,
        findings=stored_findings(summary),
    )


def studies(url: str | None) -> list[StudyRecord]:
    """See :meth:`autotuner.api.stored.StoredStudies.studies`."""
    with open_to_read(url) as store:
        found = [_as_it_stands(store, one) for one in store.studies.all()]
    return sorted(found, key=lambda r: r.updated_at, reverse=True)


def overview(url: str | None, name: str) -> StudyOverview:
    """See :meth:`autotuner.api.stored.StoredStudies.overview`."""
    with open_to_read(url) as store:
        counts = store.trials.finished_counts()
        return _overview(store, record_of(store, name), living_holders(store), counts, positions(store))


def positions(store: ReadStore) -> dict[str, int]:
    """Places of the studies that wait in the queue."""
    return {entry.study: entry.position for entry in store.queue.all() if entry.position is not None}


def _overview(
    store: ReadStore,
    study: StudyRecord,
    living: Collection[str],
    counts: Mapping[str, int],
    places: Mapping[str, int],
) -> StudyOverview:
    from autotuner.report.overview import overview

    return overview(
        study,
        running=study.owner_id in living,
        launches=counts.get(study.name, 0),
        position=places.get(study.name),
        newest=None if study.state == "done" else store.events.last(study.name, "trial_proposed"),
        trials=partial(store.trials.all, study.name),
    )


def server_log(url: str | None, name: str, trial: int | None, *, lines: int) -> ServerLog:
    """See :meth:`autotuner.api.stored.StoredStudies.server_log`."""
    with open_to_read(url) as store:
        found = record_of(store, name)
        launched = {t.number: t.launched_by for t in store.trials.all(found.name)}
    numbers = list(launched)
    if not numbers or (trial is not None and trial not in numbers):
        known = f"it has trials 0 to {numbers[-1]}" if numbers else "it has no trials yet"
        raise NotFoundError.at(f"trial of {found.name}", "no such trial", value=str(trial), remedy=known)
    number = numbers[-1] if trial is None else trial
    path = trial_folder(found.name, launched[number]) / SERVER_LOG
    if not path.exists():
        raise AutotunerError(f"trial {number} of {found.name} has no server log at {path}")
    return ServerLog(trial=number, path=path, lines=_last_lines(path, lines))


def log_tail(trial: Trial, *, lines: int) -> list[str]:
    """See :meth:`autotuner.api.stored.StoredStudies.log_tail`."""
    path = trial_folder(trial.study, trial.launched_by) / SERVER_LOG
    if lines < 1:
        return []
    if path.exists():
        return _last_lines(path, lines)
    return trial.failure.log_tail.splitlines()[-lines:] if trial.failure else []


def _last_lines(path: Path, lines: int) -> list[str]:
    from autotuner.deployers.shared.log_tail import tail

    return clean_text(tail(path, lines, limit=_LOG_BYTES)).splitlines()[-lines:]


def manifest(found: StudyResult, form: str, options: Mapping[str, Any]) -> Manifest:
    """See :meth:`ResultFiles.manifest`."""
    from autotuner.api.blocking import blocking
    from autotuner.plugins import loading
    from autotuner.report.exported.options import Form, parse_options
    from autotuner.report.exported.render import manifest_of
    from autotuner.report.exported.winner import winner_of

    given = dict(options)
    if given.get("start_from") is not None:
        given["start_from"] = files.read_text(Path(given["start_from"]), remedy="name a file with an OME runtime")
    read = parse_options(form, given)
    spec = found.spec if found.winner is None else found.spec.of(found.winner.configuration)
    deployer = loading.deployer(spec.deploy)
    model = blocking(lambda: deployer.locate(found.spec.model))
    settings = deployer.settings
    winner = winner_of(found, model, image_of=deployer.image, settings=settings, server=read.server)
    return manifest_of(winner, Form(form), read)


def write_text(path: Path, text: str) -> None:
    """Writes an output without secrets; see :func:`autotuner.store.files.write_output`."""
    files.write_output(path, clean_document(text))


def export(found: StudyResult, form: str) -> str:
    """See :meth:`ResultFiles.export`."""
    from autotuner.report.exports import export_text

    try:
        return export_text(found, form)
    except ValueError as error:
        raise UsageError(Problem.refused("form", error, value=form, remedy="use json, csv or older")) from None


class ResultFiles:
    """Results of the studies of one store in forms for others."""

    _url: str | None

    def manifest(self, study: str | StudyResult, form: ManifestForm, **options: Unpack[ManifestOptions]) -> Manifest:
        """The winner as a file for another system.

        Args:
            study: A study's name or its result.
            form: ``kubernetes``, ``serving-runtime``, ``inference-service`` or ``compose``.
            **options: Options of ``autotuner best``, with underscores; ``start_from`` is the path of a file.

        Returns:
            The file as ``text``, its ``objects``, and ``notes`` on what it does not contain.

        Raises:
            UsageError: If an option is wrong or does not apply to the form, or no trial is feasible.
            AutotunerError: If the engine would now start a server other than the measured one.

        Example:
            >>> made = autotuner.render_manifest("chat-8b", "kubernetes", image="registry.example/llama:1")
            >>> [found["kind"] for found in made.objects]
            ['Deployment', 'Service']
        """
        return manifest(self._result(study), form, options)

    def report(self, study: str | StudyResult, path: str | Path | None = None, form: ReportForm = "html") -> Path:
        """Write a report.

        Args:
            study: A study's name or its result.
            path: The file to write, ``-`` for stdout; None: ``report.html`` in the study's folder, with the form as its
                suffix.
            form: ``html``, one file that needs no server and no network; ``md``, Markdown for pull requests and
                tickets; or ``json``, what ``show --json`` prints.

        Returns:
            The path of the report.

        Raises:
            UsageError: If the study is not stored or the form is unknown.
            EnvironmentFaultError: If the web UI, which draws the HTML report, is not part of this installation.
            AutotunerError: If the file cannot be written.

        Example:
            >>> autotuner.write_report("chat-8b", "report.html").stat().st_size > 10_000
            True
        """
        from autotuner.api import reports

        return reports.write(self._url, self._result(study), None if path is None else Path(path), form)

    def report_text(self, study: str | StudyResult, form: ReportForm = "html") -> str:
        """A report as text, without writing it.

        Args:
            study: A study's name or its result.
            form: As in :meth:`report`.

        Returns:
            The document, without secrets.

        Raises:
            UsageError: If the study is not stored or the form is unknown.
            EnvironmentFaultError: If the web UI, which draws the HTML report, is not part of this installation.

        Example:
            >>> autotuner.open().report_text("chat-8b", "md").startswith("# Tuning report: chat-8b")
            True
        """
        from autotuner.api import reports

        return reports.render(self._url, self._result(study), form)

    def export(self, study: str | StudyResult, form: ExportForm = "json") -> str:
        """All results of a study as text.

        Args:
            study: A study's name or its result.
            form: ``json``, ``csv`` (one row per measurement), or ``older``, the results JSON of the older tool.

        Returns:
            The text, without secrets.

        Raises:
            UsageError: If the study is not stored or the form is unknown.

        Example:
            >>> autotuner.export_result("chat-8b", "csv").startswith("trial,role")
            True
        """
        return export(self._result(study), form)

    def _result(self, study: str | StudyResult) -> StudyResult:
        return load(self._url, study) if isinstance(study, str) else study
