"""What a capacity search found, in sentences."""

import re
from collections.abc import Iterator

from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.capacity.units import load_text
from autotuner.study.measurement import NOT_STEADY, OVERLOADED, Measurement
from autotuner.study.workload import LoadUnit
from autotuner.tuning.trials.no_answer_failure import errors_text


def capacity_answer(result: CapacityResult) -> list[str]:
    """Returns the bracket in words, or which end is missing and why."""
    unit = result.unit
    lines = []
    if result.cut:
        lines.append(f"ended early: {result.certified_missing}")
    elif result.certified is None:
        lines.append(f"no load certified: {result.certified_missing}{_too_few(result)}")
    else:
        lines.append(f"certified: {load_text(unit, result.certified)}{_how_sure(result)}")
    if result.refuted is None:
        lines.append(f"no load refuted above it: {result.refuted_missing}")
    else:
        lines.append(f"refuted:   {load_text(unit, result.refuted)}")
    if result.certified and result.refuted and not result.precise:
        ratio = result.refuted / result.certified - 1
        lines.append(f"the ends are {ratio * 100:.0f}% apart, not {result.precision * 100:g}%: {_why_wide(result)}")
    if not result.monotone:
        lines.append("a lower load was refuted: the curve is not monotone, see the levels")
    lines.append(f"{len(result.levels)} levels, {result.requests} requests")
    return lines


def level_line(level: CapacityLevel, unit: LoadUnit) -> str:
    """Returns one line about a finished level."""
    text = f"{load_text(unit, level.load)}: {level.verdict} after {level.measurement.arrived} requests"
    reason = refuted_by(level)
    return f"{text} ({reason})" if reason else text


def level_notes(result: CapacityResult) -> list[str]:
    """Returns what was wrong with the requests of the levels, the same at several levels once."""
    found: dict[str, tuple[str, str, int]] = {}
    for level in result.levels:
        for text in _notes(level.measurement):
            kind = re.sub(r"[\d.]+", "#", text)
            load, first, count = found.get(kind, (load_text(result.unit, level.load), text, 0))
            found[kind] = (load, first, count + 1)
    return [
        f"{load}: {text}" + (f" (and at {count - 1} other level{'' if count == 2 else 's'})" if count > 1 else "")
        for load, text, count in found.values()
    ]


def _notes(measured: Measurement) -> Iterator[str]:
    if measured.errors:
        yield f"{measured.failed} of {measured.arrived} requests failed ({errors_text(measured)})"
    if measured.self_check.client_limited:
        yield f"client-limited: {'; '.join(measured.self_check.reasons)}"
    # A level may be decided long before its throughput is steady, and saturation is its verdict.
    yield from (text for text in measured.warnings if not text.startswith((NOT_STEADY, OVERLOADED)))


def refuted_by(level: CapacityLevel) -> str:
    """Returns the SLO that refuted a level; empty if none did."""
    decided_by = level.decision.decided_by
    return "" if level.verdict != "refuted" or decided_by is None else level.plan.bounds[decided_by].slo


def _too_few(result: CapacityResult) -> str:
    """Which SLO takes more requests than any level without a verdict had; empty if none does."""
    from autotuner.capacity.level_result import Missing
    from autotuner.capacity.share_test import floor_requests

    open_levels = [level for level in result.levels if level.verdict == "open" and level.plan.certify > 0]
    if result.certified_missing != Missing.BUDGET or not open_levels:
        return ""
    longest = max(open_levels, key=lambda level: level.measurement.arrived)
    counted = zip(longest.plan.bounds, longest.decision.requests, strict=True)
    needs = [(floor_requests(b.allowed), b.slo, n) for b, n in counted if b.allowed is not None]
    fewest, slo, had = max(needs, default=(0, "", 0))
    return f"; {slo} takes at least {fewest} requests at one load, and had {had}" if had < fewest else ""


def _why_wide(result: CapacityResult) -> str:
    """Why a search with both ends stopped before they were close enough."""
    from autotuner.capacity.level_result import Missing

    if result.interrupted:
        return Missing.INTERRUPTED
    return Missing.UNDECIDED if result.undecided else Missing.BUDGET


def _how_sure(result: CapacityResult) -> str:
    if result.confidence is not None:
        return f" with {result.confidence * 100:g}% confidence"
    trace = None if result.search is None else result.search.trace
    return "" if trace is None else f", by one replay of {trace.requests} requests"
