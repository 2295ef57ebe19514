"""The stream of events: complete, resumable, live."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

import autotuner
from autotuner.store import Store
from support.stored_samples import store_sample

Clients = Callable[[str], httpx.Client]
Sent = tuple[str, str, dict[str, object]]


def sent(lines: Iterator[str]) -> Iterator[Sent]:
    """Id, kind and data of each event of a stream."""
    fields = dict[str, str]()
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields.clear()


def take(stream: Iterator[Sent], count: int) -> list[Sent]:
    return [next(stream) for _ in range(count)]


def test_a_stream_begins_with_the_first_event_or_after_the_last_one_seen(client: Clients, stored: str) -> None:
    known = autotuner.open().events(stored)
    path = f"/api/v1/studies/{stored}/events"
    with client("read").stream("GET", path) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        found = take(sent(answer.iter_lines()), len(known))
    assert [json.loads(event.line()) for event in known] == [data for *_, data in found]
    assert [(str(e.seq), e.kind) for e in known] == [(identity, kind) for identity, kind, _ in found]
    with client("read").stream("GET", f"{path}?brief=true") as answer:  # nothing of it is progress
        assert [data for *_, data in take(sent(answer.iter_lines()), len(known))] == [data for *_, data in found]
    with client("read").stream("GET", path, headers={"Last-Event-ID": str(known[-2].seq)}) as answer:
        assert take(sent(answer.iter_lines()), 1)[0][0] == str(known[-1].seq)


def test_new_events_arrive_and_the_stream_ends_with_the_study(client: Clients, stored: str) -> None:
    last = autotuner.open().events(stored)[-1].seq
    path = f"/api/v1/studies/{stored}/events"
    with client("read").stream("GET", path, headers={"Last-Event-ID": str(last)}) as answer:
        stream = sent(answer.iter_lines())
        with Store.open() as store:
            store.events.append(stored, "notice", {"text": "the disk is nearly full"}, at=time.time())
        _, kind, data = next(stream)
        assert (kind, data["data"]) == ("notice", {"text": "the disk is nearly full", "scenario": "", "level": ""})
        autotuner.delete_study(stored)
        assert list(stream) == []


@pytest.mark.parametrize("last", ["-1", "x", str(2**63)])
def test_a_wrong_position_is_refused(client: Clients, stored: str, last: str) -> None:
    answer = client("read").get(f"/api/v1/studies/{stored}/events", headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "usage")


@pytest.mark.parametrize("left", ["expired", "revoked"])
def test_a_stream_ends_when_its_token_is_no_longer_valid(
    url: str, stored: str, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotuner.server.callers.TokenChecks.CHECK_S", 0)
    access = autotuner.open().access()
    made = access.create("laptop", days=1)
    headers = {"Authorization": f"Bearer {made.secret}"}
    with httpx.stream("GET", f"{url}/api/v1/studies/{stored}/events", headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)
        if left == "revoked":
            access.revoke(made.token.id)
        else:
            monkeypatch.setattr("autotuner.api.access.time.time", lambda: made.token.created_at + 86_401)
        list(lines)


def test_a_damaged_event_ends_the_stream_without_a_defect(
    client: Clients, stored: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(home / "autotuner.db")) as database:
        database.execute("UPDATE events SET data = '{' WHERE seq = 2")
        database.commit()
    with client("read").stream("GET", f"/api/v1/studies/{stored}/events") as answer:
        assert list(sent(answer.iter_lines())) == []
    assert "event 2 of the stored study" in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []


def test_all_studies_have_one_stream(client: Clients, stored: str) -> None:
    other = store_sample("latency").spec.name
    known = [json.loads(event.line()) for name in (stored, other) for event in autotuner.open().events(name)]
    reader = client("read")
    with reader.stream("GET", "/api/v1/events", headers={"Last-Event-ID": "0"}) as answer:
        assert [data for *_, data in take(sent(answer.iter_lines()), len(known))] == known
    with reader.stream("GET", "/api/v1/events") as answer:
        lines = answer.iter_lines()
        begin = next(line for line in lines if line.startswith("id: "))
        assert begin == f"id: {known[-1]['seq']}"
        with Store.open() as store:
            new = [store.events.append(name, "notice", {"text": "hello"}, at=1.0).seq for name in (stored, other)]
        found = take(sent(lines), 2)
        assert [data["seq"] for *_, data in found] == new
        # A position that settled before the reader's first look is behind the event, never ahead of it.
        assert all(known[-1]["seq"] <= int(identity) <= seq for (identity, *_), seq in zip(found, new, strict=True))
    with reader.stream("GET", "/api/v1/events", headers={"Last-Event-ID": str(new[0])}) as answer:
        assert take(sent(answer.iter_lines()), 1)[0][2]["seq"] == new[1]
    assert client("").get("/api/v1/events").status_code == 401
