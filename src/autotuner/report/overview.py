"""One study in a line: where it stands and what it found, without reading its trials where its end was stored."""

from collections.abc import Callable

from pydantic import ValidationError

from autotuner.store.records import EventRecord, StudyRecord
from autotuner.study.trial import Trial
from autotuner.tuning.ending import conclude
from autotuner.tuning.stored_summary import Answer, answer_of


class StudyOverview(StudyRecord):
    """A stored study with its progress and its answer so far."""

    running: bool = False
    """Whether a living process runs it now."""
    launches: int = 0
    """Trials with a result, repeats included."""
    planned: int = 0
    """What :attr:`launches` will be at most; equal to it once the study has ended."""
    answer: Answer

    @property
    def progress(self) -> str:
        """``7 of 13``, or ``13`` where nothing more is to come."""
        return f"{self.launches} of {self.planned}" if self.planned > self.launches else str(self.launches)

    @property
    def standing(self) -> str:
        """The state as a person reads it; a run that was killed says no last word, and is called cut off."""
        return "cut off" if self.state == "running" and not self.running else self.state


def overview(
    record: StudyRecord,
    *,
    running: bool,
    launches: int,
    newest: EventRecord | None,
    trials: Callable[[], list[Trial]],
) -> StudyOverview:
    """The overview of a stored study; ``newest`` is its last ``trial_proposed`` event, ``trials`` reads its trials,
    which is only asked for where no answer was stored."""
    left = _left(newest) if newest is not None and record.state != "done" else None
    planned = launches if left is None else launches + int(running) + left
    return StudyOverview(
        **dict(record),
        running=running,
        launches=launches,
        planned=planned,
        answer=_stored_answer(record) or _answer(record, trials()),
    )


def _left(newest: EventRecord) -> int | None:
    """Launches that were still to come after the newest one; None where the event does not say."""
    # Only studies that have not ended need it: importing the event classes is a tenth of what ``list`` takes.
    from autotuner.events.types import TrialProposed, parse

    event = parse(newest)
    return event.left.search + event.left.repeats if isinstance(event, TrialProposed) and event.left else None


def _stored_answer(record: StudyRecord) -> Answer | None:
    found = (record.summary or {}).get("answer")
    try:
        return Answer.model_validate(found) if found is not None else None
    except ValidationError:  # of an ending that this version does not know
        return None


def _answer(record: StudyRecord, trials: list[Trial]) -> Answer:
    return answer_of(record.spec, conclude(record.spec, record.state, trials), trials)
