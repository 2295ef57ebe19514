"""A machine whose GPUs the trials of several studies lease."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.store import Store
from autotuner.study.launch import Gpu
from autotuner.testing.fake_deployer import fake_gpus
from autotuner.tuning.run_liveness import OwnerWatch
from autotuner.tuning.trials import gpu_and_port_leases
from autotuner.tuning.trials.gpu_and_port_leases import Leases


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(gpu_and_port_leases, "POLL_S", 0.005)
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


class Machine:
    """GPUs, and a log of who leased them."""

    def __init__(self, store: Store, count: int = 4) -> None:
        self.store = store
        self.gpus = fake_gpus(count)
        self.notes: list[str] = []
        self.order: list[str] = []
        self.looks = 0
        self.after_look: Callable[[], Awaitable[None]] | None = None
        """Called once, between a look at the GPUs and the caller's next step."""

    async def look(self) -> Sequence[Gpu]:
        self.looks += 1
        seen = list(self.gpus)
        after = self.after_look
        self.after_look = None
        if after is not None:
            await after()
        return seen

    def use(self, index: int, *users: str) -> None:
        self.gpus[index] = self.gpus[index].model_copy(update={"users": users})

    @asynccontextmanager
    async def lease(self, study: str, count: int, trial: int = 0, **more: Any) -> AsyncIterator[list[int]]:
        made = Leases(
            self.store,
            owner_id=f"owner-{study}",
            study=study,
            trial=trial,
            dead=OwnerWatch(self.store).dead,
        )
        async with made.gpus(count, self.look, note=self.notes.append, **more) as held:
            self.order.append(f"{study}{trial}")
            yield [gpu.index for gpu in held]

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not condition():  # noqa: ASYNC110 - there is no event to wait for
                await anyio.sleep(0.002)

    async def looked(self, times: int = 3) -> None:
        """Waits until queued trials have looked at the GPUs that many more times."""
        before = self.looks
        await self.until(lambda: self.looks >= before + times)

    def held(self) -> set[str]:
        return {lease.resource for lease in self.store.leases.all()}


class Waiting:
    """A trial that leases GPUs in the background and releases them on request."""

    def __init__(self, machine: Machine, study: str, count: int, **more: Any) -> None:
        self._machine = machine
        self._study = study
        self._count = count
        self._more = more
        self.got: list[int] = []
        self.back = anyio.Event()
        self.ended = False

    async def __call__(self) -> None:
        async with self._machine.lease(self._study, self._count, **self._more) as held:
            self.got = held
            await self.back.wait()
        self.ended = True
