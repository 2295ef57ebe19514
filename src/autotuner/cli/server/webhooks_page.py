"""Output of ``webhook list``."""

from collections.abc import Sequence

from rich.text import Text

from autotuner import WebhookEvent, WebhookStatus
from autotuner.cli.columns import Column, table_text
from autotuner.cli.texts import age_text


def webhooks_text(found: Sequence[WebhookStatus], *, now: float, width: int | None = None) -> str:
    """Renders one row per webhook; ``now`` is in seconds since the epoch."""
    if not found:
        return "no webhooks; to add one: autotuner webhook add NAME URL"
    columns = [
        Column("id"),
        Column("name", wraps=True),
        Column("form", drop=2),
        Column("target", wraps=True),
        Column("events", wraps=True, drop=1),
        Column("waiting", align="right"),
        Column("dead", align="right"),
        Column("last attempt", align="right"),
        Column("result", wraps=True),
    ]
    return table_text(columns, [_row(status, now) for status in found], width=width)


def _row(status: WebhookStatus, now: float) -> list[Text]:
    webhook = status.webhook
    events = "all" if len(webhook.events) == len(WebhookEvent) else ", ".join(webhook.events)
    return [
        Text(webhook.id),
        Text(webhook.name),
        Text(webhook.form.value),
        Text(webhook.target or webhook.url_source),
        Text(events),
        Text(str(status.waiting)),
        Text(str(status.dead), style="red" if status.dead else ""),
        Text("never" if status.last is None else age_text(now - status.last.at)),
        _result(status),
    ]


def _result(status: WebhookStatus) -> Text:
    last = status.last
    if last is None:
        return Text("")
    return Text(last.error, style="red") if last.error else Text(f"{last.kind} delivered")
