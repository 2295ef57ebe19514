"""Bodies of messages."""

import json

import pytest

from autotuner.api.webhooks.messages import body_of, text_of
from autotuner.store.webhooks.records import WebhookForm

WINNER = {
    "study": "chat-8b",
    "configuration": "max-num-seqs=256",
    "objective": "max output_throughput",
    "change": 0.234,
    "trial": 7,
}


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (
            "study.finished",
            {"study": "chat-8b", "state": "done", "ending": "shown_as_good", "why": "trial budget (14) used up"},
            "Study *chat-8b* is done: shown as good (trial budget (14) used up)",
        ),
        ("study.finished", {"study": "x", "state": "stopped", "ending": "stopped"}, "Study *x* is stopped: stopped"),
        ("study.failed", {"study": "x", "why": "no GPU"}, "Study *x* failed: no GPU"),
        (
            "study.winner_found",
            WINNER,
            "Study *chat-8b* found a winner: +23.4% max output_throughput against the default, `max-num-seqs=256`",
        ),
        (
            "study.winner_found",
            {**WINNER, "change": None},
            "Study *chat-8b* found a winner: `max-num-seqs=256`",
        ),
        (
            "study.budget_used",
            {"study": "x", "why": "time budget (60 s) used up"},
            "Study *x* ended its search: time budget (60 s) used up",
        ),
        (
            "study.waiting",
            {"study": "x", "why": "no running worker has gpu=h100"},
            "Study *x* waits in the queue: no running worker has gpu=h100",
        ),
        (
            "worker.lost",
            {"worker": "w1", "host": "node-1", "studies": ["a", "b"]},
            "Worker w1 on *node-1* is lost; it ran a, b",
        ),
        ("worker.lost", {"worker": "w1", "host": "n", "studies": []}, "Worker w1 on *n* is lost; it ran no study"),
        ("webhook.test", {}, "Test of a webhook of the LLM Inference Autotuner"),
    ],
)
def test_text_for_people(kind: str, data: dict[str, object], text: str) -> None:
    assert text_of(kind, data) == text
    assert json.loads(body_of(WebhookForm.SLACK, kind, 0.0, data)) == {"text": text}


def test_text_of_others_neither_mentions_nor_links() -> None:
    found = text_of("study.failed", {"study": "x", "why": "<!channel>\n<https://evil.example|log in> & more"})
    assert found == "Study *x* failed: &lt;!channel&gt; &lt;https://evil.example|log in&gt; &amp; more"


def test_every_attempt_has_the_same_body() -> None:
    first, second = (body_of(WebhookForm.JSON, "study.winner_found", 1.5, WINNER) for _ in range(2))
    assert first == second
    assert json.loads(first) == {"type": "study.winner_found", "timestamp": "1970-01-01T00:00:01.500Z", "data": WINNER}
