"""The records of a study, as a server sends them."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from autotuner.report.overview import StudyOverview
from autotuner.study.trial import Trial


class StudyRecords(BaseModel):
    """What is stored of a study: each part in the JSON of the store, which has infinite numbers, too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    """A :class:`StudyOverview`."""
    trials: list[str]
    """A :class:`Trial` each."""


def records_of(study: StudyOverview, trials: Sequence[Trial]) -> StudyRecords:
    """The records of a study for another program.

    Args:
        study: The study.
        trials: Its trials, without secrets.
    """
    # Without derived fields, which cannot be read back.
    return StudyRecords(
        study=study.model_dump_json(round_trip=True), trials=[t.model_dump_json(round_trip=True) for t in trials]
    )
