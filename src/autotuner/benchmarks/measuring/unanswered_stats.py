"""What the records say about requests that were not answered: the server's messages, and how long answers take."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from autotuner.study.text_forms import parse_scenario

_S = 1e-9


def first_messages(columns: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """The first message of each kind of error."""
    found: dict[str, str] = {}
    for kind, message in zip(columns["error"], columns["detail"], strict=True):
        if kind and message:
            found.setdefault(kind, message)
    return found


def expected_answer_s(rows: Sequence[Mapping[str, Any]], scenario: str) -> float | None:
    """About how long one whole answer takes, in seconds, by the pace of those that were cut off with the window; None
    where their tokens tell no pace."""
    cut = [row for row in rows if row["error"] is None and not row["complete"] and row["first_ns"] is not None]
    paced = [row for row in cut if len(row["gaps_ns"]) > 0]
    if not paced:
        return None
    # the first requests of a closed loop ask for a share of the answer only, and there may be no others
    longest = max(_answer_tokens(scenario), *(row["asked_output"] for row in rows), 1)
    waits = [row["first_ns"] - row["sent_ns"] for row in paced]
    paces = [sum(row["gaps_ns"]) / len(row["gaps_ns"]) for row in paced]
    return float(median(waits) + median(paces) * max(0, longest - 1)) * _S


def _answer_tokens(scenario: str) -> int:
    """Output tokens that a scenario asks for; 0 for a dataset, whose rows say it."""
    found = parse_scenario(scenario).output
    if found is None:
        return 0
    return found.b if found.kind == "uniform" else found.a
