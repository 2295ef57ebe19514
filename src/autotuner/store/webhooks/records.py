"""Records of webhooks and of the messages for them. Times are seconds since the epoch by the database's clock."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from autotuner.study.base import FrozenModel


class WebhookEvent(StrEnum):
    """Events that a webhook can receive."""

    STUDY_FINISHED = "study.finished"
    """A run ended with all of its trials, or was stopped."""
    STUDY_FAILED = "study.failed"
    """A run ended with an error, or a worker could not start it."""
    WINNER_FOUND = "study.winner_found"
    """A study ended with a configuration that is proven better than the default."""
    BUDGET_USED = "study.budget_used"
    """A search ended because its trials, time or GPU hours were used up; the proof may follow."""
    STUDY_WAITING = "study.waiting"
    """A study has waited for ten minutes, and no worker can run it."""
    WORKER_LOST = "worker.lost"
    """A worker has been silent for longer than its lease."""


class WebhookForm(StrEnum):
    """The form of the messages."""

    JSON = "json"
    """``{"type": ..., "timestamp": ..., "data": {...}}``, as Standard Webhooks has it."""
    SLACK = "slack"
    """``{"text": ...}``, which Slack and compatible chats show."""


class Webhook(FrozenModel):
    """A destination, without its secrets: neither its address nor its signing secret is in the store."""

    id: str
    name: str
    """What it is for."""
    form: WebhookForm
    events: tuple[WebhookEvent, ...]
    """Events that it receives."""
    target: str
    """The address without its path, which often is a secret; empty if a server reads it from elsewhere."""
    url_source: str
    """Where servers find the address: ``kept`` (in the data directory), ``env:NAME`` or ``file:PATH``."""
    secret_source: str
    """Where they find the signing secret."""
    created_at: float


class Notification(FrozenModel):
    """Something that happened, for the webhooks that want to know."""

    kind: WebhookEvent
    study: str = ""
    """Empty if it is not about a study."""
    at: float
    """When it happened."""
    data: Mapping[str, object] = Field(default_factory=dict)


class Delivery(FrozenModel):
    """A message for one webhook."""

    id: str
    """Identifies the message, whatever the number of attempts."""
    webhook_id: str
    kind: WebhookEvent
    at: float
    data: Mapping[str, object]
    attempts: int
    """Attempts so far, all of which failed."""


class DeliveryState(StrEnum):
    """State of a message."""

    WAITING = "waiting"
    """It waits for its first attempt, or the next one."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """All attempts failed."""


class Settled(FrozenModel):
    """The end of an attempt."""

    state: DeliveryState
    status: int | None = None
    """HTTP status of the response; None without one."""
    error: str = ""
    """Why it failed, in one line."""
    again_s: float = 0.0
    """Seconds until the next attempt."""


class LastAttempt(FrozenModel):
    """The newest attempt to deliver something to a webhook."""

    at: float
    kind: WebhookEvent
    state: DeliveryState
    attempts: int
    status: int | None = None
    """HTTP status of the response; None without one."""
    error: str = ""


class WebhookStatus(FrozenModel):
    """A webhook and its messages."""

    webhook: Webhook
    waiting: int = 0
    delivered: int = 0
    """Within the last seven days."""
    dead: int = 0
    """Messages that could not be delivered, within the last thirty days."""
    last: LastAttempt | None = None
