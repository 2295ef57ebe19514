"""Fields of the load generator's spec that describe a scenario."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotuner.benchmarks.loadgen.spec import (
    Calibration,
    Conversations,
    Documents,
    Images,
    Lengths,
    Part,
    Pauses,
    Prefixes,
)
from autotuner.study import workload as study
from autotuner.study.workload import Scenario, SharedPrefixes, TokenLengths, Workload

KnownCalibration = Callable[[Scenario], Calibration | None]


Rows = tuple[Mapping[str, Any], ...] | None


def scenario_fields(
    scenario: Scenario, workload: Workload, model: str, known: KnownCalibration, rows: Sequence[Rows]
) -> dict[str, Any]:
    """Fields of a :class:`~autotuner.benchmarks.loadgen.spec.WorkerSpec`.

    Args:
        scenario: What is sent.
        workload: The workload that it belongs to.
        model: Name of the served model.
        known: The calibration of a scenario that is not a mix, if it has been measured before.
        rows: Rows of a dataset, for each part of a mix or for the only kind of requests.
    """
    if scenario.mix:
        return {
            "model": model,
            "parts": tuple(
                _part(p.weight, p.scenario, workload, model, known, own)
                for p, own in zip(scenario.mix, rows, strict=True)
            ),
        }
    return {
        "model": scenario.model or model,
        "input": _lengths(scenario.input),
        "output": _lengths(scenario.output),
        "prefix_tokens": _prefix_tokens(scenario, workload),
        "prefixes": _prefixes(scenario.prefixes),
        "conversations": _conversations(scenario.conversations),
        "documents": _documents(scenario.documents),
        "images": _images(scenario.images),
        "calibration": known(scenario),
        "rows": rows[0],
    }


def priming_notes(scenario: Scenario, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks about shared prefixes that the server did not process before the window."""
    counts = [part.prefixes.count for part in scenario.parts if part.prefixes]
    return tuple(
        f"{primed} of {count} shared prefixes were sent before the window: the server failed the next one"
        for primed, count in zip(result.get("primed", ()), counts, strict=False)
        if primed < count
    )


def _part(
    weight: float, scenario: Scenario, workload: Workload, model: str, known: KnownCalibration, rows: Rows
) -> Part:
    if rows is None and (scenario.input is None or scenario.output is None):
        raise ValueError(f"{scenario.text} cannot be part of a mix")
    return Part(
        weight=weight,
        model=scenario.model or model,
        input=_lengths(scenario.input),
        output=_lengths(scenario.output),
        rows=rows,
        prefix_tokens=_prefix_tokens(scenario, workload),
        prefixes=_prefixes(scenario.prefixes),
        calibration=known(scenario),
    )


def _prefix_tokens(scenario: Scenario, workload: Workload) -> int:
    return scenario.prefixes.tokens if scenario.prefixes else workload.prefix_tokens


def _prefixes(prefixes: SharedPrefixes | None) -> Prefixes | None:
    return Prefixes(prefixes.count, prefixes.zipf) if prefixes else None


def _images(found: study.Images | None) -> Images | None:
    return Images(found.width, found.height, found.count) if found else None


def _documents(found: study.Documents | None) -> Documents | None:
    return Documents(found.count, found.tokens, found.query_tokens) if found else None


def _conversations(conversations: study.Conversations | None) -> Conversations | None:
    if conversations is None:
        return None
    think = conversations.think
    return Conversations(
        turns=_lengths(conversations.turns),
        think=Pauses(think.kind, think.a, think.b),
        later=_lengths(conversations.later),
    )


def _lengths(lengths: TokenLengths | None) -> Lengths | None:
    return Lengths(lengths.kind, lengths.a, lengths.b) if lengths else None
