"""The part of the client that makes files of results: reports, exports, manifests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from autotuner.api import results

if TYPE_CHECKING:
    from autotuner.api.options import ExportForm, ManifestForm, ManifestOptions, ReportForm
    from autotuner.report.exported.render import Manifest
    from autotuner.report.result import StudyResult


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
        return results.manifest(self._result(study), form, options)

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
            UsageError: If the study is not stored, or there is no such form.
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
            UsageError: If the study is not stored, or there is no such form.
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
            UsageError: If the study is not stored, or there is no such form.

        Example:
            >>> autotuner.export_result("chat-8b", "csv").startswith("trial,role")
            True
        """
        return results.export(self._result(study), form)

    def _result(self, study: str | StudyResult) -> StudyResult:
        return results.load(self._url, study) if isinstance(study, str) else study
