"""Servers of a double that answer as a toy model, so that their answers can be compared."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from autotuner.plugins.deployer import DeployContext, Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.testing.scripted_http import Asked, Reply, json_reply
from autotuner.testing.toy_model import ToyModel

GOOD = ToyModel(noise=0.02)
BROKEN = ToyModel(noise=0.02, error=3.0, server="broken scales")


def speaking(model: ToyModel) -> Callable[[Asked], Reply]:
    source = Random(1)

    def reply(asked: Asked) -> Reply:
        if asked.method == "GET":
            return json_reply({}, 404)
        made = model.answer(asked.json["prompt"], asked.json["max_tokens"], source)
        logprobs = {"tokens": [t.text for t in made], "top_logprobs": [dict(t.top) for t in made]}
        text = " ".join(t.text for t in made)
        return json_reply(
            {"choices": [{"index": 0, "text": text, "logprobs": logprobs if "logprobs" in asked.json else None}]}
        )

    return reply


class Speaking(FakeDeployer):
    """Servers with ``parallel`` 8 have broken number formats."""

    urls: dict[bool, str]

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        async with super().deploy(plan, context) as endpoint:
            endpoint.url = self.urls[plan.tuned.get("parallel") == 8]
            yield endpoint
