"""The Pareto front of a study in words."""

from autotuner.report.result import StudyResult
from autotuner.tuning.ending import Ending


def front_text(result: StudyResult) -> str:
    """The trials on the front, as a sentence, and the place of the winner among them if it is one of them."""
    numbers = sorted(result.front)
    if len(numbers) == 1:
        return f"Pareto front: trial {numbers[0]} alone."
    text = f"Pareto front: trials {', '.join(map(str, numbers))}"
    if result.keeps_default or result.winner is None or result.winner.number not in numbers:
        return f"{text}."
    proven = " that is proven better" if result.ending in {Ending.PROVEN_BETTER, Ending.TRADE_OFF} else ""
    return f"{text}; the winner is the most balanced one{proven}."
