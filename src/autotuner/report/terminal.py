"""The answer as plain text: headline, command, failures, and next commands."""

from collections.abc import Sequence
from pathlib import Path

from autotuner.plain_text import marked_line
from autotuner.report.engine_defaults import engine_lines
from autotuner.report.exports import command_line
from autotuner.report.headline import summary_lines
from autotuner.report.result import StudyResult, trial_label
from autotuner.study.trial import Trial, TrialState


def summary_text(result: StudyResult) -> str:
    """Returns the headline, its qualifications and the defaults of other engines, one line each."""
    return "\n".join([*summary_lines(result), *engine_lines(result)])


def marked_summary(result: StudyResult) -> str:
    """Returns the summary, after a warning if numbers are simulated."""
    warning = result.simulated
    return f"{warning}.\n{summary_text(result)}" if warning else summary_text(result)


def result_text(result: StudyResult, *, report: Path | None = None, program: str = "autotuner") -> str:
    """Returns the final output of ``run``; ``program`` is how the user invoked the command."""
    name = result.spec.name
    lines = ["", marked_summary(result)]
    if result.winner is not None and result.command:
        what = f"the {result.spec.reference_word}" if result.keeps_default else "it"
        lines += [
            "",
            f"start {what} with (add {' and '.join(result.winner.address_flags)}):",
            f"  {command_line(result)}",
        ]
    lines += failures_text(result.trials)
    if result.state != "done":
        lines += ["", f"study {result.state}: {result.why}" if result.why else f"study {result.state}"]
    next_steps = [f"report: {report}   (open in a browser)"] if report else []
    useful = [f"show {name}", *([f"best {name}"] if result.winner is not None else []), f"export {name} --as csv"]
    next_steps.append("next:   " + "  ·  ".join(f"{program} {command}" for command in useful))
    return "\n".join([*lines, "", *next_steps])


def failures_text(trials: Sequence[Trial]) -> list[str]:
    """Lists failed configurations with cause and remedy."""
    failed = [t for t in trials if t.state is TrialState.FAILED and t.failure]
    if not failed:
        return []
    lines = ["", "failed configurations:"]
    for trial in failed:
        failure = trial.failure
        if failure is not None:
            cure = f"; {failure.remedy}" if failure.remedy else ""
            what = marked_line(trial_label(trial))
            lines.append(f"  trial {trial.number}, {what}: {marked_line(failure.message)}{cure}")
    return lines
