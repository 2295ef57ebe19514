"""A study as Markdown: its answer, what that rests on, and how to reproduce it; for pull requests and tickets."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence

from autotuner.plain_text import blank_unprintable
from autotuner.report.exports import command_line
from autotuner.report.headline import objective_text
from autotuner.report.numbers import with_unit
from autotuner.report.result import StudyResult, objective_value
from autotuner.report.terminal import summary_text
from autotuner.report.views.compared_figures import ComparedFigure, ComparedFigures
from autotuner.report.views.outcome import outcome, reasons
from autotuner.report.views.study_evidence import FailureNote, StudyEvidence
from autotuner.report.views.text_table import TextTable
from autotuner.report.views.trial_change import change_text
from autotuner.report.views.window_tables import label_text
from autotuner.study.trial import Trial

MOST_TRIALS = 30
"""Trials in the table; comments on pull requests have at most 65,536 characters."""
MOST_ROWS = 30
"""Rows of other tables."""
MOST_LOG_LINES = 15
MANIFEST_TITLES = {
    "kubernetes": "Kubernetes",
    "serving-runtime": "OME runtime",
    "inference-service": "OME service",
    "compose": "Compose",
}
_SPECIAL = re.compile(r"([\\`*\[\]|])")


def markdown_report(result: StudyResult, evidence: StudyEvidence, manifests: Mapping[str, str]) -> str:
    """Renders a study as Markdown, its trials best first.

    Args:
        result: The study.
        evidence: What its answer rests on.
        manifests: The winner as files for other systems, by form.
    """
    blocks = [
        *_answer(result),
        *_listed("Caveats", evidence.caveats),
        *_compared(evidence.compared, result.reference_word),
        *_trials(result),
        *_table(evidence.parameters),
        *_table(evidence.parts),
        *_table(evidence.server),
        *_table(evidence.gpus),
        *_failures(evidence.failures),
        *_manifests(manifests),
        *_conditions(evidence),
        *_reproduce(result, evidence),
    ]
    return "\n\n".join(blocks) + "\n"


def _answer(result: StudyResult) -> Iterator[str]:
    state = f"{result.state}: {result.why}" if result.why and result.state != "done" else result.state
    yield f"# Tuning report: {text(result.spec.name)} ({text(state)})"
    if result.simulated:
        yield f"> **{text(result.simulated)}.**"
    first, *more = summary_text(result).split("\n")
    yield f"**{text(first[:1].upper() + first[1:])}**"
    if more:
        yield "\n".join(f"- {text(line)}" for line in more)
    if result.winner is not None and result.command:
        yield f"Start the {result.reference_word} with:" if result.keeps_default else "Start it with:"
        yield code(command_line(result), "sh")


def _manifests(found: Mapping[str, str]) -> Iterator[str]:
    if found:
        yield "## Manifests"
    for form, content in found.items():
        # Folded where Markdown allows it: a manifest is longer than the answer.
        yield f"<details>\n<summary>{MANIFEST_TITLES[form]}</summary>"
        yield code(content.rstrip("\n"), "yaml")
        yield "</details>"


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"## {title}"
        yield "\n".join(f"- {text(line)}" for line in lines)


def _compared(found: ComparedFigures, reference: str) -> Iterator[str]:
    if not found.places:
        return
    yield f"## Comparison with the {reference}"
    yield text(found.note)
    heads = ["metric", reference, *([found.other, "change", "effect"] if found.other else [])]
    for place in found.places:
        yield f"### {text(place.scenario)}, {text(place.level)}"
        yield rows(heads, [_cells(figure)[: len(heads)] for figure in place.figures])


def _cells(figure: ComparedFigure) -> list[str]:
    sides = (f"{side.text} ({side.spread})" if side.spread else side.text for side in (figure.default, figure.other))
    return [figure.title, *sides, figure.change, figure.effect]


def _trials(result: StudyResult) -> Iterator[str]:
    first = [(trial, rank) for trial, rank in result.ranking if trial.repeat_of is None]
    if not first:
        return
    yield "## Trials"
    heads = [
        "rank",
        "trial",
        "outcome",
        *(objective_text(o) for o in result.spec.objectives),
        "change",
        "configuration",
    ]
    yield rows([*heads, "why"], [_trial(result, trial, rank) for trial, rank in first[:MOST_TRIALS]])
    if len(first) > MOST_TRIALS:
        yield f"{len(first) - MOST_TRIALS} more trials are in the CSV export."


def _trial(result: StudyResult, trial: Trial, rank: int | None) -> list[str]:
    values = (with_unit(o.metric, objective_value(trial, i)) for i, o in enumerate(result.spec.objectives))
    why = [*reasons(trial), *([trial.cut.text] if trial.cut else [])]
    return [
        "" if rank is None else str(rank),
        str(trial.number),
        outcome(result, trial).text,
        *values,
        change_text(result, trial),
        label_text(trial),
        "; ".join(why),
    ]


def _table(table: TextTable | None) -> Iterator[str]:
    if table is None:
        return
    yield f"## {table.title}"
    if table.note:
        yield text(table.note)
    yield rows(table.heads, table.rows[:MOST_ROWS])
    left_out = table.left_out + max(0, len(table.rows) - MOST_ROWS)
    if left_out:
        yield f"{left_out} more rows are in the CSV export."


def _failures(notes: Sequence[FailureNote]) -> Iterator[str]:
    if notes:
        yield "## Failures"
    for note in notes:
        yield f"### {text(note.cause)}: {text(note.message)}"
        remedy = f" What to do: {text(note.remedy)}" if note.remedy else ""
        yield f"{note.trials[:1].upper()}{note.trials[1:]}. Fault: {note.fault}.{remedy}"
        for log in note.logs[:1]:
            yield code("\n".join(log.tail.splitlines()[-MOST_LOG_LINES:]))


def _conditions(evidence: StudyEvidence) -> Iterator[str]:
    lines = [f"{one.name}: {one.text}" for one in evidence.conditions]
    if evidence.started_at is not None:
        lines.insert(0, f"started: {_moment(evidence.started_at)}")
    if evidence.finished_at is not None:
        lines.insert(1, f"last trial finished: {_moment(evidence.finished_at)}")
    yield from _listed("Conditions", [*lines, f"trials: {evidence.counts}"])
    yield from _listed("Earlier studies that the search learned from", evidence.learned)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _reproduce(result: StudyResult, evidence: StudyEvidence) -> Iterator[str]:
    yield "## Reproduce"
    file = f"{result.spec.name}.yaml"
    yield f"Save the study file as {text(file)} and run: autotuner run {text(file)}"
    yield code(evidence.file.rstrip("\n"), "yaml")


def text(given: str) -> str:
    """Text on one line that Markdown shows as it is."""
    line = " ".join(blank_unprintable(given).split())
    return _SPECIAL.sub(r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;")


def code(given: str, language: str = "") -> str:
    """A block of code. The fence is longer than any in the text."""
    longest = max((len(found) for found in re.findall(r"`+", given)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{given}\n{fence}"


def rows(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join(f"| {' | '.join(cell if cell == '---' else text(cell) for cell in line)} |" for line in lines)
