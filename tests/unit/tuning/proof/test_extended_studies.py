"""Proofs of studies that were extended after a proof, and of studies with several engines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from autotuner.report.headline import headline
from autotuner.report.result import study_result
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.testing.samples import sample_spec
from autotuner.tuning.ending import Ending, conclude
from autotuner.tuning.proof.blocks import most_launches, next_repeat
from autotuner.tuning.proof.decision import alpha

CONFIRM = ConfirmSpec(at_most=4, challengers=1)
SPEC = sample_spec(slos=()).replaced(confirm=CONFIRM)
SPEEDS = {0: 100.0, 1: 130.0, 2: 90.0}


def trial(number: int, speed: float, role: TrialRole = TrialRole.SEARCH, **changes: Any) -> Trial:
    fields: dict[str, Any] = {
        "study": "s",
        "number": number,
        "role": role,
        "configuration": Configuration(values={"parallel": number}) if number else DEFAULT,
        "state": TrialState.DONE,
        "verdict": Verdict(feasible=True, objectives=(speed,)),
    }
    return Trial(**{**fields, **changes})


def searched(speeds: Mapping[int, float]) -> list[Trial]:
    return [trial(n, speed, TrialRole.SEARCH if n else TrialRole.DEFAULT) for n, speed in speeds.items()]


def proven(trials: list[Trial], speeds: Mapping[int, float]) -> list[Trial]:
    """The trials after the proof; launches differ by 1%."""
    while (found := next_repeat(trials, SPEC.objectives, CONFIRM)) is not None:
        number = found.trial.number
        speed = speeds[number] * (1 + 0.01 * (-1) ** (number + found.block))
        made = trial(len(trials), speed, TrialRole.CONFIRM, repeat_of=number, block=found.block)
        trials = [*trials, made.replaced(configuration=found.trial.configuration)]
    return trials


def repeats(trials: Sequence[Trial]) -> Counter[int | None]:
    return Counter(t.repeat_of for t in trials if t.role is TrialRole.CONFIRM)


def test_what_the_search_finds_after_a_proof_is_proven_too() -> None:
    """The first proof has used most of its launches."""
    before = proven(searched(SPEEDS), SPEEDS)
    assert conclude(SPEC, "done", before).ending is Ending.PROVEN_BETTER
    assert len(before) - len(SPEEDS) > most_launches(CONFIRM) / 2
    found = len(before)
    after = proven([*before, trial(found, 200.0)], {**SPEEDS, found: 200.0})
    concluded = conclude(SPEC, "done", after)
    assert concluded.ending is Ending.PROVEN_BETTER
    assert concluded.winner is not None
    assert concluded.winner.number == found
    blocks = [t.block or 0 for t in after if t.role is TrialRole.CONFIRM]
    new = blocks[found - len(SPEEDS) :]
    old = blocks[: found - len(SPEEDS)]
    assert min(new) > max(old), "launches of today are not paired with the default's of yesterday"
    assert len(new) <= most_launches(CONFIRM)


@pytest.mark.parametrize("launched", [2, 3])
def test_blocks_before_a_challenger_was_found_are_not_called_badly_measured(launched: int) -> None:
    trials = searched({0: 100.0, 1: 90.0})
    for block in range(1, 4):
        trials += [
            trial(len(trials) + n, (100.0, 90.0)[n], TrialRole.CONFIRM, repeat_of=n, block=block) for n in (0, 1)
        ]
    found = len(trials)
    trials.append(trial(found, 130.0))
    for block, speed in enumerate((130.0, 85.0, 130.0)[:launched], start=4):
        trials.append(trial(len(trials), 100.0, TrialRole.CONFIRM, repeat_of=0, block=block))
        trials.append(trial(len(trials), speed, TrialRole.CONFIRM, repeat_of=found, block=block))
    result = study_result(SPEC, "done", trials)
    assert result.ending is Ending.NO_SIGNIFICANT_DIFFERENCE
    assert headline(result).startswith(f"not decided after {launched} blocks; keep the default: trial {found} ")


def test_all_challengers_that_were_ever_compared_share_the_error_probability() -> None:
    before = proven(searched(SPEEDS), SPEEDS)
    assert alpha(before, SPEC.objectives, CONFIRM) == pytest.approx(0.05)
    found = len(before)
    after = proven([*before, trial(found, 200.0)], {**SPEEDS, found: 200.0})
    assert alpha(after, SPEC.objectives, CONFIRM) == pytest.approx(0.05 / 2)


def test_a_trial_that_is_measured_after_all_begins_no_new_proof() -> None:
    """It had been cut because of a challenger that the proof refuted."""
    cut = trial(2, 90.0, verdict=Verdict(feasible=True, objectives=(90.0,), cut=True))
    trials = [*searched({0: 100.0, 1: 130.0}), cut]
    for block in range(1, 5):
        trials += [trial(len(trials) + n, 100.0, TrialRole.CONFIRM, repeat_of=n, block=block) for n in (0, 1)]
    assert len(repeats(trials)) == 2
    trials[-1] = trials[-1].replaced(state=TrialState.FAILED, verdict=None)
    again = trial(len(trials), 110.0, configuration=cut.configuration)
    assert next_repeat([*trials, again], SPEC.objectives, CONFIRM) is None


def test_another_engines_default_takes_no_challengers_place() -> None:
    speeds = {0: 100.0, 1: 120.0, 2: 130.0}
    trials = searched(speeds)
    trials[2] = trials[2].replaced(engine_default=True)
    assert set(repeats(proven(trials, speeds))) == {0, 1, 2}
