"""The Pareto front in words: what is said of the winner holds."""

from collections.abc import Callable

from autotuner.report.result import StudyResult
from autotuner.report.views.pareto_front import front_text
from autotuner.tuning.ending import Ending

Sampled = Callable[[str], StudyResult]


def test_a_single_trial_is_called_the_whole_front(sampled: Sampled) -> None:
    assert front_text(sampled("several").model_copy(update={"front": (3,)})) == "Pareto front: trial 3 alone."


def test_only_a_winner_on_the_front_is_called_balanced(sampled: Sampled) -> None:
    result = sampled("several")
    assert result.ending is Ending.TRADE_OFF
    assert front_text(result).endswith("the winner is the most balanced one that is proven better.")
    assert front_text(result.model_copy(update={"front": (0, 9)})) == "Pareto front: trials 0, 9."
    kept = result.model_copy(update={"winner": result.default, "ending": Ending.NO_SIGNIFICANT_DIFFERENCE})
    assert front_text(kept).endswith("trials 0, 9, 13, 15.")
