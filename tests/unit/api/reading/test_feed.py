"""The feed of events: every reader gets all of its events, and one poll of the store serves all readers."""

import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, closing
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

import autotuner
from autotuner import EventFeed, FedEvent
from autotuner.api.reading.feed import _written
from autotuner.events.types import Event, UnknownEvent, parse
from autotuner.secrets import clean_text, known_secrets, remember
from autotuner.store import Store
from autotuner.store.paths import data_home
from autotuner.store.queries import EventQueries
from autotuner.store.records import EventRecord
from support.stored_samples import store_sample

RECORDED = Path(__file__).parents[4] / "ui" / "src" / "api" / "recorded.json"


def notice(study: str, text: str) -> int:
    with Store.open() as store:
        return store.events.append(study, "notice", {"text": text}, at=time.time()).seq


async def take(batches: AsyncGenerator[list[FedEvent]], count: int) -> list[int]:
    """Numbers of the next events."""
    found = list[int]()
    while len(found) < count:
        found += [fed.event.seq for fed in await anext(batches)]
    return found


async def caught_up(batches: AsyncGenerator[list[FedEvent]]) -> None:
    while await anext(batches):
        pass


def run(work: Callable[[EventFeed], Awaitable[None]]) -> None:
    async def main() -> None:
        feed = autotuner.open().feed()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed.run)
                await work(feed)
                tasks.cancel_scope.cancel()

    with autotuner.open().kept_open():
        anyio.run(main)


def test_readers_get_what_is_stored_and_then_what_happens() -> None:
    one, two = (store_sample(kind).spec.name for kind in ("winner", "latency"))
    stored = {name: [event.seq for event in autotuner.open().events(name)] for name in (one, two)}

    async def work(feed: EventFeed) -> None:
        async with (
            aclosing(feed.read(one, after=0)) as first,
            aclosing(feed.read(two, after=stored[two][-2])) as second,
            aclosing(feed.read(after=0)) as every,
            aclosing(feed.read()) as later,
        ):
            assert await take(first, len(stored[one])) == stored[one]
            assert await take(second, 1) == stored[two][-1:]
            assert await take(every, len(stored[one]) + len(stored[two])) == sorted([*stored[one], *stored[two]])
            for reader in (first, second, every, later):
                await caught_up(reader)
            assert feed.readers == 4
            new = [await run_sync(notice, name, "hello") for name in (one, two)]
            assert await take(first, 1) == new[:1]
            assert await take(second, 1) == new[1:]
            assert await take(every, 2) == new
            assert await take(later, 2) == new

    run(work)


def test_a_brief_reader_gets_no_progress_of_ended_windows() -> None:
    """The web UI has a test that its pages show the same after either part of these events."""
    recorded = json.loads(RECORDED.read_text())
    name = store_sample("winner").spec.name
    last = autotuner.open().events(name)[-1].seq
    with Store.open() as store:
        stored = [store.events.append(name, e["kind"], e["data"], at=e["at"], trial=e["trial"]).seq for e in recorded]
    brief = [seq for seq, event in zip(stored, recorded, strict=True) if event["brief"]]

    async def work(feed: EventFeed) -> None:
        async with (
            aclosing(feed.read(name, after=last)) as every,
            aclosing(feed.read(name, after=last, brief=True)) as some,
        ):
            assert await take(every, len(stored)) == stored
            assert await take(some, len(brief)) == brief
            await caught_up(some)
            new = await run_sync(notice, name, "hello")
            assert await take(some, 1) == [new]

    run(work)


def test_many_readers_need_one_look_at_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    name = store_sample("winner").spec.name
    last = autotuner.open().events(name)[-1].seq
    looks = 0
    rows_after = EventQueries.rows_after

    def counted(*given: object, **more: object) -> object:
        nonlocal looks
        looks += 1
        return rows_after(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(EventQueries, "rows_after", counted)
    monkeypatch.setattr("autotuner.api.reading.feed.POLL_S", 0.01)

    async def work(feed: EventFeed) -> None:
        nonlocal looks
        got = list[int]()

        async def read() -> None:
            async with aclosing(feed.read(name, after=last)) as batches:
                got.extend(await take(batches, 3))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(read)
            while feed.readers < 50:  # noqa: ASYNC110 - readers tell nobody that they began
                await anyio.sleep(0.01)
            looks = 0
            new = [await run_sync(notice, name, str(number)) for number in range(3)]
        assert sorted(got) == sorted(new * 50)
        assert looks < 50

    run(work)


def test_readers_who_have_seen_everything_cause_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a server has started, all pages connect at once."""
    name = store_sample("winner").spec.name
    last = autotuner.open().events(name)[-1].seq
    parsed = list[int]()
    asked = 0
    rows = EventQueries.rows

    def counted(*given: object, **more: object) -> object:
        nonlocal asked
        asked += 1
        return rows(*given, **more)  # type: ignore[arg-type]

    def noted(record: EventRecord) -> Event | UnknownEvent:
        parsed.append(record.seq)
        return parse(record)

    monkeypatch.setattr(EventQueries, "rows", counted)
    monkeypatch.setattr("autotuner.api.reading.feed.parse", noted)

    async def work(feed: EventFeed) -> None:
        async with AsyncExitStack() as opened:
            readers = [
                await opened.enter_async_context(aclosing(feed.read(study, after=last)))
                for study in (name, None)
                for _ in range(20)
            ]
            for reader in readers:
                await caught_up(reader)
            assert (asked, parsed) == (0, [])
            new = await run_sync(notice, name, "hello")
            for reader in readers:
                assert await take(reader, 1) == [new]
            assert parsed == [new]
            behind = await opened.enter_async_context(aclosing(feed.read(name, after=last)))
            assert await take(behind, 1) == [new]
            assert asked == 1

    run(work)


def test_stored_events_are_written_once_for_all_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page of a study reads all of its events."""
    name = store_sample("winner").spec.name
    stored = [event.seq for event in autotuner.open().events(name)]
    cleaned = list[str]()

    def noted(text: str, secrets: frozenset[str]) -> str:
        cleaned.append(text)
        return clean_text(text, secrets)

    monkeypatch.setattr("autotuner.api.reading.feed.clean_text", noted)

    async def work(feed: EventFeed) -> None:
        for study in (name, None, name):
            async with aclosing(feed.read(study, after=0)) as reader:
                assert await take(reader, len(stored)) == stored
        assert len(cleaned) == len(stored)
        secret = "hello-word"
        new = await run_sync(notice, name, secret)
        for known in (False, True):
            if known:
                remember({"password": secret})
            async with aclosing(feed.read(name, after=new - 1)) as reader:
                found = list[FedEvent]()
                while not found:
                    found = await anext(reader)
                (fed,) = found
                assert (secret in fed.line) is not known

    _written.cache_clear()
    monkeypatch.setattr("autotuner.secrets.known._remembered", known_secrets())
    run(work)


@pytest.mark.parametrize("end", ["deleted", "closed"])
def test_a_stream_ends(end: str) -> None:
    name = store_sample("winner").spec.name

    async def work(feed: EventFeed) -> None:
        async with aclosing(feed.read(name)) as batches:
            await caught_up(batches)
            await run_sync(autotuner.delete_study, name) if end == "deleted" else feed.close()
            assert [batch async for batch in batches if batch] == []

    run(work)


def test_a_slow_reader_gets_what_it_waited_for_and_its_stream_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    name = store_sample("winner").spec.name

    async def work(feed: EventFeed) -> None:
        async with aclosing(feed.read(name)) as slow, aclosing(feed.read(name)) as quick:
            for reader in (slow, quick):
                await caught_up(reader)
            monkeypatch.setattr("autotuner.api.reading.feed.MOST_WAITING", 2)
            new = [await run_sync(notice, name, "hello")]
            assert await take(quick, 1) == new
            for _ in range(2):
                new.append(await run_sync(notice, name, "hello"))
                assert await take(quick, 1) == new[-1:]
            got = [fed.event.seq async for batch in slow for fed in batch]
            assert got == new
            async with aclosing(feed.read(name, after=got[-1])) as again:
                new.append(await run_sync(notice, name, "hello"))
                assert await take(again, 1) == new[-1:]

    run(work)


@pytest.mark.parametrize("error", [autotuner.StoreError("the store cannot be used"), RuntimeError("no more threads")])
def test_a_failing_poll_ends_the_streams_and_the_feed_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Whatever fails, it is logged once, however often it fails: a stuck reader keeps the feed polling."""
    name = store_sample("winner").spec.name
    monkeypatch.setattr("autotuner.api.reading.feed.POLL_S", 0.01)
    failed = 0

    def broken(*_: object, **__: object) -> None:
        nonlocal failed
        failed += 1
        raise error

    async def work(feed: EventFeed) -> None:
        async with aclosing(feed.read(name)) as stuck, aclosing(feed.read(name)) as batches:
            await caught_up(stuck)
            await caught_up(batches)
            with monkeypatch.context() as patched:
                patched.setattr(EventQueries, "rows_after", broken)
                with pytest.raises(autotuner.AutotunerError) as raised:
                    await take(batches, 1)
                assert isinstance(error, autotuner.AutotunerError) == (raised.value is error)
                while failed < 5:  # noqa: ASYNC110 - a thread counts
                    await anyio.sleep(0.01)
        (logged,) = [record for record in caplog.records if record.name == "autotuner.api.reading.feed"]
        assert str(error) in logged.getMessage()
        assert (logged.exc_info is not None) == isinstance(error, RuntimeError)
        async with aclosing(feed.read(name)) as again:
            await caught_up(again)
            new = await run_sync(notice, name, "hello")
            assert await take(again, 1) == [new]

    run(work)


@pytest.mark.parametrize("damage", ["{", "[" * 100_000, '{"text": "\\ud800"}'])
def test_a_damaged_event_ends_the_streams_of_its_study_only(damage: str) -> None:
    name = store_sample("winner").spec.name
    other = store_sample("latency").spec.name

    def insert() -> int:
        with closing(sqlite3.connect(data_home() / "autotuner.db")) as database, database:
            query = "INSERT INTO events (study, at, kind, data) VALUES (?, 1.0, 'notice', ?)"
            return database.execute(query, (name, damage)).lastrowid or 0

    async def work(feed: EventFeed) -> None:
        async with (
            aclosing(feed.read(name)) as mine,
            aclosing(feed.read(other)) as others,
            aclosing(feed.read()) as every,
        ):
            for reader in (mine, others, every):
                await caught_up(reader)
            damaged = await run_sync(insert)
            with pytest.raises(autotuner.StoreError, match=f"event {damaged} of the stored study {name}"):
                await take(mine, 1)
            new = await run_sync(notice, other, "hello")
            assert await take(others, 1) == [new]
            assert await take(every, 1) == [new]
        # Those who connect again read it from the store, where it must not end the stream of all studies for good.
        async with aclosing(feed.read(after=damaged - 1)) as again:
            assert await take(again, 1) == [new]
        async with aclosing(feed.read(name, after=damaged - 1)) as mine:
            with pytest.raises(autotuner.StoreError, match=f"event {damaged} of"):
                await take(mine, 1)

    run(work)
