"""How late the event loop is: whatever blocks it delays every request and every stream of events."""

import asyncio

from prometheus_client import CollectorRegistry, Histogram

_EVERY_S = 0.1
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopDelay:
    """Measures by how much sleeping takes longer than it should."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._delays = Histogram(
            "autotuner_event_loop_delay_seconds",
            "How late the event loop of this server was, measured ten times per second.",
            buckets=_BUCKETS,
            registry=registry,
        )

    async def watch(self) -> None:
        """Measures until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self._delays.observe(max(0.0, loop.time() - due))
