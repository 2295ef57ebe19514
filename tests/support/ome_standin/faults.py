"""What can be made to go wrong with the stand-in while it runs, in one place that all its parts look at."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Faults:
    """Set through :meth:`ome.fixture.OmeStandIn.fault`."""

    webhook: str = "up"
    """``up``; ``down``: connection refused; ``x509``: a certificate that the API server does not trust; ``slow``:
    answers after its 10 s are over."""
    controller_stopped: bool = False
    """Nothing is reconciled; what happened meanwhile is made up for afterward."""
    slow_status_s: float = 0.0
    """Every status is written this much later."""
    agent: str = "up"
    """``up``; ``crash``: its pods end again and again, saying the node's shape is unknown; ``stopped``: it does
    nothing, and says nothing."""
    downloads: str = "done"
    """Result of a download from a hub: ``done``, ``failed`` or ``in_transit`` (never finished)."""
    benchmark: str = ""
    """``all_errors``, ``no_files`` or ``nothing_completed``: the benchmark ends well all the same; ``crash``."""

    def set(self, changes: dict[str, Any]) -> None:
        """Changes some; raises ``ValueError`` for an unknown name."""
        known = {field.name for field in fields(self)}
        if unknown := set(changes) - known:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
        for name, value in changes.items():
            setattr(self, name, value)

    def told(self) -> dict[str, Any]:
        """All, as they are."""
        return asdict(self)
