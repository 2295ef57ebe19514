"""Identity of the image that a trial runs: a tag may point to another image later."""

from collections.abc import Mapping
from contextlib import suppress

from autotuner.deployers.docker.client import connected
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.study.failure import TrialFailedError


async def image_facts(name: str | None, settings: DockerSettings) -> Mapping[str, str]:
    """Returns the fact ``image``: name and id of the image, before and after each launch the same.

    Empty if the image is not present or the engine is unreachable, which the launch reports.
    """
    if name is None:
        return {}
    with suppress(TrialFailedError):
        async with connected(settings) as engine:
            if (image := await engine.image(name)) is not None:
                return {"image": f"{name} ({image['Id']})"}
    return {}
