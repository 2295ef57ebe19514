"""Removal of a container whose runner was killed.

Run as ``python -m autotuner.deployers.docker.remove_orphan``, with the spec on stdin.
"""

import sys
from typing import Self

import anyio
from pydantic import BaseModel

from autotuner.deployers.docker.client import connected
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.study.failure import TrialFailedError

_LATE_S = 10.0
"""Delay before the second removal: the engine may still be creating the container when the runner is killed."""


class Orphan(BaseModel):
    """The container to remove."""

    name: str
    settings: DockerSettings

    @classmethod
    def of(cls, name: str, settings: DockerSettings) -> Self:
        """Creates it with only the settings needed to reach the engine and to remove a container."""
        needed = settings.model_dump(include={"docker_host", "stop_grace", "engine_patience"})
        return cls(name=name, settings=DockerSettings.model_validate(needed))

    def spec(self) -> bytes:
        """Returns the JSON for this module's stdin."""
        return self.model_dump_json(exclude_unset=True).encode()


async def remove(orphan: Orphan) -> None:
    """Removes the container at once, and again after a delay."""
    try:
        async with connected(orphan.settings) as engine:
            await engine.remove(orphan.name, orphan.settings.stop_grace)
            await anyio.sleep(_LATE_S)
            await engine.remove(orphan.name, 0.0)
    except TrialFailedError as error:  # the next run, or reap, tries again
        sys.exit(error.failure.message)


if __name__ == "__main__":
    anyio.run(remove, Orphan.model_validate_json(sys.stdin.read()))
