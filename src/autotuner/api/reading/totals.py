"""The store in numbers."""

from autotuner.store import open_to_read
from autotuner.store.lists.totals import StoreTotals, read_totals
from autotuner.tuning.run_liveness import living_holders


def totals(url: str | None) -> StoreTotals:
    """See :meth:`autotuner.api.client.Autotuner.totals`."""
    with open_to_read(url) as store:
        return read_totals(store.source, living=living_holders(store))
