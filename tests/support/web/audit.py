"""The audit of a server's store."""

import time

import autotuner


def audited(count: int) -> list[tuple[str, int]]:
    """Action and status of all entries, the newest first, once there are ``count`` of them: entries are written after
    the response is sent."""
    access = autotuner.open().access()
    while len(entries := access.audit()) < count:
        time.sleep(0.01)
    return [(entry.action, entry.status) for entry in entries]
