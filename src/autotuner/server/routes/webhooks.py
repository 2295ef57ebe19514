"""Webhooks: where messages about studies and workers are sent."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from autotuner import NewWebhook, WebhookAttempt, WebhookEvent, WebhookForm, WebhookStatus
from autotuner.server.callers import Admin, Tuner

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])


class WebhookRequest(BaseModel):
    """A webhook to add. Either the address itself, or where servers find it; the same for the signing secret."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["ops"], description="What it is for.")
    url: str = Field(default="", examples=["https://ops.example.com/hooks/autotuner"], description="Its address.")
    form: WebhookForm = WebhookForm.JSON
    events: list[WebhookEvent] = Field(default=[], description="Events that it receives; empty: all.")
    url_env: str = Field(default="", description="Environment variable of the servers that has the address.")
    url_file: str = Field(default="", description="File on the servers that has the address.")
    secret_env: str = Field(default="", description="Environment variable that has the signing secret.")
    secret_file: str = Field(default="", description="File that has the signing secret.")


@router.get("", summary="List webhooks")
def list_webhooks(tuner: Tuner, _: Admin) -> list[WebhookStatus]:
    """With the number of their messages and the newest attempt; without addresses and secrets."""
    return tuner.webhooks().list()


@router.post("", summary="Add a webhook", status_code=201)
def add_webhook(tuner: Tuner, _: Admin, wanted: WebhookRequest) -> NewWebhook:
    """The signing secret is in this response only. Addresses of this machine and of private networks are refused unless
    the server's site file allows them."""
    return tuner.webhooks().add(
        wanted.name,
        wanted.url,
        form=wanted.form,
        events=wanted.events,
        url_env=wanted.url_env,
        url_file=wanted.url_file,
        secret_env=wanted.secret_env,
        secret_file=wanted.secret_file,
    )


@router.delete("/{identity}", summary="Remove a webhook", status_code=204)
def remove_webhook(tuner: Tuner, _: Admin, identity: str) -> None:
    """With the messages that wait for it."""
    tuner.webhooks().remove(identity)


@router.post("/{identity}/test", summary="Test a webhook")
def send_test_message(tuner: Tuner, _: Admin, identity: str) -> WebhookAttempt:
    """Sends one message of the type `webhook.test`, and returns what came of it after at most 15 s."""
    return tuner.webhooks().test(identity)
