"""Identity of the image behind a tag, on a real container engine."""

from collections.abc import Callable

import aiodocker
import pytest

from autotuner.deployers.docker.deployer import DockerDeployer
from autotuner.testing.fake_plans import telling_plan
from support.labs.docker_engine import IMAGE, OwnEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
REPOSITORY = "autotuner-test-moved"


async def test_facts_change_with_a_moved_tag(make: Callable[..., DockerDeployer], engine: OwnEngine) -> None:
    deployer = make(image=f"{REPOSITORY}:1")
    plan = telling_plan()
    assert await deployer.facts(plan) == {}, "no facts about a missing image, and no pull"
    async with aiodocker.Docker(url=engine.url) as docker:
        try:
            await docker.images.tag(IMAGE, repo=REPOSITORY, tag="1")
            first = await deployer.facts(plan)
            assert first == await deployer.facts(plan)
            container = await docker.containers.create({"Image": IMAGE, "Cmd": ["true"], "Labels": {"moved": "1"}})
            await container.commit(repository=REPOSITORY, tag="1")
            await container.delete(force=True)
            second = await deployer.facts(plan)
            assert set(first) == set(second) == {"image"}
            assert first["image"] != second["image"]
        finally:
            await docker.images.delete(f"{REPOSITORY}:1", force=True)
    assert await make(image=IMAGE).facts(plan) != second
