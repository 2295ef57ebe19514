"""Load generators in a cluster: complete output, their ends, and removal of all objects."""

import json
import random
import re
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


async def run_and_call(client: CommandRunner, on_line: Callable[[], None], **order: Any) -> None:
    """Runs the worker and calls ``on_line`` for each line of its output."""
    async with client.run(WORKER, json.dumps(order).encode(), labels=LABELS) as lines:
        async for _ in lines:
            await run_sync(on_line)


async def test_output_of_jobs(kube: Any, recorder: Recorder) -> None:
    """On one server: many lines, long lines, an exit code, a spec of megabytes, and a run that is left early."""
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
        assert failure.log_tail.splitlines()[-1] == "no such model"
        noise = random.Random(1).randbytes(800_000).hex()
        assert await lines_of(client, echo=noise[:10], padding=noise) == [noise[:10].encode()]
        with anyio.fail_after(60):
            async with client.run(WORKER, json.dumps({"lines": 1, "wait": 600}).encode(), labels=LABELS) as output:
                async for _ in output:
                    break
        assert kube.objects("pods", "loadgen") == []
        assert kube.objects("secrets") == []


async def test_spec_is_deleted_once_it_is_read(kube: Any, recorder: Recorder) -> None:
    """It may contain credentials, which must not be in any other object."""
    async with kube.deployer().deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        order = json.dumps({"lines": 1, "wait": 600, "token": SECRET}).encode()
        async with endpoint.client.run(WORKER, order, labels=LABELS) as lines:
            async for _ in lines:
                break
            assert kube.objects("secrets") == []
            objects = json.dumps([kube.objects(kind) for kind in ("jobs", "pods")])
            assert SECRET not in objects
            owners = {o["metadata"]["ownerReferences"][0]["name"] for o in kube.objects("jobs", "loadgen")}
            assert owners == {o["metadata"]["name"] for o in kube.objects("jobs", "server")}


async def test_failed_load_generators(kube: Any, recorder: Recorder) -> None:
    """A load generator that is killed, and one whose image is missing."""
    async with kube.deployer().deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        with pytest.raises(TrialFailedError) as caught:
            await run_and_call(endpoint.client, lambda: kube.kill("loadgen"), lines=1, wait=600)
        assert caught.value.failure.cause is FailureCause.BENCHMARK_FAILED
        assert re.findall(r"-?\d+", caught.value.failure.message) == ["-9", "1"], "exit code, and frames that arrived"
        endpoint.client._settings = kube.deployer(loadgen_image="no/such:1").settings
        with pytest.raises(TrialFailedError) as caught:
            await run_and_call(endpoint.client, lambda: pytest.fail("there is no image"), lines=1)
        assert caught.value.failure.cause is FailureCause.IMAGE_MISSING
        assert "deploy.loadgen_image" in caught.value.failure.remedy


@pytest.mark.parametrize("load", ["port-forward", "direct"])
async def test_load_from_this_machine(kube: Any, recorder: Recorder, load: str) -> None:
    changes = {"url_template": "http://{ip}:{port}"} if load == "direct" else {}
    deployer = kube.deployer(load=load, loadgen_image=None, **changes)
    async with deployer.deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        assert await lines_of(endpoint.client, lines=1) == [b"0 "]
        assert [("port-forward" in text) for text in endpoint.client.caveats] == ([True] if load != "direct" else [])
        assert endpoint.url.startswith("http://127.0.0.1:") == (load != "direct")
        assert kube.objects("jobs", "loadgen") == []
