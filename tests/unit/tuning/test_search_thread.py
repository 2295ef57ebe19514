"""A search that takes long: everything else goes on meanwhile."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import anyio
import numpy as np
import pytest
from anyio.lowlevel import checkpoint
from threadpoolctl import threadpool_info, threadpool_limits

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.store import Store
from autotuner.store.trials import TrialTable
from autotuner.study.base import FrozenModel
from autotuner.study.configuration import Configuration
from autotuner.study.search.stopping import GainBound
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.search_thread import SearchThread
from support.study_runs import run, slots

pytestmark = pytest.mark.anyio

_PATIENCE_S = 60.0
"""How long a test waits for what it expects, before it fails."""


class Slow(Search):
    """Tries the whole space in its order; every proposal waits until ``ready`` lets it."""

    kind: ClassVar[str] = "slow"

    def __init__(self, context: SearchContext, ready: Callable[[], None]) -> None:
        super().__init__(FrozenModel(), context)
        self._ready = ready
        self.told: list[int] = []
        self.asked: list[tuple[int, list[int]]] = []
        """Trials in the history of each proposal, and the finished ones that it knew."""

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        known = {t.configuration.key for t in history}
        before = list(self.told)
        self.asked.append((len(history), before))
        self._ready()
        assert self.told == before, "told of nothing while it computes"
        return next((c for c in self.context.space.grid() if c.key not in known), Stop("all"))

    def tell(self, trial: Trial) -> None:
        self.told.append(trial.number)

    def remaining_gain(self, history: Sequence[Trial], confidence: float) -> GainBound | None:
        self._ready()
        return None


def waits_for(event: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        assert event.wait(_PATIENCE_S), "the event loop stood still"

    return wait


def with_search(monkeypatch: pytest.MonkeyPatch, ready: Callable[[], None]) -> list[Slow]:
    made: list[Slow] = []

    def search(prepared: Prepared, _: object = None) -> Slow:
        made.append(Slow(SearchContext(prepared.space, (), 1, 9), ready))
        return made[-1]

    monkeypatch.setattr(Prepared, "search", search)
    return made


async def test_the_loop_advances_while_a_search_computes(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposals and the bound wait for ticks of the loop, which a blocked loop would never give."""
    ticks = 0
    ticked = threading.Event()

    def ready() -> None:
        ticked.clear()
        waits_for(ticked)()

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            if ticks % 10 == 0:
                ticked.set()
            await checkpoint()

    prepared = loop.prepared(loop.spec())
    with_search(monkeypatch, ready)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        outcome = await run(prepared, store)
        tasks.cancel_scope.cancel()
    assert [slots(t) for t in outcome.trials] == ["default", 1, 2, 8]
    assert ticks >= 4 * 10


async def test_a_trial_ends_while_the_next_one_is_chosen(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proposal for the second slot waits until the trial in the first one has ended."""
    ended = threading.Event()
    made: list[Slow] = []

    def ready() -> None:
        if made[-1].asked and made[-1].asked[-1][0] == 2:
            waits_for(ended)()

    finish = TrialTable.finish

    def finished(table: TrialTable, trial: Trial, payload: dict[str, object]) -> None:
        finish(table, trial, payload)
        if trial.number == 1:
            ended.set()

    monkeypatch.setattr(TrialTable, "finish", finished)
    prepared = loop.prepared(loop.spec(parallel=2))
    made = with_search(monkeypatch, ready)
    outcome = await run(prepared, store)
    assert [slots(t) for t in outcome.trials] == ["default", 1, 2, 8]
    search = made[-1]
    assert search.asked[:2] == [(1, [0]), (2, [0])], "trial 1 was running when the second proposal was asked for"
    assert sorted(search.told) == [0, 1, 2, 3]


async def test_an_answer_that_a_result_has_outdated_does_not_end_the_search(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search has nothing to propose as long as a trial runs, which ends before the search says so."""
    ended = threading.Event()

    class Patient(Slow):
        def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
            if any(t.number == 1 and not t.state.finished for t in history):
                waits_for(ended)()
                return Stop("waits")
            return super().ask(history, free)

    finish = TrialTable.finish

    def finished(table: TrialTable, trial: Trial, payload: dict[str, object]) -> None:
        finish(table, trial, payload)
        if trial.number == 1:
            ended.set()

    monkeypatch.setattr(TrialTable, "finish", finished)
    prepared = loop.prepared(loop.spec(parallel=2))
    monkeypatch.setattr(Prepared, "search", lambda p, _=None: Patient(SearchContext(p.space, (), 1, 9), lambda: None))
    outcome = await run(prepared, store)
    assert [slots(t) for t in outcome.trials] == ["default", 1, 2, 8]


async def test_a_cancellation_does_not_wait_for_the_answer(store: Store, loop: Any) -> None:
    computes = threading.Event()
    never = threading.Event()

    def ready() -> None:
        computes.set()
        waits_for(never)()

    prepared = loop.prepared(loop.spec())
    search = Slow(SearchContext(prepared.space, (), 1, 9), ready)
    thread = SearchThread(search)
    try:
        with anyio.fail_after(_PATIENCE_S / 2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(thread.ask, lambda s: s.ask(()))
                await anyio.to_thread.run_sync(computes.wait, _PATIENCE_S / 4)
                tasks.cancel_scope.cancel()
    finally:
        never.set()


async def test_a_search_is_told_in_order_and_before_the_next_question(loop: Any) -> None:
    prepared = loop.prepared(loop.spec())
    search = Slow(SearchContext(prepared.space, (), 1, 9), lambda: None)
    thread = SearchThread(search)
    trials = [Trial(study="s", number=n, role=TrialRole.SEARCH, configuration=Configuration()) for n in range(3)]
    for trial in trials:
        thread.tell(trial)
    assert search.told == []
    await thread.ask(lambda s: s.ask(()))
    assert search.asked == [(0, [0, 1, 2])]
    await thread.ask(lambda s: s.ask(()))
    assert search.told == [0, 1, 2]


@contextmanager
def several_blas_threads() -> Iterator[None]:
    """Gives linear algebra the threads that it has outside tests.

    Threads that end change it, because a thread that lives would be the only one to change their number.
    """

    def change(threads: int | None) -> None:
        changing = threading.Thread(target=threadpool_limits, args=(threads, "blas"))
        changing.start()
        changing.join()

    change(os.cpu_count())
    try:
        yield
    finally:
        change(1)


async def test_linear_algebra_uses_one_core(loop: Any) -> None:
    """OpenBLAS tells the number of threads of the main thread only, so the test compares CPU times."""
    matrix = np.random.default_rng(1).random((800, 800))

    def multiplies() -> list[float]:
        """CPU time of the whole process per CPU time of this thread, of several tries: idle threads of OpenBLAS spin
        for a while, and other threads of the tests may run, too."""
        found = []
        for _ in range(10):
            own = time.thread_time()
            every = time.process_time()
            for _ in range(5):
                assert (matrix @ matrix).shape == matrix.shape
            found.append((time.process_time() - every) / (time.thread_time() - own))
        return found

    prepared = loop.prepared(loop.spec())
    thread = SearchThread(Slow(SearchContext(prepared.space, (), 1, 9), lambda: None))
    with several_blas_threads():
        assert min(await thread.ask(lambda _: multiplies())) < 1.3
        unlimited = min(await anyio.to_thread.run_sync(multiplies))
        several = any(found["num_threads"] > 1 for found in threadpool_info() if found["user_api"] == "blas")
    assert unlimited > 1.3 or not several, "else the test shows nothing"
