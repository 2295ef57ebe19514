"""From measurements to verdicts, ranks and proofs; pure functions of their arguments, no I/O.

A score must never reward what an operator would not want: errors, a level that was skipped, a number that was not
measured. The rules are in ``docs/explanation/search-and-scoring.md``.
"""

from autotuner.scoring.gain import Gain, gain, noise_of
from autotuner.scoring.ranking import pareto, rank, rank_key, ties, worsened
from autotuner.scoring.score import score

__all__ = ["Gain", "gain", "noise_of", "pareto", "rank", "rank_key", "score", "ties", "worsened"]
