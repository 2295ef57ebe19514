"""Output of ``list``: each study with its progress, recommendation and age."""

from collections.abc import Sequence

from rich.text import Text

from autotuner.cli.columns import Column, table_text
from autotuner.cli.texts import age_text
from autotuner.plain_text import marked_line
from autotuner.report.numbers import percent, with_unit
from autotuner.report.overview import StudyOverview


def studies_text(studies: Sequence[StudyOverview], *, now: float, filtered: bool, width: int | None = None) -> str:
    """Renders one row per study; ``now`` is in seconds since the epoch."""
    if not studies:
        return "no matching studies" if filtered else "no studies yet; to create a study file: autotuner init"
    words = " or ".join(sorted({s.spec.reference_word for s in studies}, reverse=True))
    columns = [
        Column("study"),
        Column("state"),
        Column("launches", align="right", drop=4),
        Column("recommended", wraps=True),
        Column(f"vs {words}", align="right"),
        Column("objective", align="right", drop=5),
        Column("engine", drop=3),
        Column("updated", align="right", drop=2),
        Column("file", drop=9),
    ]
    return table_text(columns, [_row(study, now) for study in studies], width=width)


def _row(study: StudyOverview, now: float) -> list[Text]:
    objective = study.spec.objectives[0]
    answer = study.answer
    style = {"running": "cyan", "queued": "blue", "cut off": "yellow", "failed": "red"}.get(study.standing, "")
    proven = answer.ending.proven
    return [
        Text(study.name),
        Text(f"queued #{study.position}" if study.standing == "queued" else study.standing, style=style),
        Text(study.progress),
        Text(marked_line(answer.configuration) or answer.ending.value.replace("_", " "), style="" if proven else "dim"),
        Text("" if answer.change is None else percent(answer.change), style="bold green" if proven else ""),
        Text(with_unit(objective.metric, answer.value) if answer.value is not None else ""),
        Text(", ".join(study.spec.engine_kinds)),
        Text(age_text(now - study.updated_at)),
        Text(marked_line(study.source)),
    ]
