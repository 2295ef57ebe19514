"""User-visible wordings of the Docker deployer: failures and preflight checks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiodocker.exceptions import DockerError
from syrupy.assertion import SnapshotAssertion

from autotuner.deployers.docker import capabilities, client, failures, model_mounts, preflight, resource_limits
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.errors import UsageError
from autotuner.study.check import Check
from autotuner.study.failure import Failure
from autotuner.study.launch import Gpu, LaunchPlan
from autotuner.study.spec import Model
from autotuner.testing.deployer_kit import Recorder

REFUSALS = [
    "mkdir /var/lib/docker/x: no space left on device",
    'could not select device driver "" with capabilities: [[gpu]]',
    "unknown or invalid runtime name: nvidia",
    "unknown or invalid runtime name: other",
    "unresolvable CDI devices nvidia.com/gpu=7",
    "nvidia-container-cli: device error: GPU-x: unknown device",
    "No such image: x:1",
    "invalid mount config: bind source path does not exist: /x",
    "Bind for 127.0.0.1:80 failed: port is already allocated",
    "exec /x: argument list too long",
    'exec: "docker-init": executable file not found in $PATH',
    'exec: "vllm": executable file not found in $PATH',
    "error setting rlimit type 8: operation not permitted",
    "network x not found",
    "Range of CPUs is from 0.01 to 2.00",
    "unable to find user x: no matching entries in passwd file",
    "unauthorized: authentication required",
    "something new",
]


def described(failure: Failure) -> list[str]:
    return [failure.cause.value, failure.message, failure.remedy]


@pytest.mark.parametrize("message", REFUSALS)
def test_refused_starts(message: str, snapshot: SnapshotAssertion) -> None:
    assert described(failures.not_started(DockerError(500, message), "the server")) == snapshot


@pytest.mark.parametrize("message", ["manifest unknown", "no basic auth credentials", "no space left on device"])
def test_failed_pulls(message: str, snapshot: SnapshotAssertion) -> None:
    assert described(client._not_pulled("ghcr.io/a/b:1", DockerError(500, message))) == snapshot


@pytest.mark.parametrize(
    ("state", "log"),
    [
        ({"ExitCode": 137, "OOMKilled": True}, ""),
        ({"ExitCode": 127}, "[FATAL tini (7)] exec vllm failed: No such file"),
    ],
)
def test_ended_containers(state: dict[str, Any], log: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    failure = failures.ended(state, Recorder(tmp_path).context, log, was_ready=False)
    assert described(failure) == snapshot


def test_unreachable_engine(snapshot: SnapshotAssertion) -> None:
    assert described(failures.engine_unreachable("Connection refused")) == snapshot


@pytest.mark.parametrize("content", ["missing", "outward"])
def test_model_files(content: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    root = tmp_path / "models"
    root.mkdir()
    (root / "outward").symlink_to(tmp_path)
    settings = DockerSettings(model_roots=(root,), hub_cache=tmp_path / "cache")
    with pytest.raises(model_mounts.ModelFilesError) as caught:
        model_mounts.mounts([str(root / content)], settings)
    assert [text.replace(str(tmp_path), "FOLDER") for text in (caught.value.why, caught.value.remedy)] == snapshot


@pytest.mark.parametrize("path", ["/etc", "../etc"])
def test_refused_models(path: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as caught:
        model_mounts.locate(Model(path=path), DockerSettings())
    assert [str(problem) for problem in caught.value.problems] == snapshot


PLAN = LaunchPlan(command=("vllm",), model="m", gpus=2)
OLD = {"Version": "19.03.1", "ApiVersion": "1.39"}
NEW = {"Version": "28.0.1", "ApiVersion": "1.48"}
GPUS = tuple(Gpu(index=i, uuid=f"GPU-{i}") for i in range(2))


def of_images(_: Path) -> Sequence[Check]:
    never = DockerSettings(pull="never")
    return [
        preflight._image(None, never, here=False),
        preflight._image("a/b:1", never, here=False),
        preflight._image("a/b:1", never, here=True),
        preflight._image("a/b:1", DockerSettings(), here=False),
    ]


def of_gpus(_: Path) -> Sequence[Check]:
    cdi = DockerSettings(gpu_driver="cdi")
    return [
        *preflight._gpus(NEW, {}, [PLAN], DockerSettings(), GPUS[:1]),
        *preflight._gpus(NEW, {"Runtimes": {"nvidia": {}}}, [PLAN], DockerSettings(), GPUS),
        *preflight._gpus(OLD, {}, [PLAN], cdi, GPUS),
        *preflight._gpus(NEW, {}, [PLAN], cdi, GPUS),
        *preflight._gpus(NEW, {"CDISpecDirs": ["/etc/cdi"]}, [PLAN], cdi, GPUS),
    ]


def of_memory_and_engine(_: Path) -> Sequence[Check]:
    return [
        preflight._engine(OLD),
        preflight._engine(NEW),
        preflight._shm({"MemTotal": 8 << 30}, DockerSettings()),
        preflight._shm({"MemTotal": 64 << 30}, DockerSettings()),
        preflight._shm({}, DockerSettings(ipc="host")),
        preflight._disk({"Driver": "overlay2", "DockerRootDir": "/no/such/folder"}, missing=True),
    ]


def of_files(folder: Path) -> Sequence[Check]:
    hub = PLAN.model_copy(update={"hub_models": ("org/m",)})
    cache = folder / "cache"
    cache.mkdir(mode=0o755)
    plan = PLAN.model_copy(update={"env": {"CUDA_VISIBLE_DEVICES": "0"}, "needs_files": (str(folder / "absent"),)})
    return [
        *capabilities._volumes(DockerSettings(volumes=("/no/such:/x",))),
        *capabilities.hub_cache([hub], DockerSettings(hub_cache=cache, user="4711"), {}, mapped=False),
        *preflight._launch_plan(plan, DockerSettings(model_roots=(folder,))),
    ]


@pytest.mark.parametrize("checks", [of_images, of_gpus, of_memory_and_engine, of_files])
def test_checks(checks: Callable[[Path], Sequence[Check]], tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    shown = [f"{check.status}: {check.name}: {check.detail}; {check.remedy}" for check in checks(tmp_path)]
    assert [line.replace(str(tmp_path), "FOLDER") for line in shown] == snapshot


def test_ulimits(snapshot: SnapshotAssertion) -> None:
    limits = "Max locked memory         8388608              8388608              bytes\n"
    assert resource_limits.exceeding(limits, {"memlock": -1}) == snapshot
