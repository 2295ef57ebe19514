"""What a proof may cost and decide, before anything is launched."""

import math

from autotuner.scoring.anytime import factor
from autotuner.study.check import Check
from autotuner.study.spec import StudySpec
from autotuner.tuning.proof.blocks import most_launches
from autotuner.tuning.proof.decision import WITHOUT_DEFAULT, fewest_blocks, shared_alpha

_GAIN = 0.05


def fewest_launches(spec: StudySpec, trials: int) -> int:
    """Launches of a proof that is decided as early as possible: every challenger but one is dropped after one block.

    Args:
        spec: The study.
        trials: Launches of the search, the default included.
    """
    confirm = spec.confirm
    most = most_launches(confirm, trials - 1)
    others = min(confirm.challengers, trials - 1)
    if not confirm.adaptive or not most:
        return most
    blocks = max(WITHOUT_DEFAULT, fewest_blocks(confirm, len(spec.objectives), others))
    return min(most, 2 * blocks + others - 1)


def proof_checks(spec: StudySpec, trials: int) -> list[Check]:
    """What the blocks of an adaptive proof can decide at which noise between launches."""
    confirm = spec.confirm
    others = min(confirm.challengers, trials - 1)
    if not confirm.adaptive or not others or not spec.parameters:
        return []
    fewest = fewest_blocks(confirm, len(spec.objectives), others)
    level = f"{confirm.confidence * 100:g}%"
    if confirm.at_most < fewest:
        return [
            Check.warn(
                "confirm.at_most",
                f"{confirm.at_most} blocks cannot decide anything at {level} confidence",
                remedy=f"set it to at least {fewest}",
            )
        ]
    level_of_one = shared_alpha(confirm, len(spec.objectives), others)
    width = factor(confirm.at_most, level_of_one) * math.sqrt(2 / confirm.at_most)
    equal, gain = (f"{math.log1p(change) / width * 100:.1f}%" for change in (confirm.zone, _GAIN))
    return [
        Check.ok(
            "confirm.at_most",
            f"{confirm.at_most} blocks show at {level} confidence that two configurations differ by no more than "
            f"{confirm.zone * 100:g}% if launches vary by less than {equal} (standard deviation), and a gain of "
            f"{_GAIN:.0%} if they vary by less than {gain}",
        )
    ]
