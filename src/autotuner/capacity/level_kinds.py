"""The kinds of level tests, made in one place for the load generator, the check of a certificate and simulations."""

from collections.abc import Sequence

from autotuner.capacity.level import Bound, LevelTest
from autotuner.capacity.replay_test import ReplayTest
from autotuner.capacity.twin.control import Control

AnyLevelTest = LevelTest | ReplayTest


def level_test(
    bounds: Sequence[Bound],
    certify: float,
    refute: float,
    dispersions: Sequence[float] = (),
    controls: Sequence[Control | None] = (),
    *,
    replayed: int | None = None,
) -> AnyLevelTest:
    """The test of one level.

    Args:
        bounds: The SLOs, at least one.
        certify: Largest chance that a bad level is certified.
        refute: Largest chance that a good level is refuted.
        dispersions: Least dispersion of each bound's misses.
        controls: Predictions of each bound's misses; none for a load without known arrivals and lengths.
        replayed: Requests of the replay that the level consists of, to which error rates and dispersions do not apply;
            None for a load without an end.
    """
    if replayed is not None:
        return ReplayTest(bounds, replayed)
    return LevelTest(bounds, certify, refute, dispersions, controls)
