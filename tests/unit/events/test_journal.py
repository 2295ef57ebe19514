"""Journal and follower: order, completeness, and a store that fails."""

from collections.abc import Mapping, Sequence

import anyio
import pytest

from autotuner.events.follow import follow, read
from autotuner.events.journal import Journal
from autotuner.events.types import BaseEvent, Notice, WindowProgress
from autotuner.store import Store, StoreError
from autotuner.store.events import EventLog
from autotuner.testing.samples import sample_spec

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def study(store: Store) -> None:
    spec = sample_spec("s")
    store.studies.create(spec, source="t", digest=spec.digest, now=1.0)


def notice(number: int, trial: int | None = None) -> Notice:
    return Notice(study="s", trial=trial, text=str(number))


def numbers(events: Sequence[BaseEvent]) -> list[int]:
    return [int(e.text) for e in events if isinstance(e, Notice)]


class FullError(StoreError):
    """The disk is full."""


def breaking(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    real = EventLog.append

    def append(self: EventLog, study: str, kind: str, data: Mapping[str, object], **more: object) -> object:
        if data.get("text") == str(at):
            raise FullError("the disk is full")
        return real(self, study, kind, data, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(EventLog, "append", append)


async def test_journal_keeps_the_order_and_flush_waits(store: Store) -> None:
    async with Journal(store) as journal:
        for i in range(50):
            journal.note(notice(i, trial=i))
        await journal.flush()
        seen = read(store, "s")
        journal.note(notice(50))
    assert numbers(seen) == list(range(50))
    assert [e.trial for e in seen] == list(range(50))
    assert [e.at for e in seen] == sorted(e.at for e in seen)
    assert len(store.events.read("s")) == 51, "leaving writes what is still queued"


async def test_nothing_is_lost_on_cancel(store: Store) -> None:
    async with anyio.create_task_group() as tasks:

        async def work() -> None:
            async with Journal(store) as journal:
                for i in range(40):
                    journal.note(notice(i))
                tasks.cancel_scope.cancel()
                try:
                    await anyio.sleep_forever()
                finally:
                    journal.note(notice(40))

        tasks.start_soon(work)
    assert numbers(read(store, "s")) == list(range(41))


async def test_nothing_is_lost_on_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="ours"):  # noqa: PT012 - the block is what is tested
        async with Journal(store) as journal:
            journal.note(notice(0))
            raise ValueError("ours")
    assert len(store.events.read("s")) == 1


async def test_only_progress_is_dropped_when_the_database_cannot_keep_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotuner.events.journal._WAITING", 10)
    async with Journal(store) as journal:
        for i in range(30):
            journal.note(WindowProgress(study="s", trial=0, elapsed_s=i, total_s=30.0, output_throughput=1.0))
            journal.note(notice(i))
    events = read(store, "s")
    assert numbers(events) == list(range(30))
    assert 0 < sum(isinstance(e, WindowProgress) for e in events) < 30


@pytest.mark.parametrize("shielded", [False, True])
async def test_flush_raises_the_error_of_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch, shielded: bool
) -> None:
    breaking(monkeypatch, at=3)
    with anyio.fail_after(30), pytest.raises(FullError, match="the disk is full"):  # noqa: PT012 - the block is what is tested
        async with Journal(store) as journal:
            for i in range(10):
                journal.note(notice(i))
            with anyio.move_on_after(20, shield=shielded):
                await journal.flush()
            pytest.fail("the flush should have raised")
    assert numbers(read(store, "s")) == [0, 1, 2]


async def test_leaving_raises_the_error_of_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(monkeypatch, at=0)
    with pytest.raises(FullError):  # noqa: PT012 - the block is what is tested
        async with Journal(store) as journal:
            journal.note(notice(0))
            journal.note(notice(1))


async def test_follower_sees_everything_once_and_in_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotuner.events.follow.PAGE", 7)
    monkeypatch.setattr("autotuner.events.follow.POLL_S", 0.01)
    seen: list[object] = []

    async def watch() -> None:
        pages = follow(store, "s")
        async for page in pages:
            assert len(page) <= 7
            seen.extend(numbers(page))
            if len(seen) == 60:
                await pages.aclose()  # type: ignore[attr-defined]
                return

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            async with Journal(store) as journal:
                for i in range(60):
                    journal.note(notice(i))
                    await anyio.sleep(0.001)
    assert seen == list(range(60))


async def test_follower_starts_at_a_seq_and_waits_for_more(store: Store) -> None:
    events = [store.events.append("s", "notice", {"text": str(i)}, at=1.0) for i in range(3)]
    pages = follow(store, "s", after=events[0].seq)
    assert numbers(await anext(pages)) == [1, 2]
    assert await anext(pages) == [], "time to redraw"
    store.events.append("s", "notice", {"text": "3"}, at=1.0)
    assert numbers(await anext(pages)) == [3]
    await pages.aclose()  # type: ignore[attr-defined]
