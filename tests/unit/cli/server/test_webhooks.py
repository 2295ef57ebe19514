"""Webhooks on the command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.cli.server.webhooks import EventName, FormName
from autotuner.cli.server.webhooks_page import webhooks_text
from support.web.receiver import Receiver, receiving

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site file allows addresses of this machine."""
    site = tmp_path / "site.yaml"
    site.write_text("allow: {webhooks: [127.0.0.1]}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def test_the_signing_secret_is_printed_once_and_nothing_else_goes_to_stdout(call: Call, receiver: Receiver) -> None:
    made = call("webhook", "add", "ops", f"{receiver.url}/hooks/of-the-team", "--event", "study.failed")
    assert made.code == 0
    assert made.out.startswith("whsec_")
    assert made.out.count("\n") == 1
    assert made.out.strip() not in made.err
    listed = call("webhook", "list")
    (found,) = autotuner.open().webhooks().list()
    assert [word for word in (found.webhook.id, "ops", "study.failed", "never") if word not in listed.out] == []
    for secret in (made.out.strip(), "of-the-team"):
        assert secret not in listed.out + call("webhook", "list", "--json").out


def test_webhooks_as_json(call: Call, receiver: Receiver) -> None:
    made = call("webhook", "add", "chat", receiver.url, "--form", "slack", "--json").data
    identity = made["webhook"]["id"]
    assert made["secret"].startswith("whsec_")
    assert call("webhook", "test", identity, "--json").data["delivered"] is True
    assert json.loads(receiver.requests[0].body)["text"].startswith("Test of a webhook")
    (listed,) = call("webhook", "list", "--json").data["webhooks"]
    assert (listed["webhook"]["form"], listed["waiting"], listed["last"]) == ("slack", 0, None)
    assert call("webhook", "remove", identity, "--json").data == {"removed": identity}
    assert call("webhook", "list").out == "no webhooks; to add one: autotuner webhook add NAME URL\n"


def test_a_test_that_fails_fails(call: Call, receiver: Receiver) -> None:
    call("webhook", "add", "ops", receiver.url)
    (found,) = autotuner.open().webhooks().list()
    receiver.statuses = [503]
    done = call("webhook", "test", found.webhook.id)
    assert (done.code, done.out) == (1, "")
    assert "not delivered: status 503" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("add", "ops"),
        ("add", "", "https://ops.example.com"),
        ("add", "ops", "http://10.0.0.1"),
        ("add", "ops", "https://ops.example.com", "--url-env", "X"),
        ("add", "ops", "https://ops.example.com", "--event", "x"),
        ("remove", "unknown"),
        ("test", "unknown"),
    ],
)
def test_wrong_arguments_add_nothing(call: Call, words: tuple[str, ...]) -> None:
    done = call("webhook", *words)
    assert (done.code, done.out) == (2, "")
    assert autotuner.open().webhooks().list() == []


def test_the_choices_are_those_of_the_api() -> None:
    assert [event.value for event in EventName] == [event.value for event in autotuner.WebhookEvent]
    assert [form.value for form in FormName] == [form.value for form in autotuner.WebhookForm]


def test_the_list_says_what_came_of_the_newest_attempt() -> None:
    webhook = autotuner.open().webhooks().add("ops", "https://ops.example.com/hook").webhook
    last = autotuner.LastAttempt(
        at=100.0,
        kind=autotuner.WebhookEvent.STUDY_FAILED,
        state=autotuner.DeliveryState.DEAD,
        attempts=9,
        status=500,
        error="status 500",
    )
    text = webhooks_text([autotuner.WebhookStatus(webhook=webhook, dead=1, last=last)], now=400.0, width=200)
    assert [word for word in ("5 min", "status 500", "https://ops.example.com/...", "all") if word not in text] == []
