"""Output of ``list``: each study with its progress, recommendation and age."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatch

from rich.text import Text

from autotuner.cli.columns import Column, table_text
from autotuner.cli.results import SortBy
from autotuner.cli.texts import age_text
from autotuner.plain_text import marked_line
from autotuner.report.numbers import percent, with_unit
from autotuner.report.overview import StudyOverview


def filtered_and_sorted(
    studies: Sequence[StudyOverview], *, sort: SortBy, state: str | None, engine: str | None, match: str | None
) -> list[StudyOverview]:
    """Returns the studies that pass all filters, in order. ``match`` is a pattern for names, with ``*`` and ``?``."""
    found = [
        s
        for s in studies
        if (state is None or s.standing == state or s.state == state)
        and (engine is None or engine in s.spec.engine_kinds)
        and (match is None or fnmatch(s.name, match))
    ]
    return sorted(found, key=_KEYS[sort])


_KEYS: dict[SortBy, Callable[[StudyOverview], tuple[object, ...]]] = {
    SortBy.AGE: lambda s: (-s.updated_at, s.name),
    SortBy.NAME: lambda s: (s.name,),
    SortBy.STATE: lambda s: (s.standing, -s.updated_at),
    SortBy.GAIN: lambda s: (-_gain(s), s.name),
    SortBy.LAUNCHES: lambda s: (-s.launches, s.name),
}


def _gain(study: StudyOverview) -> float:
    """The change with a sign by which more is better; minus infinity if it is unknown."""
    change = study.answer.change
    if change is None:
        return float("-inf")
    return change if study.spec.objectives[0].direction.value == "max" else -change


def studies_text(studies: Sequence[StudyOverview], *, now: float, filtered: bool, width: int | None = None) -> str:
    """Renders one row per study; ``now`` is in seconds since the epoch."""
    if not studies:
        return "no matching studies" if filtered else "no studies yet; to create a study file: autotuner init"
    columns = [
        Column("study"),
        Column("state"),
        Column("launches", align="right", drop=4),
        Column("recommended", wraps=True),
        Column("vs default", align="right"),
        Column("objective", align="right", drop=5),
        Column("engine", drop=3),
        Column("updated", align="right", drop=2),
        Column("file", drop=9),
    ]
    return table_text(columns, [_row(study, now) for study in studies], width=width)


def _row(study: StudyOverview, now: float) -> list[Text]:
    objective = study.spec.objectives[0]
    answer = study.answer
    style = {"running": "cyan", "cut off": "yellow", "failed": "red"}.get(study.standing, "")
    proven = answer.ending.proven
    return [
        Text(study.name),
        Text(study.standing, style=style),
        Text(study.progress),
        Text(marked_line(answer.configuration) or answer.ending.value.replace("_", " "), style="" if proven else "dim"),
        Text("" if answer.change is None else percent(answer.change), style="bold green" if proven else ""),
        Text(with_unit(objective.metric, answer.value) if answer.value is not None else ""),
        Text(", ".join(study.spec.engine_kinds)),
        Text(age_text(now - study.updated_at)),
        Text(marked_line(study.source)),
    ]
