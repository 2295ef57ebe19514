"""Starts of real containers: what reaches the container, and causes of failed starts."""

import json
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.deployers.docker.deployer import DockerDeployer
from autotuner.deployers.local import procfs
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.check import CheckStatus
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Flag, LaunchPlan
from autotuner.testing.deployer_kit import LABELS, Recorder
from autotuner.testing.fake_plans import fake_plan, script_plan, telling_plan
from support.labs.docker_engine import IMAGE, OwnEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.usefixtures("nothing_left")]

Make = Callable[..., DockerDeployer]
GetReport = Callable[[str], Awaitable[dict[str, Any]]]
SPECIAL_VALUES = ("two  words", '{"a": [1, "b c"]}', "$HOME `id` \"quoted\" 'single'", "", "-x=--y", "ü\n2")


async def failed_start(deployer: DockerDeployer, plan: LaunchPlan, recorder: Recorder) -> Failure:
    with anyio.fail_after(40), pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, recorder.context):
            pytest.fail("the server must not become ready")
    return caught.value.failure


@pytest.mark.parametrize("init", [True, False])
async def test_arguments_are_passed_unchanged(
    make: Make, engine: OwnEngine, recorder: Recorder, get_report: GetReport, init: bool
) -> None:
    plan = telling_plan(flags=tuple(Flag(name=f"--f{i}", value=v) for i, v in enumerate(SPECIAL_VALUES)))
    async with make(init=init).deploy(plan, recorder.context) as endpoint:
        planned = plan.argv(host="0.0.0.0", port=8000)
        seen = (await get_report(endpoint.url))["argv"]
        assert tuple(seen) == ("-c", *planned[3:])
        assert endpoint.argv == planned
        inspected = engine.inspect((await endpoint.identity()).id)
        assert (inspected["Path"], *inspected["Args"]) == planned
        assert inspected["Config"]["Labels"] == {
            "autotuner.study": LABELS.study,
            "autotuner.trial": "7",
            "autotuner.owner": LABELS.owner,
            "autotuner.runner": ProcessIdentity.of_this_process().text,
        }
        assert LABELS.env().items() <= (await get_report(endpoint.url))["env"].items()
        assert inspected["Name"].startswith(f"/autotuner-{LABELS.study}-7-")
        binding = inspected["NetworkSettings"]["Ports"]["8000/tcp"]
        assert binding == [{"HostIp": "127.0.0.1", "HostPort": endpoint.url.rpartition(":")[2]}]
        programs = sorted(Path(procfs.cmdline(pid)[0]).name for pid in endpoint.pids())
        assert programs == [*(["docker-init"] if init else []), "docker-proxy", Path(planned[0]).name]
        shown = endpoint.command
        assert shown[: len(("docker", "run"))] == ("docker", "run")
        assert shown[shown.index("--entrypoint") + 1 :] == (planned[0], IMAGE, *planned[1:])


async def test_argv_is_read_from_the_process(make: Make, recorder: Recorder) -> None:
    """A wrapper in the image may drop arguments."""
    inner = telling_plan().argv(host="0.0.0.0", port=8000)
    plan = script_plan(f"import os; os.execv({inner[0]!r}, {list(inner)!r})", flags=(Flag(name="--x", value="1"),))
    async with make(init=False).deploy(plan, recorder.context) as endpoint:
        assert "--x" in plan.argv(host="0.0.0.0", port=8000)
        assert endpoint.argv == inner


async def test_sigterm_reaches_the_server(make: Make, recorder: Recorder) -> None:
    """Behind the init, the server is not process 1; its last output is in the log."""
    code = "signal.signal(signal.SIGTERM, lambda *_: (print('shut down on SIGTERM', flush=True), os._exit(0)))"
    with anyio.fail_after(25):
        async with make(stop_grace="30s").deploy(telling_plan(code), recorder.context):
            pass
    assert "shut down on SIGTERM" in (recorder.context.folder / "server.log").read_text()
    assert recorder.ends == []


async def test_gpus_of_parallel_trials(make: Make, engine: OwnEngine, tmp_path: Path, get_report: GetReport) -> None:
    deployer = make(gpu_ids=["GPU-a", "GPU-b", 2])
    gpus = list(await deployer.gpus())
    assert [g.uuid for g in gpus] == ["GPU-a", "GPU-b", "2"]
    assert (await deployer.hardware()).gpus == 3
    one = Recorder(tmp_path / "1")
    two = Recorder(tmp_path / "2")
    first = replace(one.context, gpus=tuple(gpus[:2]))
    second = replace(two.context, gpus=tuple(gpus[2:]))
    plan = telling_plan(gpus=1)
    async with deployer.deploy(plan, first) as left, deployer.deploy(plan, second) as right:
        seen = [(await get_report(endpoint.url))["env"] for endpoint in (left, right)]
        assert [env["NVIDIA_VISIBLE_DEVICES"] for env in seen] == ["GPU-a,GPU-b", "2"]
        assert all("CUDA_VISIBLE_DEVICES" not in env for env in seen)
        (request,) = engine.inspect((await left.identity()).id)["HostConfig"]["DeviceRequests"]
        assert request["DeviceIDs"] == ["GPU-a", "GPU-b"]
        assert '"device=GPU-a,GPU-b"' in left.command


async def test_no_gpus_are_visible_without_a_lease(make: Make, recorder: Recorder, get_report: GetReport) -> None:
    async with make().deploy(telling_plan(), recorder.context) as endpoint:
        assert (await get_report(endpoint.url))["env"]["NVIDIA_VISIBLE_DEVICES"] == "void"


async def test_resource_limits_of_the_container(
    make: Make, engine: OwnEngine, recorder: Recorder, get_report: GetReport
) -> None:
    settings = {
        "cpus": 0.5,
        "memory": "256m",
        "shm_size": "33m",
        "user": "65534",
        "devices": ["/dev/null:/dev/no:r"],
    }
    code = "shm = os.statvfs('/dev/shm'); extra = {'shm': shm.f_blocks * shm.f_frsize, 'no': os.path.exists('/dev/no')}"
    async with make(**settings).deploy(telling_plan(code), recorder.context) as endpoint:
        seen = await get_report(endpoint.url)
        assert (seen["shm"], seen["uid"], seen["no"]) == (33 << 20, 65534, True)
        host = engine.inspect((await endpoint.identity()).id)["HostConfig"]
        assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 256 << 20, 256 << 20)


async def test_hub_cache_and_token(
    make: Make,
    engine: OwnEngine,
    recorder: Recorder,
    get_report: GetReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token is only in the container's environment."""
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    monkeypatch.setenv("OTHER", "passed too")
    cache = tmp_path / "cache"
    code = "print('started', flush=True); open(os.environ['HF_HOME'] + '/downloaded', 'w').close()"
    plan = telling_plan(code, hub_models=("org/model",), env={"API_KEY": "a-secret", "PLAIN": "a b"})
    async with make(hub_cache=str(cache), env_passthrough=["OTHER", "UNSET"]).deploy(
        plan, recorder.context
    ) as endpoint:
        env = (await get_report(endpoint.url))["env"]
        assert (env["HF_TOKEN"], env["OTHER"], env["HF_HOME"]) == (
            "hf_verysecret",
            "passed too",
            "/root/.cache/huggingface",
        )
        assert "UNSET" not in env
        assert (cache / "downloaded").exists()
        inspected = engine.inspect((await endpoint.identity()).id)
        shown = json.dumps([endpoint.command, endpoint.argv, inspected["Config"]["Labels"], inspected["Args"]])
        assert "secret" not in shown
        assert tuple(word for word in endpoint.command if word.startswith(("HF_TOKEN", "API_KEY", "PLAIN"))) == (
            "HF_TOKEN",
            "API_KEY",
            "PLAIN=a b",
        )
    log = (recorder.context.folder / "server.log").read_text()
    assert "started" in log
    assert "secret" not in log


async def test_hub_snapshot_is_mounted_read_only_under_the_same_path(
    make: Make, recorder: Recorder, get_report: GetReport, tmp_path: Path
) -> None:
    """A snapshot is a folder of links to files outside of it; they resolve inside the container."""
    root = tmp_path / "models"
    snapshot = root / "org--m" / "snapshots" / "abc"
    blobs = root / "org--m" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "1234").write_text("weights")
    (blobs / "unused").write_text("not mounted")
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").symlink_to("../../blobs/1234")
    (root / "short").symlink_to(snapshot)
    for folder in (snapshot, root / "short"):
        code = (
            f"folder = {str(folder)!r}\n"
            "def attempt():\n"
            "    try: open(folder + '/model.safetensors', 'w')\n"
            "    except OSError as error: return error.strerror\n"
            "extra = {'weights': open(folder + '/model.safetensors').read(), 'write': attempt(),"
            f" 'unused': os.path.exists({str(blobs / 'unused')!r}),"
            " 'config': os.path.exists(folder + '/config.json')}\n"
        )
        plan = telling_plan(code, needs_files=(str(folder),))
        async with make(model_roots=[str(root)]).deploy(plan, recorder.context) as endpoint:
            seen = await get_report(endpoint.url)
            assert seen["weights"] == "weights"
            assert seen["write"] == "Read-only file system"
            assert (seen["config"], seen["unused"]) == (True, False)


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "/etc/ssl/openssl.cnf"])
async def test_image_without_the_server(make: Make, recorder: Recorder, program: str, init: bool) -> None:
    failure = await failed_start(make(init=init), LaunchPlan(command=(program,), model="m"), recorder)
    assert failure.cause is FailureCause.NO_BINARY, failure
    assert program in failure.message
    assert failure.remedy


@pytest.mark.parametrize(
    ("settings", "cause", "remedy"),
    [
        ({"volumes": ["/no/such/folder:/x"]}, FailureCause.NOT_ACCEPTED, "deploy.volumes"),
        ({"network": "no-such-network"}, FailureCause.NOT_ACCEPTED, "deploy.network"),
        ({"runtime": "nvidia"}, FailureCause.NOT_ACCEPTED, "NVIDIA Container Toolkit"),
        ({"cpus": 4096.0}, FailureCause.NOT_ACCEPTED, "deploy.cpus"),
        ({"image": "no-such-image:1"}, FailureCause.IMAGE_MISSING, "docker pull no-such-image:1"),
        ({"user": "nobody-of-this-name"}, FailureCause.NOT_ACCEPTED, "deploy.user"),
        ({"runtime": "no-such-runtime"}, FailureCause.NOT_ACCEPTED, "deploy.runtime"),
    ],
)
async def test_cause_and_remedy_of_a_refused_start(
    make: Make, recorder: Recorder, settings: dict[str, Any], cause: FailureCause, remedy: str
) -> None:
    failure = await failed_start(make(**settings), fake_plan(), recorder)
    assert failure.cause is cause, failure
    assert remedy in failure.remedy
    assert "\n" not in failure.message


async def test_crash_while_loading_is_noticed_before_the_next_poll(make: Make, recorder: Recorder) -> None:
    plan = fake_plan(60.0, never_listen=True, exit_after=0.1)
    plan = plan.model_copy(update={"readiness": plan.readiness.model_copy(update={"interval_s": 60.0})})
    failure = await failed_start(make(), plan, recorder)
    assert failure.cause is FailureCause.CRASH_LOADING
    assert recorder.ends[0][0] == 1


@pytest.mark.parametrize("ready", [True, False])
async def test_memory_limit_exceeded(make: Make, recorder: Recorder, ready: bool) -> None:
    take = "import threading, time\ndef take():\n    time.sleep({})\n    return b'x' * (1 << 28)\n"
    code = take.format(1.0) + "threading.Thread(target=take).start()" if ready else take.format(0) + "take()"
    deployer = make(memory="96m")
    if ready:
        async with deployer.deploy(telling_plan(code), recorder.context) as endpoint:
            with anyio.fail_after(30):
                failure = await endpoint.died()
    else:
        failure = await failed_start(deployer, telling_plan(code), recorder)
    assert failure.cause is FailureCause.HOST_OUT_OF_MEMORY
    assert "deploy.memory" in failure.remedy
    assert failure.exit_code == -signal.SIGKILL
    assert recorder.ends == [], "the engine does not need to explain the log"


async def test_full_disk_under_the_log(make: Make, recorder: Recorder, small_disk: Path) -> None:
    recorder = Recorder(small_disk / "trial")
    code = "import threading\nthreading.Timer(1.0, lambda: print('x' * (1 << 23), flush=True)).start()"
    async with make().deploy(telling_plan(code), recorder.context) as endpoint:
        with anyio.fail_after(30):
            failure = await endpoint.died()
    assert failure.cause is FailureCause.DISK_FULL
    assert failure.remedy


async def test_failed_preflight_checks(make: Make, tmp_path: Path) -> None:
    plan = fake_plan().model_copy(
        update={
            "gpus": 2,
            "needs_files": (str(tmp_path / "missing"),),
            "env": {"CUDA_VISIBLE_DEVICES": "0"},
        }
    )
    deployer = make(image="absent:2", gpu_ids=[0], model_roots=[str(tmp_path)])
    failed = [c for c in await deployer.preflight([plan]) if c.status is CheckStatus.FAIL]
    assert [c.name for c in failed] == ["image", "gpus", "model", "environment"]
    assert all(c.remedy for c in failed)
    cdi = make(gpu_ids=[0, 1], gpu_driver="cdi")
    assert [c.name for c in await cdi.preflight([fake_plan().model_copy(update={"gpus": 2})]) if c.remedy] == ["gpus"]


async def test_flags_compared_with_the_help_output(make: Make) -> None:
    plan = fake_plan(parallel=2)
    plan = plan.model_copy(update={"help": (*plan.command, "--help")})
    (known,) = [c for c in await make(check_flags=True).preflight([plan]) if c.name == "flags"]
    assert known.status is CheckStatus.OK
    wrong = plan.model_copy(update={"flags": (*plan.flags, Flag(name="--paralel", value="2"))})
    (found,) = [c for c in await make(check_flags=True).preflight([wrong]) if c.name == "flags"]
    assert found.status is CheckStatus.WARN
    assert "--paralel" in found.detail
    assert "--parallel" not in found.detail
