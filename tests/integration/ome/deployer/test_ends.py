"""Ends of InferenceServices: deleted by another client, or with a dead tuner, a lost node or API server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from autotuner.deployers.kubernetes.pods import removal
from autotuner.study.failure import Blame, FailureCause, TrialFailedError
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan
from support.labs.cluster_parts import Part
from support.ome_standin.lab import eventually
from support.ome_standin.sample_objects import model
from support.outages import restore, worker_output_over_a_restart

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.campaign]

TUNER = """
import anyio, json, sys
from dataclasses import replace
from pathlib import Path
from autotuner.deployers.kubernetes.pods import deadline
from autotuner.deployers.ome.deployer import OmeDeployer
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.study.launch import Labels
from autotuner.study.spec import Model
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.testing.fake_plans import fake_plan

async def main():
    settings, owner, model, folder, slow = sys.argv[1:]
    deployer = OmeDeployer(OmeSettings.model_validate(json.loads(settings)))
    deployer = deployer.bind(FakeEngine(FakeEngineSettings()), Model(path=model))
    labels = Labels(study="killed", trial=3, owner=owner)
    context = Recorder(Path(folder), labels=labels).context
    context = replace(context, on_phase=lambda phase: print(phase.value, flush=True))
    async with deployer.deploy(fake_plan(never_ready=slow == "loading"), context) as endpoint:
        print("ready", flush=True)
        run = endpoint.client.run("autotuner.testing.fake_worker", b'{"lines": 1, "wait": 600}', labels=labels)
        async with run as lines:
            async for line in lines:
                print("measuring", flush=True)

anyio.run(main)
"""


@pytest.fixture
def mortal(at: Any) -> Iterator[Any]:
    """A lab for a test that kills parts of its cluster, which are restarted after it."""
    yield at
    restore(at.cluster)
    eventually(lambda: at.left() == [], "no object of autotuner is left")


async def test_service_and_pod_deleted_by_another_client(at: Any, tmp_path: Path) -> None:
    for number, kind in enumerate(("Pod", "InferenceService")):
        recorder = Recorder(tmp_path / str(number))
        async with at.deployer().deploy(fake_plan(), recorder.context) as endpoint:
            name = (at.pod() if kind == "Pod" else at.service())["metadata"]["name"]
            await run_sync(at.lab.delete, kind, name)
            with anyio.fail_after(30):
                failure = await endpoint.died()
            assert failure.blame is Blame.ENVIRONMENT
            assert "by someone else" in failure.message
        assert recorder.ends == [], "the server did not end by itself"


def killed_in(state: str, argv: list[str], at: Any) -> None:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tuner:
        assert tuner.stdout
        for line in tuner.stdout:
            if line.strip() == state:
                break
        if state == "launching":
            eventually(lambda: at.lab.all("InferenceService"))
        tuner.kill()


@pytest.mark.parametrize("state", ["launching", "loading", "measuring"])
async def test_leftovers_of_a_killed_tuner_are_reaped(at: Any, tmp_path: Path, state: str) -> None:
    """SIGKILL in each state: a run that finds the owner dead removes service, load generator and Secrets."""
    settings = json.dumps(at.settings(runtime="fake-runtime"))
    argv = [sys.executable, "-c", TUNER, settings, "dead", "sim-model", str(tmp_path / "t"), state]
    await run_sync(killed_in, state, argv, at)
    assert await at.deployer().reap({"other"}.__contains__) == []
    (line,) = await at.deployer().reap({"dead"}.__contains__)
    assert [
        part for part in ("inferenceservice at-", "study killed", "trial 3", "owner dead") if part not in line
    ] == []
    await run_sync(eventually, lambda: at.left() == [], "no object is left")
    assert await at.deployer().reap({"dead"}.__contains__) == []


async def test_service_of_a_killed_tuner_expires(at: Any, tmp_path: Path) -> None:
    """Without a reaper: the service is owned by a Job whose deadline is no longer extended."""
    settings = json.dumps(at.settings(runtime="fake-runtime", api_patience="1s"))
    code = TUNER.replace("async def main", "deadline.LEASE_S = 4.0\n\nasync def main")
    argv = [sys.executable, "-c", code, settings, "dead", "sim-model", str(tmp_path / "t"), "measuring"]
    await run_sync(killed_in, "measuring", argv, at)
    await run_sync(eventually, lambda: at.left() == [], "no object is left")


async def test_restarted_api_server(mortal: Any, recorder: Recorder) -> None:
    """Killed while a load generator runs: none of its output is lost, and the server is the same."""
    async with mortal.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        before = await endpoint.identity()
        numbers = await worker_output_over_a_restart(mortal.cluster, endpoint, recorder.context.labels, 200)
        assert numbers == list(range(200))
        assert await endpoint.identity() == before
        await run_sync(mortal.kill)
        with anyio.fail_after(30):
            assert (await endpoint.died()).cause is FailureCause.CRASH_UNDER_LOAD
    assert mortal.left() == []


async def test_lost_node(mortal: Any, recorder: Recorder) -> None:
    """Detected once the cluster detects it. The pod cannot be ended, which is reported without waiting."""
    notes: list[str] = []
    async with mortal.deployer().deploy(fake_plan(), replace(recorder.context, note=notes.append)) as endpoint:
        await run_sync(mortal.cluster.kill, Part.KUBELET)
        with anyio.fail_after(90):
            failure = await endpoint.died()
        assert failure.blame is Blame.ENVIRONMENT
        assert mortal.cluster.node in failure.message
    assert mortal.cluster.node in notes[-1]
    assert recorder.ends == []


async def test_deleted_model_blocks_the_removal_of_its_services(
    at: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OME's webhook rejects the removal of the finalizer. That is reported; finalizers are never removed by force."""
    monkeypatch.setattr(removal, "_REMOVAL_S", 1.0)
    name = f"own-{at.lab.namespace}"
    notes = list[str]()
    own = model(at.ome.settings.model_path, name=name)
    at.lab.created(own)
    label = f"models.ome.io/clusterbasemodel.{name}"
    eventually(lambda: label in at.lab.get("Node", at.cluster.node)["metadata"]["labels"])
    context = replace(recorder.context, note=notes.append)
    async with at.deployer(model=name).deploy(fake_plan(), context):
        await run_sync(at.lab.delete, "ClusterBaseModel", name)
        await run_sync(eventually, lambda: not at.lab.get("ClusterBaseModel", name))
    assert [part for part in (f"model {name} ", "webhook") if part not in notes[-1]] == []
    (service,) = at.lab.all("InferenceService")
    assert service["metadata"]["finalizers"]
    at.lab.created(own)
    eventually(lambda: at.left() == [], "it is removed once the model exists again")
    at.lab.delete("ClusterBaseModel", name)


async def test_deleted_runtime_is_not_the_configurations_fault(at: Any, recorder: Recorder) -> None:
    async with at.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        await run_sync(at.lab.delete, "ServingRuntime", "fake-runtime")
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
        assert "runtime fake-runtime " in caught.value.failure.message
