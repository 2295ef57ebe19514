"""Order of the proof's launches: blocks of the default and its challengers, in reverse order in every second one.

Interleaving makes drift of the machine affect all of them alike, and running alone gives all of them the same
conditions. A challenger that died or missed a bound in a repeat is refuted, and the next one takes its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autotuner.study.objective import Objective
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.proof.decision import contenders, decided
from autotuner.tuning.proof.records import blocks_of, default_of, engine_defaults, newest_search, repeats_of


@dataclass(frozen=True)
class Repeat:
    """The next launch of a proof."""

    trial: Trial
    """The trial whose configuration is launched again."""
    block: int


def next_repeat(trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec) -> Repeat | None:
    """The next launch; None when the proof is complete.

    Blocks are counterbalanced (D A B, B A D, D A B). A challenger that replaces a refuted one is interleaved with
    further launches of the default, within :func:`most_launches`. If the default cannot run, only challengers are
    repeated. What the search tried after a proof gets a proof of its own: new blocks, and as many launches again.
    """
    newest = newest_search(trials)
    made = sum(t.role is TrialRole.CONFIRM and t.state.finished and t.number > newest for t in trials)
    left = most_launches(confirm, other_defaults=len(engine_defaults(trials))) - made
    field = contenders(trials, objectives, confirm)
    if left <= 0 or not field or decided(trials, objectives, confirm, field):
        return None
    default = default_of(trials)
    compared = [default] if default is not None and default.state is TrialState.DONE else []
    cells = {t.number: blocks_of(t, trials) for t in [*compared, *field]}
    current = _current_block(compared, trials, cells.values(), newest)
    for block in (current, current + 1):
        unmeasured = [t for t in field if block not in cells[t.number] and len(cells[t.number]) < confirm.blocks]
        begun = any(block in cells[t.number] for t in field)
        missing = [t for t in compared if block not in cells[t.number] and (unmeasured or begun)]
        order = [*missing, *unmeasured]
        if not order:
            continue
        if left == 1 and not begun and missing:
            return _last(unmeasured, trials, block, confirm)
        return Repeat(order[0] if block % 2 else order[-1], block)
    return None


def _current_block(
    compared: Sequence[Trial], trials: Sequence[Trial], cells: Iterable[Mapping[int, Trial]], newest: int
) -> int:
    """The last block. A block of a former baseline or default is over, as is one that is older than the present one or
    than the newest configuration: a launch that is added to it is not paired with the others."""
    former = {t.number for t in trials if t.role is TrialRole.DEFAULT} - {t.number for t in compared}
    begun = {block for found in cells for block in found}
    of_former = {t.block for t in trials if t.repeat_of in former and t.set_aside and t.block is not None}
    current = max(begun | of_former, default=1)
    earlier = [t for t in trials if t.role is TrialRole.CONFIRM and t.block == current and t.state.finished]
    since = max([newest, *(first.number for first in compared)])
    over = any(t.number < since for t in earlier)
    return current + 1 if over or current in of_former else current


def _last(unmeasured: Sequence[Trial], trials: Sequence[Trial], block: int, confirm: ConfirmSpec) -> Repeat | None:
    """The last launch, if it cannot complete a pair: of the challenger with the fewest repeats; None in an adaptive
    proof, where only pairs count."""
    if confirm.adaptive:
        return None
    return Repeat(min(unmeasured, key=lambda t: len(repeats_of(t, trials))), block)


def most_launches(confirm: ConfirmSpec, tried: int | None = None, other_defaults: int = 0) -> int:
    """Upper bound of the proof's launches if the search tries ``tried`` configurations besides the default, among them
    the defaults of other engines."""
    most = confirm.challengers + other_defaults
    others = most if tried is None else min(most, tried)
    return confirm.blocks * (1 + others) if others else 0
