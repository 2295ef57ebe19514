"""How servers of OME end: by someone else, with their tuner, their node, the API server, or not at all."""

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
from support.ome_standin.furniture import model
from support.ome_standin.lab import eventually
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
    """A lab for a test that kills parts of its cluster; they run again afterward."""
    yield at
    restore(at.cluster)
    eventually(lambda: at.left() == [], "everything of ours is gone")


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
        assert recorder.ends == [], "not the server's fault"


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
async def test_killed_tuner_leaves_nothing_forever(at: Any, tmp_path: Path, state: str) -> None:
    """SIGKILL in every state; whoever finds its owner dead removes service, load and Secrets together."""
    settings = json.dumps(at.settings(runtime="fake-runtime"))
    argv = [sys.executable, "-c", TUNER, settings, "dead", "sim-model", str(tmp_path / "t"), state]
    await run_sync(killed_in, state, argv, at)
    assert await at.deployer().reap({"other"}.__contains__) == []
    (line,) = await at.deployer().reap({"dead"}.__contains__)
    assert line.startswith("removed inferenceservice at-")
    assert "of study killed trial 3 (owner dead)" in line
    await run_sync(eventually, lambda: at.left() == [], "nothing is left")
    assert await at.deployer().reap({"dead"}.__contains__) == []


async def test_a_killed_tuners_service_ends_by_itself(at: Any, tmp_path: Path) -> None:
    """Nobody reaps it: it belongs to a Job whose deadline is moved no more, and goes with that."""
    settings = json.dumps(at.settings(runtime="fake-runtime", api_patience="1s"))
    code = TUNER.replace("async def main", "deadline.LEASE_S = 4.0\n\nasync def main")
    argv = [sys.executable, "-c", code, settings, "dead", "sim-model", str(tmp_path / "t"), "measuring"]
    await run_sync(killed_in, "measuring", argv, at)
    await run_sync(eventually, lambda: at.left() == [], "nothing is left")


async def test_an_api_server_that_is_restarted_is_waited_for(mortal: Any, recorder: Recorder) -> None:
    """Killed under a server, while load runs and its words come: nothing is lost, and the server is the same."""
    async with mortal.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        before = await endpoint.identity()
        words = await worker_output_over_a_restart(mortal.cluster, endpoint, recorder.context.labels, 200)
        assert words == list(range(200))
        assert await endpoint.identity() == before
        await run_sync(mortal.kill)
        with anyio.fail_after(30):
            assert (await endpoint.died()).cause is FailureCause.CRASH_UNDER_LOAD
    assert mortal.left() == []


async def test_a_node_that_is_lost(mortal: Any, recorder: Recorder) -> None:
    """Noticed when the cluster notices it. The pod cannot be ended: that is reported, and not waited for."""
    notes: list[str] = []
    async with mortal.deployer().deploy(fake_plan(), replace(recorder.context, note=notes.append)) as endpoint:
        await run_sync(mortal.cluster.kill, Part.KUBELET)
        with anyio.fail_after(90):
            failure = await endpoint.died()
        assert failure.blame is Blame.ENVIRONMENT
        assert f"node {mortal.cluster.node} no longer responds" in failure.message
    assert f"its node {mortal.cluster.node} does not respond" in notes[-1]
    assert recorder.ends == []


async def test_a_model_that_is_deleted_holds_its_services(
    at: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OME's webhook refuses to let the finalizer go; that is said, and no finalizer of others is taken away."""
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
    assert f"model {name} was deleted, and OME's webhook refuses to remove a service without its model" in notes[-1]
    (service,) = at.lab.all("InferenceService")
    assert service["metadata"]["finalizers"]
    at.lab.created(own)
    eventually(lambda: at.left() == [], "it goes once the model is there again")
    at.lab.delete("ClusterBaseModel", name)


async def test_a_runtime_that_goes_away_is_no_configurations_fault(at: Any, recorder: Recorder) -> None:
    async with at.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        await run_sync(at.lab.delete, "ServingRuntime", "fake-runtime")
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
        assert "runtime fake-runtime was changed" in caught.value.failure.message
