"""Faults of the stand-in that can be set while it runs, shared by all of its parts."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Faults:
    """Current faults, set by :meth:`support.ome_standin.OmeStandIn.fault`."""

    webhook: str = "up"
    """``up``; ``down``: connection refused; ``x509``: a certificate that the API server does not trust; ``slow``:
    a response after the API server's timeout of 10 s."""
    controller_stopped: bool = False
    """Whether nothing is reconciled; pending changes are reconciled afterward."""
    slow_status_s: float = 0.0
    """Delay of every status, in seconds."""
    agent: str = "up"
    """``up``; ``crash``: its pods crash repeatedly because of an unknown node shape; ``stopped``: it does nothing."""
    downloads: str = "done"
    """Result of a download from a hub: ``done``, ``failed`` or ``in_transit`` (never finished)."""
    benchmark: str = ""
    """``crash``, or a fault with which the benchmark succeeds: ``all_errors``, ``no_files``, ``nothing_completed``."""

    def set(self, changes: dict[str, Any]) -> None:
        """Changes faults; raises ``ValueError`` for an unknown name."""
        known = {field.name for field in fields(self)}
        if unknown := set(changes) - known:
            raise ValueError(f"unknown fault {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        for name, value in changes.items():
            setattr(self, name, value)

    def current(self) -> dict[str, Any]:
        """Returns all faults by name."""
        return asdict(self)
