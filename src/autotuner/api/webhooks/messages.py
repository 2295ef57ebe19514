"""Bodies of messages, in the forms that receivers take."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from autotuner.secrets import clean
from autotuner.store.webhooks.records import WebhookEvent, WebhookForm


def body_of(form: WebhookForm, kind: str, at: float, data: Mapping[str, object]) -> bytes:
    """The body of a message, identical in every attempt."""
    if form is WebhookForm.SLACK:
        content: dict[str, object] = {"text": text_of(kind, clean(data))}
    else:
        timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        content = {"type": kind, "timestamp": timestamp, "data": clean(data)}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def text_of(kind: str, data: Mapping[str, object]) -> str:
    """One line for people, in Slack's markup."""
    study = f"*{_plain(data.get('study'))}*"
    why = _plain(data.get("why"))
    match kind:
        case WebhookEvent.STUDY_FINISHED:
            how = _plain(data.get("ending")).replace("_", " ")
            return f"Study {study} is {_plain(data.get('state'))}: {how}" + (f" ({why})" if why else "")
        case WebhookEvent.STUDY_FAILED:
            return f"Study {study} failed: {why}"
        case WebhookEvent.WINNER_FOUND:
            return f"Study {study} found a winner: {_gain(data)}`{_plain(data.get('configuration'))}`"
        case WebhookEvent.BUDGET_USED:
            return f"Study {study} ended its search: {why}"
        case WebhookEvent.STUDY_WAITING:
            return f"Study {study} waits in the queue: {why}"
        case WebhookEvent.WORKER_LOST:
            runs = _plain(", ".join(map(str, _listed(data.get("studies"))))) or "no study"
            return f"Worker {_plain(data.get('worker'))} on *{_plain(data.get('host'))}* is lost; it ran {runs}"
        case _:
            return "Test of a webhook of the LLM Inference Autotuner"


def _gain(data: Mapping[str, object]) -> str:
    change = data.get("change")
    if not isinstance(change, int | float):
        return ""
    return f"{change:+.1%} {_plain(data.get('objective'))} against the default, "


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _plain(value: object) -> str:
    """Text that Slack shows as it is: neither links nor mentions."""
    text = " ".join(str(value if value is not None else "").split())
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, name)
    return text
