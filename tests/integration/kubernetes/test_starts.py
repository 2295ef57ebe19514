"""Starts of servers in pods: arguments and environment, failures, waits and cancellation."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from autotuner.plugins.deployer import Endpoint
from autotuner.study.failure import Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Flag, LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import LABELS, Recorder
from autotuner.testing.fake_plans import fake_plan, script_plan, telling_plan
from support.turns import another_run, take_turns

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

NASTY = (
    "two  words",
    '{"a": [1, "b c"]}',
    "$HOME `id` \"quoted\" 'single'",
    "",
    "-x=--y",
    "ü\n2",
    "$(HOME) $$(HOME) $$",
)
ENDS_ON_SIGTERM = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))"


async def failed_start(kube: Any, plan: LaunchPlan, recorder: Recorder, **changes: Any) -> Failure:
    with anyio.fail_after(60), pytest.raises(TrialFailedError) as caught:
        async with kube.deployer(**changes).deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    assert kube.left() == []
    return caught.value.failure


async def test_arguments_and_environment_arrive_unchanged(kube: Any, recorder: Recorder) -> None:
    flags = tuple(Flag(name=f"--f{i}", value=v) for i, v in enumerate(NASTY))
    plan = telling_plan(ENDS_ON_SIGTERM, flags=flags, env={"PRICE": "$5 $(HOME)"})
    async with kube.deployer(labels={"team": "a"}).deploy(plan, recorder.context) as endpoint:
        planned = plan.argv(host="0.0.0.0", port=8000)
        async with httpx.AsyncClient(trust_env=False) as client:
            report = (await client.get(endpoint.url)).json()
        assert tuple(report["argv"]) == ("-c", *planned[3:])
        assert endpoint.argv == planned
        assert report["env"]["PRICE"] == "$5 $(HOME)"
        assert LABELS.env().items() <= report["env"].items()
        metadata = kube.pod()["metadata"]
        assert metadata["name"].startswith("at-kit-")
        assert metadata["labels"]["team"] == "a"
        assert metadata["labels"]["autotuner/study"] == LABELS.study
        assert metadata["annotations"]["autotuner/owner"] == LABELS.owner
        identity = await endpoint.identity()
        assert (identity.kind, identity.id, identity.restarts) == ("pod", metadata["uid"], 0)
        assert endpoint.pids() == frozenset()


async def test_arguments_are_read_from_the_process(kube: Any, recorder: Recorder) -> None:
    """They are not those of the plan if the server replaces itself by another program."""
    code = (
        "import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'autotuner.testing.fake_server', "
        "'--note', 'another', *sys.argv[1:]])"
    )
    plan = fake_plan().model_copy(update={"command": (sys.executable, "-c", code)})
    async with kube.deployer().deploy(plan, recorder.context) as endpoint:
        assert endpoint.argv[:5] == (sys.executable, "-m", "autotuner.testing.fake_server", "--note", "another")


async def test_bad_flag(kube: Any, recorder: Recorder) -> None:
    failure = await failed_start(kube, fake_plan(no_such_flag=1), recorder)
    assert failure.exit_code == 2
    assert "unrecognized arguments: --no-such-flag" in failure.log_tail
    assert recorder.ends[0][::2] == (2, False)


async def test_memory_limit_exceeded(kube: Any, recorder: Recorder) -> None:
    plan = script_plan("x = bytearray(10**9)")
    failure = await failed_start(kube, plan, recorder, memory="100Mi")
    assert (failure.cause, failure.exit_code) == (FailureCause.HOST_OUT_OF_MEMORY, -9)
    assert "deploy.memory" in failure.remedy


async def test_missing_program(kube: Any, recorder: Recorder) -> None:
    failure = await failed_start(kube, LaunchPlan(command=("no-such-server",), model="m"), recorder)
    assert failure.cause is FailureCause.NO_BINARY
    assert "no-such-server" in failure.message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": "autotuner/missing:1"}, "ErrImageNeverPull"),
        ({"image": "Not/An:Image:Name"}, "InvalidImageName"),
        ({"image": "registry.invalid/x:1", "image_pull_policy": "IfNotPresent", "pull_timeout": 6}, "ImagePull"),
    ],
)
async def test_missing_image(kube: Any, recorder: Recorder, changes: dict[str, Any], reason: str) -> None:
    failure = await failed_start(kube, fake_plan(), recorder, **changes)
    assert reason in failure.message, "the reason that Kubernetes reports"
    assert failure.cause is FailureCause.IMAGE_MISSING


async def test_missing_secret(kube: Any, recorder: Recorder) -> None:
    failure = await failed_start(kube, fake_plan(), recorder, env_from=[{"secret": "no-such-secret"}])
    assert failure.cause is FailureCause.ENVIRONMENT
    assert 'secret "no-such-secret" not found' in failure.message, "the message of the kubelet"


async def test_more_gpus_than_any_node_has(kube: Any, recorder: Recorder) -> None:
    """The trial fails at once."""
    failure = await failed_start(kube, fake_plan().model_copy(update={"gpus": 8}), recorder)
    assert failure.cause is FailureCause.GPU_UNAVAILABLE
    assert {"nvidia.com/gpu", "8", "4"} <= set(failure.message.replace(",", " ").split()), "requested and available"
    assert Phase.QUEUED in recorder.phases


async def test_waiting_for_a_full_node(kube: Any, recorder: Recorder, tmp_path: Path) -> None:
    """The second server starts when the first ends; a third, with a short timeout, fails."""
    plan = kube.polite(fake_plan()).model_copy(update={"gpus": 3})
    waiting = another_run(tmp_path / "2")

    async def meanwhile(_: Endpoint) -> None:
        failure = await failed_start_beside(kube, plan, another_run(tmp_path / "3"), schedule_timeout=1)
        assert failure.cause is FailureCause.GPU_UNAVAILABLE
        assert "Insufficient nvidia.com/gpu" in failure.message

    notes = await take_turns((kube.deployer(), recorder), (kube.deployer(), waiting), plan, meanwhile)
    assert waiting.phases == [Phase.LAUNCHING, Phase.QUEUED, Phase.SCHEDULED, Phase.LOADING]
    assert "Insufficient nvidia.com/gpu" in notes[0]


async def failed_start_beside(kube: Any, plan: LaunchPlan, recorder: Recorder, **changes: Any) -> Failure:
    with anyio.fail_after(60), pytest.raises(TrialFailedError) as caught:
        async with kube.deployer(**changes).deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    return caught.value.failure


@contextmanager
def quota(kube: Any, hard: dict[str, str]) -> Iterator[None]:
    path = "/api/v1/namespaces/default/resourcequotas"
    body = {"metadata": {"name": "few"}, "spec": {"hard": hard}}
    kube.cluster.api("POST", path, json=body).raise_for_status()
    try:
        yield
    finally:
        kube.cluster.api("DELETE", f"{path}/few").raise_for_status()


async def test_quota_that_is_too_small(kube: Any, recorder: Recorder) -> None:
    """The trial fails at once."""
    with quota(kube, {"requests.nvidia.com/gpu": "1"}):
        plan = fake_plan().model_copy(update={"gpus": 2})
        failure = await failed_start(kube, plan, recorder)
        assert failure.cause is FailureCause.GPU_UNAVAILABLE
        assert "exceeded quota: few" in failure.message
        checks = await kube.deployer().preflight([plan])
        assert [c.name for c in checks if c.status == "fail"] == ["quota"]


@pytest.mark.campaign
@pytest.mark.parametrize("hard", [{"requests.nvidia.com/gpu": "2"}, {"count/jobs.batch": "1"}])
async def test_waiting_for_a_quota(kube: Any, recorder: Recorder, tmp_path: Path, hard: dict[str, str]) -> None:
    plan = kube.polite(fake_plan()).model_copy(update={"gpus": 2})
    second = kube.deployer(schedule_timeout=1), another_run(tmp_path / "next", recorder.ports)
    with quota(kube, hard):
        notes = await take_turns((kube.deployer(), recorder), second, plan)
        assert "exceeded quota: few" in notes[0]
        async with kube.deployer().deploy(plan, recorder.context):
            failure = await failed_start_beside(kube, plan, second[1], queue_timeout=2)
    assert failure.blame is Blame.ENVIRONMENT
    assert "exceeded quota: few" in failure.message, "the message of the API server"


async def test_model_missing_on_the_node(kube: Any, recorder: Recorder) -> None:
    plan = fake_plan().model_copy(update={"needs_files": ("/no/such/models/m",)})
    failure = await failed_start(kube, plan, recorder, model_roots=["/no/such/models"])
    assert failure.cause is FailureCause.MODEL_MISSING
    assert "/no/such/models" in failure.message


async def test_model_in_a_folder_of_the_node(kube: Any, recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "config.json").write_text(json.dumps({"a": 1}))
    file = str(tmp_path / "models" / "m" / "config.json")
    code = f"extra = {{'seen': open({file!r}).read(), 'writable': os.access({file!r}, os.W_OK)}}\n{ENDS_ON_SIGTERM}"
    plan = telling_plan(code, needs_files=(str(tmp_path / "models" / "m"),))
    deployer = kube.deployer(model_roots=[str(tmp_path / "models")])
    async with (
        deployer.deploy(plan, recorder.context) as endpoint,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        report = (await client.get(endpoint.url)).json()
    assert report["seen"] == '{"a": 1}'
    assert report["writable"] is False


@pytest.mark.parametrize("until", ["launching", "unscheduled", "loading", "ready"])
async def test_cancellation_at_any_time_leaves_nothing(kube: Any, recorder: Recorder, until: str) -> None:
    plan = kube.polite(fake_plan(never_ready=until != "ready"))
    changes: dict[str, Any] = {"gpus": 100} if until == "unscheduled" else {}
    if until == "unscheduled":
        plan = plan.model_copy(update={"gpus": 8})
    reached: dict[str, Callable[[], bool]] = {
        "launching": lambda: bool(recorder.phases),
        "unscheduled": lambda: Phase.QUEUED in recorder.phases,
        "loading": lambda: Phase.LOADING in recorder.phases,
        "ready": lambda: ready,
    }
    ready = False

    async def trial() -> None:
        nonlocal ready
        async with kube.deployer(**changes).deploy(plan, recorder.context):
            ready = True
            await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trial)
            while not reached[until]():  # noqa: ASYNC110 - a list has no event
                await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()
    assert kube.left() == []
