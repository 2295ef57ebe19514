"""The HTML report: one self-contained file, no scripts needed, no request to anywhere."""

from html import escape

from autotuner.report.exports import command_line
from autotuner.report.numbers import with_unit
from autotuner.report.result import StudyResult, objective_value
from autotuner.report.terminal import summary_text
from autotuner.study.objective import metric_text


def html_report(result: StudyResult) -> str:
    """The report as an HTML document."""
    name = escape(result.spec.name)
    command = f"<pre>{escape(command_line(result))}</pre>" if result.winner else ""
    heads = "".join(f"<th>{escape(metric_text(o.metric, o.statistic))}</th>" for o in result.spec.objectives)
    rows = ""
    for trial in result.trials:
        values = "".join(
            f"<td>{escape(with_unit(o.metric, objective_value(trial, i)))}</td>"
            for i, o in enumerate(result.spec.objectives)
        )
        rows += (
            f"<tr><td>{trial.number}</td><td>{trial.role.value}</td><td>{escape(trial.configuration.text)}</td>{values}"
            f"<td>{escape(trial.failure.message) if trial.failure else ''}</td></tr>\n"
        )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><body>'
        f"<h1>{name}</h1><p>{escape(summary_text(result))}</p>{command}"
        f"<table><tr><th>trial</th><th>role</th><th>what is set</th>{heads}<th>failure</th></tr>{rows}</table></body></html>"
    )
