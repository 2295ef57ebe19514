"""Verdicts, ranks and proofs from measurements, as pure functions without I/O.

A score must never reward what an operator would not want: errors, a skipped load level, a value that was not measured.
``docs/explanation/search-and-scoring.md`` describes the rules.
"""

from autotuner.scoring.gain import (
    LAUNCH_NOISE,
    MARGIN,
    Effect,
    Gain,
    change,
    gain,
    noise_of,
    paired_gain,
    student_t,
)
from autotuner.scoring.racing import Lost, lost
from autotuner.scoring.ranking import costs, log_cost, pareto, rank, rank_key, ties, worsened
from autotuner.scoring.score import score

__all__ = [
    "LAUNCH_NOISE",
    "MARGIN",
    "Effect",
    "Gain",
    "Lost",
    "change",
    "costs",
    "gain",
    "log_cost",
    "lost",
    "noise_of",
    "paired_gain",
    "pareto",
    "rank",
    "rank_key",
    "score",
    "student_t",
    "ties",
    "worsened",
]
