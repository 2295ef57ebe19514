"""All metrics of one server."""

import time
from collections.abc import Callable, Iterable
from threading import Lock

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import autotuner
from autotuner import EventFeed, StoreTotals, StudyOverview, StudyReader
from autotuner.server.monitoring.loop_delay import LoopDelay
from autotuner.server.monitoring.requests import RequestCounts
from autotuner.server.monitoring.store_families import families
from autotuner.server.monitoring.webhook_attempts import WebhookAttempts

KEPT_S = 1.0
"""How long counts of the store are used again, however many scrapers there are."""
MOST_STUDIES = 20
"""Running studies that have series of their own."""


class Metrics:
    """Metrics of the store, the requests, the event loop and the process."""

    def __init__(self, tuner: autotuner.Autotuner, studies: StudyReader, feed: EventFeed) -> None:
        # They would add a series to each counter and histogram, and no dashboard reads them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.requests = RequestCounts(self._registry)
        self.loop_delay = LoopDelay(self._registry)
        self.webhooks = WebhookAttempts(self._registry)
        build = Gauge("autotuner_build_info", "Always 1; version of the server.", ("version",), registry=self._registry)
        build.labels(autotuner.__version__).set(1)
        streams = Gauge("autotuner_event_streams", "Open streams of events of this server.", registry=self._registry)
        streams.set_function(lambda: feed.readers)
        self._registry.register(_StoreCollector(tuner.totals, studies))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the newest format that an ``Accept`` header names, and its media type. Raises
        ``AutotunerError`` if the store cannot be read."""
        encode, media = choose_encoder(accept)
        return encode(self._registry), media


class _StoreCollector(Collector):
    def __init__(
        self,
        totals: Callable[[], StoreTotals],
        studies: StudyReader,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals = totals
        self._studies = studies
        self._clock = clock
        self._lock = Lock()
        self._read: tuple[float, StoreTotals, tuple[StudyOverview, ...]] | None = None

    def collect(self) -> Iterable[Metric]:
        """Reads the store, or returns what was just read."""
        with self._lock:  # two scrapers at once ask the database once
            if self._read is None or self._clock() - self._read[0] >= KEPT_S:
                running = self._studies.studies(state="running", limit=MOST_STUDIES).items
                alive = tuple(study for study in running if study.running)
                self._read = (self._clock(), self._totals(), alive)
            _, totals, alive = self._read
        return families(totals, alive)
