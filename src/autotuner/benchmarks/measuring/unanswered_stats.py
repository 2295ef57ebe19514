"""Facts about requests without a complete answer: error messages, and the expected duration of an answer."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from autotuner.study.text.forms import parse_scenario

_S = 1e-9


def first_messages(columns: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """The first message of each error kind."""
    found: dict[str, str] = {}
    for kind, message in zip(columns["error"], columns["detail"], strict=True):
        if kind and message:
            found.setdefault(kind, message)
    return found


def expected_answer_s(rows: Sequence[Mapping[str, Any]], scenario: str) -> float | None:
    """Estimates how long a complete answer takes, from the pace of those that were cut off at the window's end.

    Args:
        rows: All records of the window.
        scenario: The scenario's text, which bounds the output length.

    Returns:
        Seconds, or None if no answer had two tokens.
    """
    cut = [row for row in rows if row["error"] is None and not row["complete"] and row["first_ns"] is not None]
    paced = [row for row in cut if len(row["gaps_ns"]) > 0]
    if not paced:
        return None
    # The first requests of a closed loop are shortened, and there may be no others.
    longest = max(_answer_tokens(scenario), *(row["asked_output"] for row in rows), 1)
    waits = [row["first_ns"] - row["sent_ns"] for row in paced]
    paces = [sum(row["gaps_ns"]) / len(row["gaps_ns"]) for row in paced]
    return float(median(waits) + median(paces) * max(0, longest - 1)) * _S


def _answer_tokens(scenario: str) -> int:
    """Longest typical output of a scenario, in tokens; 0 for a dataset, whose rows have their own."""
    found = [part.output for part in parse_scenario(scenario).parts if part.output is not None]
    return max((lengths.b if lengths.kind == "uniform" else lengths.a for lengths in found), default=0)
