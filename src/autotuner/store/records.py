"""What the store hands out beside trials and events."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.study.base import Noun
from autotuner.study.environment_facts import World
from autotuner.study.owner import Owner
from autotuner.study.spec import StudySpec


class StudyRecord(Noun):
    """One stored study. Times are seconds since the epoch."""

    name: str
    digest: str
    """Of the spec as it was given, secrets included; see :attr:`StudySpec.digest`."""
    spec: StudySpec
    """For display: secrets are blotted out."""
    source: str
    """Where the spec came from, usually a file's path."""
    state: str
    """``new``, ``running``, ``done``, ``stopped``, ``interrupted`` or ``failed``."""
    summary: Mapping[str, object] | None = None
    owner_id: str | None = None
    """Who holds the study; an owner that died may still stand here."""
    search_s: float | None = None
    """Seconds of wall-clock time that the search has used; None where no search of this version ran."""
    world: World = Field(default_factory=dict, exclude=True)
    """What the stored trials depended on beside the spec; a study resumes only in the same world."""
    created_at: float
    updated_at: float


class OwnerRecord(Noun):
    """One process that ran or runs trials."""

    owner: Owner
    heartbeat_at: float
    ended_at: float | None = None


class LeaseRecord(Noun):
    """One resource that a trial holds alone."""

    resource: str
    owner_id: str
    study: str
    trial: int
    acquired_at: float
    """Seconds since the holder's machine was started: only the order counts, among claims on one machine's GPUs."""


class EventRecord(Noun):
    """One stored event: where it stands in its study's stream, its kind, and its fields as JSON data."""

    seq: int
    """Position in the stream. It grows within a store; gaps are possible, repeats are not."""
    at: float
    """Seconds since the epoch."""
    study: str
    trial: int | None = None
    kind: str
    """Which class of :mod:`autotuner.events.types` reads ``data``; a newer version may write further kinds."""
    data: Mapping[str, object] = Field(default_factory=dict)
