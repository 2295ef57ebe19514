"""Load from inside a cluster: every line, its end, and no way to outlive the block."""

import json
import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from autotuner.plugins.deployer import CommandRunner
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.testing.deployer_kit import LABELS, Recorder
from autotuner.testing.fake_plans import fake_plan

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

WORKER = "autotuner.testing.fake_worker"
SECRET = "very-secret-value"


async def lines_of(client: CommandRunner, **order: Any) -> list[bytes]:
    async with client.run(WORKER, json.dumps(order).encode(), labels=LABELS) as lines:
        return [line async for line in lines]


async def heard(client: CommandRunner, then: Callable[[], None], **order: Any) -> None:
    """Runs it, and does something at each line."""
    async with client.run(WORKER, json.dumps(order).encode(), labels=LABELS) as lines:
        async for _ in lines:
            await run_sync(then)


async def test_a_job_tells_everything(kube: Any, recorder: Recorder) -> None:
    """In one server's time: many lines, long ones, an exit code, a spec of megabytes, and one that is left early."""
    async with kube.deployer().deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        client = endpoint.client
        lines = await lines_of(client, lines=5_000, size=10)
        assert [int(line.rstrip(b"x")) for line in lines] == list(range(5_000))
        lines = await lines_of(client, lines=2, size=3_000_000)
        assert [len(line) for line in lines] == [3_000_000] * 2
        with pytest.raises(TrialFailedError) as caught:
            await lines_of(client, lines=1, say="no such model", exit_code=3)
        failure = caught.value.failure
        assert (failure.cause, failure.exit_code) == (FailureCause.BENCHMARK_FAILED, 3)
        assert failure.message.endswith("with exit code 3: no such model")
        noise = random.Random(1).randbytes(800_000).hex()
        assert await lines_of(client, echo=noise[:10], padding=noise) == [noise[:10].encode()]
        with anyio.fail_after(60):
            async with client.run(WORKER, json.dumps({"lines": 1, "wait": 600}).encode(), labels=LABELS) as lines_now:
                async for _ in lines_now:
                    break
        assert kube.objects("pods", "loadgen") == []
        assert kube.objects("secrets") == []


async def test_the_spec_is_gone_once_it_is_read(kube: Any, recorder: Recorder) -> None:
    """It may hold credentials: they are in no other object, argument, variable, log line or file of ours."""
    async with kube.deployer().deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        order = json.dumps({"lines": 1, "wait": 600, "token": SECRET}).encode()
        async with endpoint.client.run(WORKER, order, labels=LABELS) as lines:
            async for _ in lines:
                break
            assert kube.objects("secrets") == []
            seen = json.dumps([kube.objects(kind) for kind in ("jobs", "pods")])
            assert SECRET not in seen
            owners = {o["metadata"]["ownerReferences"][0]["name"] for o in kube.objects("jobs", "loadgen")}
            assert owners == {o["metadata"]["name"] for o in kube.objects("jobs", "server")}


async def test_the_load_generators_end(kube: Any, recorder: Recorder) -> None:
    """Killed under load, the load is void; no image for it names the setting."""
    async with kube.deployer().deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        with pytest.raises(TrialFailedError) as caught:
            await heard(endpoint.client, lambda: kube.kill("loadgen"), lines=1, wait=600)
        assert caught.value.failure.cause is FailureCause.BENCHMARK_FAILED
        assert "is incomplete" in caught.value.failure.message
        endpoint.client._settings = kube.deployer(loadgen_image="no/such:1").settings
        with pytest.raises(TrialFailedError) as caught:
            await heard(endpoint.client, lambda: pytest.fail("there is no image"), lines=1)
        assert caught.value.failure.cause is FailureCause.IMAGE_MISSING


@pytest.mark.parametrize("load", ["port-forward", "direct"])
async def test_load_from_here(kube: Any, recorder: Recorder, load: str) -> None:
    changes = {"url_template": "http://{ip}:{port}"} if load == "direct" else {}
    deployer = kube.deployer(load=load, loadgen_image=None, **changes)
    async with deployer.deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        assert await lines_of(endpoint.client, lines=1) == [b"0 "]
        assert [("port-forward" in text) for text in endpoint.client.caveats] == ([True] if load != "direct" else [])
        assert endpoint.url.startswith("http://127.0.0.1:") == (load != "direct")
        assert kube.objects("jobs", "loadgen") == []
