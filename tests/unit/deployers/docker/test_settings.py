"""Docker deployer without an engine: settings, model mounts, commands and the causes of errors."""

import re
import shlex
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiodocker.exceptions import DockerError
from ruamel.yaml import YAML
from syrupy.assertion import SnapshotAssertion

from autotuner.deployers.docker import failures, model_mounts, processes
from autotuner.deployers.docker.container_spec import ContainerSpec, chosen_gpus
from autotuner.deployers.docker.deployer import DockerDeployer
from autotuner.deployers.docker.processes import server_argv
from autotuner.deployers.docker.remove_orphan import Orphan
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.deployers.local import procfs
from autotuner.errors import UsageError
from autotuner.manifests.volume import parse_volume
from autotuner.plugins import loading
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Flag, Gpu, Labels, LaunchPlan
from autotuner.study.spec import Model, PluginSpec
from autotuner.testing.deployer_kit import Recorder

pytestmark = pytest.mark.anyio
LABELS = Labels(study="s", trial=1, owner="o")


def make_deployer(**settings: Any) -> DockerDeployer:
    deployer = loading.deployer(PluginSpec.model_validate({"kind": "docker", **settings}))
    assert isinstance(deployer, DockerDeployer)
    return deployer


def test_plugin_and_its_defaults() -> None:
    settings = make_deployer().settings
    assert settings.model_roots == (Path("/mnt/data/models"),)
    assert settings.shm_size == 16 << 30
    assert settings.init
    assert settings.network == "bridge"


def test_orphan_spec_is_small_and_round_trips() -> None:
    settings = make_deployer(
        docker_host="tcp://127.0.0.1:2375", stop_grace="3s", volumes=["/data:/data:ro"] * 500
    ).settings
    orphan = Orphan.model_validate_json(Orphan.of("autotuner-s-1-abc", settings).spec())
    assert orphan.name == "autotuner-s-1-abc"
    assert (orphan.settings.docker_host, orphan.settings.stop_grace) == ("tcp://127.0.0.1:2375", 3.0)
    assert orphan.settings.engine_patience == settings.engine_patience
    assert len(Orphan.of("x", settings).spec()) < 1000, "a pipe must hold it"


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"shm_size": "much"}, "deploy.shm_size"),
        ({"shm_size": 0}, "deploy.shm_size"),
        ({"stop_grace": "soon"}, "deploy.stop_grace"),
        ({"volumes": ["/data"]}, "deploy.volumes"),
        ({"volumes": ["data:/data"]}, "deploy.volumes"),
        ({"volumes": ["/a/../etc:/data"]}, "deploy.volumes"),
        ({"devices": ["null"]}, "deploy.devices"),
        ({"ulimits": {"nofile": "many"}}, "deploy.ulimits"),
        ({"model_roots": ["/"]}, "deploy.model_roots"),
        ({"model_roots": ["models"]}, "deploy.model_roots"),
        ({"network": "none"}, "deploy.network"),
        ({"env_passthrough": ["CUDA_VISIBLE_DEVICES"]}, "deploy.env_passthrough"),
        ({"env_passthrough": ["A=1"]}, "deploy.env_passthrough[0]"),
        ({"image": "a/b:1", "image_tag": "2"}, "deploy"),
        ({"docker_host": "engine:2375"}, "deploy.docker_host"),
        ({"gpu_id": [0]}, "deploy.gpu_id"),
        ({"ports": [2, 1]}, "deploy"),
    ],
)
def test_invalid_settings(settings: dict[str, Any], where: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as caught:
        make_deployer(**settings)
    assert [problem.where for problem in caught.value.problems] == [where]
    assert str(caught.value) == snapshot
    assert "\n" not in str(caught.value)


class TestModels:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "models"
        (root / "llama-3-2-1b-instruct").mkdir(parents=True)
        (root / "org" / "name").mkdir(parents=True)
        (tmp_path / "private").mkdir()
        (tmp_path / "private" / "key").write_text("secret")
        (root / "out").symlink_to(tmp_path / "private")
        return root

    @pytest.fixture
    def settings(self, root: Path, tmp_path: Path) -> DockerSettings:
        return DockerSettings(model_roots=(root,), hub_cache=tmp_path / "hub")

    @pytest.mark.parametrize("name", ["llama-3-2-1b-instruct", "org/name"])
    async def test_name_under_a_root(self, settings: DockerSettings, root: Path, name: str) -> None:
        found = await DockerDeployer(settings).locate(Model(path=name))
        assert found == Model(path=str(root / name), name=name)
        named = await DockerDeployer(settings).locate(Model(path=name, name="served"))
        assert named.name == "served"

    def test_hub_name_is_kept(self, settings: DockerSettings) -> None:
        assert model_mounts.locate(Model(path="meta-llama/Llama-3.2-1B"), settings).path == "meta-llama/Llama-3.2-1B"

    @pytest.mark.parametrize("path", ["/etc", "{root}/../private", "{root}/out", "out", "../private", "{root}2"])
    def test_path_outside_of_the_roots(self, settings: DockerSettings, root: Path, path: str) -> None:
        with pytest.raises(UsageError) as caught:
            model_mounts.locate(Model(path=path.format(root=root)), settings)
        assert [problem.where for problem in caught.value.problems] == ["model.path"]
        assert len(str(caught.value).splitlines()) == 1

    def test_path_under_a_root(self, settings: DockerSettings, root: Path) -> None:
        model = Model(path=str(root / "org" / "name"))
        assert model_mounts.locate(model, settings) == model

    def test_link_targets_are_mounted(self, settings: DockerSettings, root: Path) -> None:
        folder = root / "org" / "name"
        (root / "blobs").mkdir()
        (root / "blobs" / "1").write_text("x")
        (root / "between").symlink_to("blobs/1")
        (folder / "inside").symlink_to("config")
        (folder / "config").write_text("{}")
        (folder / "weights").symlink_to("../../between")
        found = [v.text for v in model_mounts.mounts([str(folder)], settings)]
        assert found == [f"{root}/blobs/1:{root}/between:ro", f"{folder}:{folder}:ro"]

    @pytest.mark.parametrize("target", ["../../../private/key", "{private}/key", "gone"])
    def test_link_out_of_the_roots(self, settings: DockerSettings, root: Path, tmp_path: Path, target: str) -> None:
        folder = root / "org" / "name"
        (folder / "weights").symlink_to(target.format(private=tmp_path / "private"))
        if target == "gone":
            assert len(model_mounts.mounts([str(folder)], settings)) == 1, "it stays inside the folder"
            return
        with pytest.raises(model_mounts.ModelFilesError) as caught:
            model_mounts.mounts([str(folder)], settings)
        assert str(tmp_path / "private") in caught.value.why
        assert caught.value.remedy

    def test_circular_links(self, settings: DockerSettings, root: Path) -> None:
        folder = root / "org" / "name"
        (folder / "up").symlink_to("..")
        assert model_mounts.mounts([str(folder)], settings)


def container_spec(settings: DockerSettings, **changes: Any) -> ContainerSpec:
    plan = LaunchPlan(command=("vllm", "serve"), flags=(Flag(name="--x", value="a b"),), model="m", **changes)
    argv = plan.argv(host="0.0.0.0", port=8000)
    gpus = (Gpu(index=1, uuid="GPU-b"), Gpu(index=3, uuid="GPU-d"))
    return ContainerSpec(plan=plan, settings=settings, image="i:1", argv=argv, name="n", labels=LABELS, gpus=gpus)


def test_command_for_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    settings = DockerSettings(ipc="host", volumes=("/a:/b:ro",), ulimits={"memlock": -1}, hub_cache=Path("/c"))
    line = shlex.join(container_spec(settings, hub_models=("m",)).command())
    assert DockerDeployer(settings).hub_cache == Path("/c/hub")
    assert line == (
        "docker run --rm --network bridge -p 127.0.0.1:8000:8000 --init --gpus '\"device=GPU-b,GPU-d\"' --ipc host"
        " --ulimit memlock=-1 -v /a:/b:ro -v /c:/root/.cache/huggingface -e HF_TOKEN"
        " -e HF_HOME=/root/.cache/huggingface --no-healthcheck --entrypoint vllm i:1 serve --x 'a b'"
        " --host 0.0.0.0 --port 8000"
    )


def test_cdi_device_names() -> None:
    spec = container_spec(DockerSettings(gpu_driver="cdi"))
    (request,) = spec.config()["HostConfig"]["DeviceRequests"]
    assert request == {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-b", "nvidia.com/gpu=GPU-d"]}
    assert "--device nvidia.com/gpu=GPU-b" in " ".join(spec.command())


def test_gpus_by_index_or_uuid() -> None:
    found = [Gpu(index=i, uuid=f"GPU-{i}", memory_gb=80) for i in range(4)]
    assert chosen_gpus(found, None) == found
    assert [g.index for g in chosen_gpus(found, ["3", "GPU-1", "GPU-3"])] == [3, 1]
    assert [g.uuid for g in chosen_gpus([], ["3", "GPU-1", "3"])] == ["3", "GPU-1"]
    with pytest.raises(TrialFailedError) as caught:
        chosen_gpus(found, ["1", "9"])
    assert re.findall(r"\d+", caught.value.failure.message) == ["9", "0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', FailureCause.GPU_UNAVAILABLE),
        ("nvidia-container-cli: device error: GPU-x: unknown device: unknown", FailureCause.GPU_UNAVAILABLE),
        ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7", FailureCause.GPU_UNAVAILABLE),
        ("driver failed programming: Bind for 127.0.0.1:80 failed: port is already allocated",
         FailureCause.PORT_UNAVAILABLE),
        ("mkdir /var/lib/docker/x: no space left on device", FailureCause.DISK_FULL),
        ("error setting rlimit type 8: operation not permitted", FailureCause.NOT_ACCEPTED),
        ("something new", FailureCause.ENVIRONMENT),
    ],
)  # fmt: skip
def test_causes_of_refused_starts(message: str, cause: FailureCause) -> None:
    failure = failures.not_started(DockerError(500, message), "it")
    assert failure.cause is cause
    assert failure.remedy


def test_permission_denied_for_the_socket() -> None:
    error = DockerError(900, "Cannot connect")
    error.__context__ = aiohttp.ClientConnectorError(None, PermissionError(13, "Permission denied"))  # type: ignore[arg-type]
    failure = failures.engine_unreachable(error)
    assert failure.cause is FailureCause.DEPLOYER_LOST
    assert "group docker" in failure.remedy


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (137, -9), (143, -15), (255, 255), (127, 127)])
def test_exit_codes_of_signals(code: int, expected: int) -> None:
    assert failures.exit_code({"ExitCode": code}) == expected


def test_oom_kill_outranks_the_log(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    state = {"ExitCode": 1, "OOMKilled": True}
    failure = failures.ended(state, recorder.context, "Traceback", was_ready=True)
    assert (failure.cause, recorder.ends) == (FailureCause.HOST_OUT_OF_MEMORY, [])


def test_planned_argv_of_an_invisible_process() -> None:
    assert server_argv("0" * 64, 1, ("a", "b"), behind_init=True) == ("a", "b")


@pytest.mark.parametrize(
    ("cmdline", "argv"),
    [
        (("python", "serve", "--x", "1"), ("python", "serve", "--x", "1")),
        (("python", "serve", "--x", "2"), ("python", "serve", "--x", "2")),
        (("VLLM::APIServer", "", "", ""), ("serve", "--x", "1")),
        ((), ("serve", "--x", "1")),
    ],
)
def test_argv_of_a_process_and_of_one_with_a_title(
    monkeypatch: pytest.MonkeyPatch, cmdline: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    monkeypatch.setattr(processes, "_belongs", lambda *_: True)
    monkeypatch.setattr(procfs, "cmdline", lambda _: cmdline)
    assert server_argv("id", 1, ("serve", "--x", "1"), behind_init=False) == argv


def test_home_in_a_volume() -> None:
    assert parse_volume("~/x:/y").source == str(Path.home() / "x")


DOCS = Path(__file__).parents[4] / "docs"


def test_reference_lists_all_settings_in_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "reference" / "docker-settings.md").read_text(), re.MULTILINE)
    assert rows == list(DockerSettings.model_fields)


def test_settings_in_the_how_to() -> None:
    (block,) = re.findall(r"```yaml\ndeploy:\n(.*?)```", (DOCS / "how-to" / "run-in-docker.md").read_text(), re.DOTALL)
    written = YAML(typ="safe").load(block)
    assert make_deployer(**{k: v for k, v in written.items() if k != "kind"}).settings.image_tag == "v0.11.0"
