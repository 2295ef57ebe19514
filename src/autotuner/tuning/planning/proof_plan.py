"""Launches of a proof and what they can decide, before anything is launched."""

from autotuner.study.check import Check
from autotuner.study.spec import StudySpec
from autotuner.tuning.proof.blocks import most_launches
from autotuner.tuning.proof.decision import LEAST_REPEATS, WITHOUT_DEFAULT, decidable_noise, fewest_blocks, shared_alpha

_GAIN = 0.05
"""The gain that the plan takes as an example."""


def fewest_launches(spec: StudySpec, trials: int) -> int:
    """Launches of a proof that is decided as early as possible: every challenger but one is dropped after one block.

    Args:
        spec: The study.
        trials: Launches of the search, the default included.
    """
    confirm = spec.confirm
    most = most_launches(confirm, trials - 1, _other_defaults(spec))
    others = _compared(spec, trials)
    if not confirm.adaptive or not most:
        return most
    blocks = max(WITHOUT_DEFAULT, fewest_blocks(confirm, len(spec.objectives), others, _other_defaults(spec)))
    dropped = others - 1 + _other_defaults(spec) * (LEAST_REPEATS - 1)
    return min(most, 2 * blocks + dropped)


def _other_defaults(spec: StudySpec) -> int:
    return max(0, len(spec.engines) - 1)


def _compared(spec: StudySpec, trials: int) -> int:
    """Configurations that are compared with the default at most."""
    return min(spec.confirm.challengers + _other_defaults(spec), trials - 1)


def proof_checks(spec: StudySpec, trials: int) -> list[Check]:
    """Checks what an adaptive proof can decide, depending on the noise between launches."""
    confirm = spec.confirm
    others = _compared(spec, trials)
    if not confirm.adaptive or not others or not spec.parameters:
        return []
    fewest = fewest_blocks(confirm, len(spec.objectives), others, _other_defaults(spec))
    confidence = f"{confirm.confidence * 100:g}%"
    if confirm.at_most < fewest:
        return [
            Check.warn(
                "confirm.at_most",
                f"{confirm.at_most} blocks cannot decide anything at {confidence} confidence",
                remedy=f"set it to at least {fewest}",
            )
        ]
    level = shared_alpha(confirm, len(spec.objectives), others, _other_defaults(spec))
    limits = (decidable_noise(change, confirm.at_most, level) for change in (confirm.zone, _GAIN))
    equal, gain = (f"{limit * 100:.1f}%" for limit in limits)
    return [
        Check.ok(
            "confirm.at_most",
            f"{confirm.at_most} blocks show at {confidence} confidence that two configurations differ by no more than "
            f"{confirm.zone * 100:g}% if launches vary by less than {equal} (standard deviation), and a gain of "
            f"{_GAIN:.0%} if they vary by less than {gain}",
        )
    ]
