"""The report of a result as text."""

from autotuner.report.documents.markdown import markdown_report
from autotuner.report.overview import overview_of_result
from autotuner.report.result import StudyResult
from autotuner.report.views.study_evidence import StudyEvidence, study_evidence


def evidence_of(result: StudyResult) -> StudyEvidence:
    """What the answer of a result that is not stored rests on."""
    return study_evidence(result, overview_of_result(result))


def report_text(result: StudyResult) -> str:
    """The Markdown report of a result that is not stored."""
    return markdown_report(result, evidence_of(result), {})
