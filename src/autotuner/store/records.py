"""Records of the store: studies, owners, leases, the queue and its workers, events, tokens and the audit."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from autotuner.study.base import FrozenModel
from autotuner.study.environment_facts import Facts
from autotuner.study.owner import Owner
from autotuner.study.search.beginning import Beginning
from autotuner.study.spec import StudySpec


class StudyRecord(FrozenModel):
    """One stored study. Times are seconds since the epoch."""

    name: str
    digest: str
    """Digest of the spec including its secrets; see :attr:`StudySpec.digest`."""
    spec: StudySpec
    """The spec for display, with secrets masked."""
    source: str
    """Where the spec came from, usually a file's path."""
    state: str
    """``new``, ``running``, ``done``, ``stopped``, ``interrupted``, ``failed``, or ``cut off``: its run was killed."""
    summary: Mapping[str, object] | None = None
    owner_id: str | None = None
    """The owner that holds the study; possibly one that has died."""
    search_s: float | None = None
    """Wall-clock seconds that the search has used; None for studies stored before this was recorded."""
    world: Facts = Field(default_factory=dict, exclude=True)
    """Facts besides the spec that the stored trials depend on; a study resumes only if they are unchanged."""
    beginning: Beginning | None = None
    """What was known when the study began; None for a study that has not begun, or began in an earlier version."""
    created_at: float
    updated_at: float


class QueueState(StrEnum):
    """State of a study in the queue."""

    QUEUED = "queued"
    """It waits for a worker."""
    RUNNING = "running"
    """A worker has taken it."""


class OwnerRecord(FrozenModel):
    """One process that ran or runs trials."""

    owner: Owner
    heartbeat_at: float
    ended_at: float | None = None
    lease_s: float | None = None
    """Seconds without a heartbeat after which it counts as dead where its process cannot be seen; None: see
    :mod:`autotuner.tuning.run_liveness`."""


class QueueEntry(FrozenModel):
    """One study that waits for a worker, or that a worker runs. Times are seconds since the epoch by the database's
    clock."""

    study: str
    state: QueueState
    position: int | None = None
    """Place among the waiting studies, the next one first (1); None while a worker runs it."""
    priority: int = 0
    """Higher ones are taken first; equal ones in the order in which they were submitted."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels that a worker must have."""
    submitted_at: float
    submitted_by: str
    """Who submitted it: a token's name, or user and host."""
    worker_id: str | None = None
    """The worker that runs it."""
    taken_at: float | None = None
    """When that worker took it."""
    attempts: int = 0
    """How often it was taken without finishing a trial since."""
    refusals: Mapping[str, str] = Field(default_factory=dict)
    """Why it cannot run where it was taken since it was submitted, by id of the worker. They leave it to others."""
    no_worker: str = ""
    """Why no worker that is running can run it; empty if one can, or if one has taken it."""


class Job(FrozenModel):
    """A study as its submitter wrote it, for the worker that took it."""

    spec: StudySpec
    """Without the settings of any machine; those of the worker's apply."""
    source: str
    named: bool
    attempts: int


class WorkerRecord(FrozenModel):
    """One process that takes studies from the queue. Times are seconds since the epoch by the database's clock."""

    id: str
    host: str
    pid: int
    process: str = ""
    """Identifies the process; see :class:`autotuner.store.process_identity.ProcessIdentity`."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    at_most: int
    """Studies that it runs at the same time at most."""
    state: str = "running"
    """``running``, ``draining`` (it takes no more studies), ``ended``, or ``lost`` if a server has noticed that."""
    version: str = ""
    started_at: float = 0.0
    heartbeat_at: float = 0.0
    lease_s: float
    """Seconds without a heartbeat after which others take over its studies."""

    def is_alive(self, now: float) -> bool:
        """Whether its heartbeat is not older than its lease, at a time of the database's clock."""
        return self.state != "ended" and now - self.heartbeat_at <= self.lease_s


class LeaseRecord(FrozenModel):
    """One resource that only this trial may use."""

    resource: str
    owner_id: str
    study: str
    trial: int
    acquired_at: float
    """Seconds since the holder's machine was started; only used to order claims on the GPUs of one machine."""


class EventRecord(FrozenModel):
    """One stored event: its position in the study's stream, its kind, and its fields as JSON data."""

    seq: int
    """Position in the stream, growing within a store. Gaps are possible; no number is used twice."""
    at: float
    """Seconds since the epoch."""
    study: str
    trial: int | None = None
    kind: str
    """Selects the class of :mod:`autotuner.events.types` for ``data``; a newer version may write further kinds."""
    data: Mapping[str, object] = Field(default_factory=dict)


class TokenScope(StrEnum):
    """What a token allows. Each scope includes those before it."""

    READ = "read"
    """See studies, results and logs."""
    WRITE = "write"
    """Also validate, plan, stop and delete studies."""
    ADMIN = "admin"
    """Also create, list and revoke tokens."""

    def includes(self, other: "TokenScope") -> bool:
        """Whether a token with this scope may do what ``other`` allows."""
        order = list(TokenScope)
        return order.index(self) >= order.index(other)


class Token(FrozenModel):
    """A bearer token as it is stored: the secret itself is shown once and never stored. Times are seconds since the
    epoch."""

    id: str
    """Identifies the token in lists and in the audit; the part of the token before the secret."""
    name: str
    """What the token is for."""
    scope: TokenScope
    created_at: float
    expires_at: float | None = None
    """None: it does not expire."""
    used_at: float | None = None
    """When it was last used, within a minute; None: never."""
    revoked_at: float | None = None

    @property
    def of_session(self) -> bool:
        """Whether it belongs to the session of a browser."""
        return "." in self.id

    @property
    def holder(self) -> str:
        """Who acts with it: ``token dashboard`` or ``browser session of dashboard``."""
        return self.name if self.of_session else f"token {self.name}"

    def valid(self, now: float) -> bool:
        """Whether it is accepted at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class AuditEntry(FrozenModel):
    """One write that a client of the server requested."""

    at: float
    """Seconds since the epoch."""
    caller: str
    """Id of the token. (Values under the name ``token`` would be removed as secrets.)"""
    name: str
    """Name of the token at that time."""
    action: str
    """Such as ``stop_study``."""
    target: str
    """What it was applied to, such as the name of a study."""
    status: int
    """HTTP status of the response."""
