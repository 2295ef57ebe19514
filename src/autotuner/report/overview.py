"""Overview of a study: progress and answer, without reading its trials if its end was stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from autotuner.store.records import EventRecord, StudyRecord
from autotuner.study.owner import CUT_OFF, RUNNING
from autotuner.study.trial import Trial
from autotuner.tuning.ending import conclude
from autotuner.tuning.stored_summary import Answer, answer_of

if TYPE_CHECKING:
    from autotuner.report.result import StudyResult


class StudyOverview(StudyRecord):
    """A stored study with its progress and its answer so far."""

    running: bool = False
    """Whether a living process runs it now."""
    launches: int = 0
    """Trials with a result, including repeats."""
    planned: int = 0
    """Maximum that :attr:`launches` can reach; equal to it once the study has ended."""
    position: int | None = None
    """Place in the queue, the next one first (1); None if it does not wait there."""
    answer: Answer

    @property
    def progress(self) -> str:
        """``7 of 13``, or ``13`` if no launches remain."""
        return f"{self.launches} of {self.planned}" if self.planned > self.launches else str(self.launches)

    @property
    def standing(self) -> str:
        """The state for people: ``queued`` while it waits for a worker."""
        return "queued" if self.position is not None and not self.running else self.state


def overview(
    record: StudyRecord,
    *,
    running: bool,
    launches: int,
    newest: EventRecord | None,
    trials: Callable[[], list[Trial]],
    position: int | None = None,
) -> StudyOverview:
    """Builds the overview of a stored study.

    Args:
        record: The stored study.
        running: Whether a living process runs it.
        launches: Number of its trials with a result.
        newest: Its last ``trial_proposed`` event.
        trials: Reads its trials; called only if no answer was stored.
        position: Its place in the queue; None if it does not wait there.
    """
    left = _left(newest) if newest is not None and record.state != "done" else None
    planned = launches if left is None else launches + int(running) + left
    state = CUT_OFF if record.state == RUNNING and not running else record.state
    return StudyOverview(
        **{**dict(record), "state": state},
        running=running,
        launches=launches,
        planned=planned,
        position=position,
        answer=_stored_answer(record) or answer_so_far(record, trials()),
    )


def overview_of_result(result: StudyResult) -> StudyOverview:
    """The overview of a result that need not be stored."""
    finished = [t.finished_at for t in result.trials if t.finished_at is not None]
    created_at = min((t.created_at for t in result.trials), default=0.0)
    record = StudyRecord(
        name=result.spec.name,
        digest=result.spec.digest,
        spec=result.spec,
        source="",
        state=result.state,
        beginning=result.beginning,
        created_at=created_at,
        updated_at=max(finished, default=created_at),
    )
    launches = sum(t.state.finished for t in result.trials)
    answer = answer_so_far(record, list(result.trials))
    return StudyOverview(**dict(record), launches=launches, planned=launches, answer=answer)


def _left(newest: EventRecord) -> int | None:
    """Launches that remained after the newest one; None if the event does not say."""
    # Only studies that have not ended need the event classes, whose import is a tenth of the time of ``list``.
    from autotuner.events.types import TrialProposed, parse

    event = parse(newest)
    return event.left.search + event.left.repeats if isinstance(event, TrialProposed) and event.left else None


def _stored_answer(record: StudyRecord) -> Answer | None:
    found = (record.summary or {}).get("answer")
    try:
        return Answer.model_validate(found) if found is not None else None
    except ValidationError:  # an ending that this version does not know
        return None


def answer_so_far(record: StudyRecord, trials: list[Trial]) -> Answer:
    """What the trials show so far."""
    return answer_of(record.spec, conclude(record.spec, record.state, trials), trials)
