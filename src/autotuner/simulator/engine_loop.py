"""Execution of a scheduler's steps in real time, scaled by the speed factor.

Steps follow an absolute schedule, so that late timers do not slow down the simulated hardware. If this machine cannot
keep up, the schedule slips; the slip is counted and logged, because the numbers then describe this machine.
"""

import asyncio
import time
from collections.abc import Callable
from random import Random

from autotuner.simulator.config import EngineExitError, Log
from autotuner.simulator.request import Request
from autotuner.simulator.scheduler import Scheduler, Step

SLIP_S = 0.1
"""How late a step may end before the schedule slips."""
MIN_NOISE_FACTOR = 0.2
"""Noise never shortens a step below this share of its time."""


class EngineLoop:
    """Runs one replica until it is cancelled or the engine exits."""

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        speed: float,
        noise: float,
        on_step: Callable[["EngineLoop", Step], None],
        log: Log,
        seed: int = 0,
    ) -> None:
        self.scheduler = scheduler
        self.slipped_s = 0.0
        self._speed = speed
        self._noise = noise
        self._on_step = on_step
        self._log = log
        self._random = Random(seed)  # noqa: S311 - noise, not a secret
        self._wake = asyncio.Event()

    def add(self, request: Request) -> None:
        """Queues a request for the next step."""
        self.scheduler.add(request)
        self._wake.set()

    async def run(self) -> None:
        """Executes steps; never returns.

        Raises:
            EngineExitError: The engine exits, for instance because memory runs out.
        """
        due = time.monotonic()
        while True:
            step = self.scheduler.next_step()
            if step is None:
                self._wake.clear()
                if not self.scheduler.idle:
                    raise EngineExitError("simulated: the scheduler is stuck; this is a bug in the simulator", 70)
                await self._wake.wait()
                due = time.monotonic()
                continue
            due += self._seconds(step)
            late = time.monotonic() - due
            if late > SLIP_S:
                self._slip(late)
                due += late
            await asyncio.sleep(max(0.0, -late))
            advanced = self.scheduler.finish_step(step)
            self._on_step(self, step)
            for request in advanced:
                if request.first_s is None:
                    request.first_s = time.monotonic()
                request.on_token(request)

    def _seconds(self, step: Step) -> float:
        factor = max(MIN_NOISE_FACTOR, self._random.gauss(1.0, self._noise)) if self._noise else 1.0
        return step.seconds * factor / self._speed

    def _slip(self, late_s: float) -> None:
        if not self.slipped_s:
            self._log(
                f"simulated: this machine was {late_s * 1000:.0f} ms late for a step; from here on, measurements may "
                "reflect this machine instead of the simulated one; lower the speed or the load"
            )
        self.slipped_s += late_s
