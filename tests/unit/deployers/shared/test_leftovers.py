"""Which leftovers go, and what is reported: without any platform."""

import pytest

from autotuner.deployers.shared.leftovers import Held, Leftover, reap, sweep
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchedObject

pytestmark = pytest.mark.anyio


class Platform:
    """Keeps the names of what was removed; one name cannot be."""

    def __init__(self, stuck: str = "") -> None:
        self.removed: list[str] = []
        self._stuck = stuck

    def leftover(self, name: str, owner: str, study: str = "a", *, runner_ended: bool = False) -> Leftover:
        async def remove() -> None:
            if name == self._stuck:
                raise TrialFailedError.because(FailureCause.ENVIRONMENT, "it is stuck")
            self.removed.append(name)

        found = LaunchedObject(kind="box", name=name, study=study, trial=3, owner=owner, runner_ended=runner_ended)
        return Leftover(found, remove)


async def test_dead_owners_and_ended_runners_lose_theirs() -> None:
    platform = Platform()
    found = [
        platform.leftover("1", "dead"),
        platform.leftover("2", "living"),
        platform.leftover("3", "unknown", runner_ended=True),
    ]
    lines = await reap(found, {"dead"}.__contains__, None)
    assert platform.removed == ["1", "3"]
    assert lines[0] == "removed box 1 of study a trial 3 (owner dead)"


async def test_only_of_one_study() -> None:
    platform = Platform()
    found = [platform.leftover("1", "dead", "a"), platform.leftover("2", "dead", "b", runner_ended=True)]
    assert len(await reap(found, {"dead"}.__contains__, "a")) == 1
    assert platform.removed == ["1"]


async def test_one_that_stays_hides_no_other() -> None:
    platform = Platform(stuck="1")
    found = [platform.leftover("1", "dead"), platform.leftover("2", "dead")]
    lines = await reap(found, {"dead"}.__contains__, None)
    assert platform.removed == ["2"]
    assert ["it is stuck" in line for line in lines] == [True, False]


async def test_a_sweep_spares_what_is_held() -> None:
    platform = Platform()
    held = Held()
    found = [platform.leftover("1", "me"), platform.leftover("2", "me")]
    with held.holding("2"):
        await sweep(found, held)
        assert platform.removed == ["1"]
    await sweep(found, held)
    assert platform.removed == ["1", "1", "2"]


async def test_a_sweep_stops_where_something_stays() -> None:
    platform = Platform(stuck="1")
    with pytest.raises(TrialFailedError):
        await sweep([platform.leftover("1", "me"), platform.leftover("2", "me")], Held())
    assert platform.removed == []
