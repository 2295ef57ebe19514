"""Ends of containers: by another user, with their tuner, and with their engine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from autotuner.deployers.docker.deployer import DockerDeployer, DockerSettings
from autotuner.deployers.shared.failures import UnusableTargetError
from autotuner.plugins.deployer import DeployContext, Endpoint
from autotuner.study.check import CheckStatus
from autotuner.study.failure import Blame, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan
from support.labs.docker_engine import OwnEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

Make = Callable[..., DockerDeployer]

TUNER = """
import anyio, json, sys
from pathlib import Path
from autotuner.deployers.docker.deployer import DockerDeployer, DockerSettings
from autotuner.study.launch import Labels
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan

async def main():
    deployer = DockerDeployer(DockerSettings.model_validate(json.loads(sys.argv[1])))
    labels = Labels(study=sys.argv[2], trial=3, owner=sys.argv[3])
    async with deployer.deploy(fake_plan(), Recorder(Path(sys.argv[4]), labels=labels).context) as endpoint:
        print(endpoint.url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.usefixtures("nothing_left")
class TestForeignInterference:
    """Another user of the engine changes the container."""

    async def test_restarted(self, make: Make, engine: OwnEngine, recorder: Recorder) -> None:
        async with make().deploy(fake_plan(), recorder.context) as endpoint:
            before = await endpoint.identity()
            assert engine.api("POST", f"/containers/{before.id}/restart", params={"t": 0}).status_code == 204
            assert await identity_or_cause(endpoint) != before

    async def test_paused(self, make: Make, engine: OwnEngine, recorder: Recorder) -> None:
        async with make().deploy(fake_plan(), recorder.context) as endpoint:
            name = (await endpoint.identity()).id
            engine.api("POST", f"/containers/{name}/pause")
            with pytest.raises(TrialFailedError) as caught:
                await endpoint.identity()
            assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED

    async def test_disconnected(self, make: Make, engine: OwnEngine, recorder: Recorder) -> None:
        """The container runs, but its port is no longer published, so that another server may answer there."""
        async with make().deploy(fake_plan(), recorder.context) as endpoint:
            name = (await endpoint.identity()).id
            network = engine.settings()["network"]
            engine.api("POST", f"/networks/{network}/disconnect", json={"Container": name, "Force": True})
            with pytest.raises(TrialFailedError) as caught:
                await endpoint.identity()
            assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
            assert "port none" in caught.value.failure.message

    async def test_removed(self, make: Make, engine: OwnEngine, recorder: Recorder) -> None:
        async with make().deploy(fake_plan(), recorder.context) as endpoint:
            name = (await endpoint.identity()).id
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    anyio.to_thread.run_sync,
                    lambda: engine.api("DELETE", f"/containers/{name}", params={"force": "true"}),
                )
                with anyio.fail_after(20):
                    failure = await endpoint.died()
            assert failure.blame is Blame.ENVIRONMENT
            assert "someone else" in failure.message
            with pytest.raises(TrialFailedError):
                await endpoint.identity()


@pytest.mark.usefixtures("nothing_left")
class TestDeadOwners:
    """Cleanup after a tuner that was killed."""

    def start_tuner(self, engine: OwnEngine, owner: str, study: str, folder: Path) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", TUNER, json.dumps(engine.settings()), study, owner, str(folder)]
        tuner = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert tuner.stdout
        assert tuner.stdout.readline().startswith("http://")
        tuner.stdout.close()
        return tuner

    async def test_container_ends_with_a_killed_tuner(self, engine: OwnEngine, tmp_path: Path) -> None:
        """The container may hold a GPU; it must end without another run or ``reap``."""
        killed, living = (self.start_tuner(engine, name, name, tmp_path / name) for name in ("killed", "living"))
        try:
            killed.kill()
            killed.wait()
            with anyio.fail_after(60):
                while len(engine.containers()) > 1:  # noqa: ASYNC110 - another process's
                    await anyio.sleep(0.05)
            assert [c["Labels"]["autotuner.owner"] for c in engine.containers()] == ["living"]
        finally:
            living.send_signal(signal.SIGINT)
            living.wait(30)
        assert engine.containers() == []

    async def test_reap_removes_containers_of_dead_owners_only(
        self, make: Make, engine: OwnEngine, tmp_path: Path
    ) -> None:
        dead = self.start_tuner(engine, "dead", "first", tmp_path / "1")
        living = self.start_tuner(engine, "living", "second", tmp_path / "2")
        try:
            for watcher in psutil.Process(dead.pid).children():  # as if its whole control group was killed
                watcher.kill()
            dead.kill()
            dead.wait()
            assert len(engine.containers()) == 2
            assert await make().reap(lambda _: False, study="second") == []
            assert {(o.study, o.trial, o.owner, o.runner_ended) for o in await make().launched_objects()} == {
                ("first", 3, "dead", True),
                ("second", 3, "living", False),
            }
            (line,) = await make().reap(lambda _: False)  # a store that does not know either owner
            assert "study first trial 3 (owner dead)" in line
            assert [c["Labels"]["autotuner.owner"] for c in engine.containers()] == ["living"]
            assert await make().reap({"dead"}.__contains__) == []
        finally:
            living.send_signal(signal.SIGINT)
            living.wait(30)
        assert engine.containers() == [], "an interrupted tuner removes its container"


class TestLostEngine:
    """The engine becomes unreachable."""

    def deployer(self, engine: OwnEngine, **changes: Any) -> DockerDeployer:
        return DockerDeployer(DockerSettings.model_validate(engine.settings(**changes)))

    @pytest.mark.parametrize("how", ["kill", "terminate"])
    async def test_during_a_trial(self, disposable_engine: OwnEngine, tmp_path: Path, how: str) -> None:
        """The trial is void at once, the next one works, and the lost container is removed."""
        deployer = self.deployer(disposable_engine)
        first = Recorder(tmp_path / "1")
        async with deployer.deploy(fake_plan(), first.context) as endpoint:
            server = endpoint.pids()
            assert server
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, getattr(disposable_engine, how))
                with anyio.fail_after(40):
                    failure = await endpoint.died()
            assert failure.cause is FailureCause.DEPLOYER_LOST
            assert failure.blame is Blame.ENVIRONMENT
            assert failure.remedy
            with pytest.raises(TrialFailedError) as caught:
                await endpoint.identity()
            assert caught.value.failure.cause is FailureCause.DEPLOYER_LOST
            disposable_engine.start()
        assert disposable_engine.containers() == []
        assert first.ends == [], "not the server's fault"
        async with deployer.deploy(fake_plan(), Recorder(tmp_path / "2").context) as endpoint:
            await endpoint.identity()
        assert disposable_engine.containers() == []

    async def test_during_removal(self, disposable_engine: OwnEngine, tmp_path: Path) -> None:
        """Removal gives up after ``engine_patience``; the next launch removes the container by its owner label."""
        deployer = self.deployer(disposable_engine, engine_patience=0.5)
        notes: list[str] = []
        recorder = Recorder(tmp_path / "1")
        recorder.context = docker_context(recorder, notes)
        async with deployer.deploy(fake_plan(), recorder.context):
            disposable_engine.kill()
        assert "removed before the next launch" in notes[-1]
        disposable_engine.start()
        assert len(disposable_engine.containers()) == 1
        async with deployer.deploy(fake_plan(), Recorder(tmp_path / "2").context):
            assert len(disposable_engine.containers()) == 1
        assert disposable_engine.containers() == []

    async def test_gpu_request_without_the_nvidia_hook(self, disposable_engine: OwnEngine, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path / "1")
        context = docker_context(recorder, [], gpus=(Gpu(index=0, uuid="GPU-a"),))
        with pytest.raises(TrialFailedError) as caught:
            async with self.deployer(disposable_engine).deploy(fake_plan(), context):
                pytest.fail("there are no GPUs")
        assert caught.value.failure.cause is FailureCause.GPU_UNAVAILABLE
        assert "NVIDIA Container Toolkit" in caught.value.failure.remedy
        assert disposable_engine.containers() == []

    @pytest.mark.parametrize("host", ["unix:///no/such/socket", "tcp://127.0.0.1:1", "tcp://192.0.2.77:2375"])
    async def test_unreachable_from_the_start(self, host: str, recorder: Recorder) -> None:
        deployer = DockerDeployer(DockerSettings(docker_host=host, image="x", engine_patience=0.0))
        (check,) = await deployer.preflight([fake_plan()])
        assert (check.status, bool(check.remedy)) == (CheckStatus.FAIL, True)
        with pytest.raises(UnusableTargetError) as unusable:
            await deployer.hardware()
        assert "\n" not in str(unusable.value)
        assert await deployer.reap(lambda _: True) == []
        with pytest.raises(TrialFailedError) as caught:
            async with deployer.deploy(fake_plan(), recorder.context):
                pytest.fail("there is no engine")
        assert caught.value.failure.blame is Blame.ENVIRONMENT

    async def test_permission_denied_for_the_socket(self, engine: OwnEngine, make: Make) -> None:
        deployer = make(engine_patience=0.0)
        folder = engine.socket.parent
        folder.chmod(0o711)
        os.seteuid(65534)
        try:
            (check,) = await deployer.preflight([fake_plan()])
        finally:
            os.seteuid(0)
        assert check.status is CheckStatus.FAIL
        assert "group docker" in check.remedy


async def test_full_disk_under_the_data_root(small_disk: Path, tmp_path: Path) -> None:
    with OwnEngine(gpu_hook=False, data=small_disk / "data") as own:
        deployer = DockerDeployer(DockerSettings.model_validate(own.settings()))
        failed = [c.name for c in await deployer.preflight([fake_plan()]) if c.status is CheckStatus.FAIL]
        assert failed == ["disk"]
        fill(small_disk / "filler")
        with pytest.raises(TrialFailedError) as caught:
            async with deployer.deploy(fake_plan(), Recorder(tmp_path / "1").context):
                pytest.fail("the disk is full")
        assert caught.value.failure.cause is FailureCause.DISK_FULL
        (small_disk / "filler").unlink()
        assert own.containers() == []


def docker_context(recorder: Recorder, notes: list[str], **changes: Any) -> DeployContext:
    """The recorder's context, with its notes appended to a list."""
    return replace(recorder.context, note=notes.append, **changes)


async def identity_or_cause(endpoint: Endpoint) -> object:
    try:
        return await endpoint.identity()
    except TrialFailedError as error:
        return error.failure.cause


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while out.write(bytes(1 << 12)):
            pass
