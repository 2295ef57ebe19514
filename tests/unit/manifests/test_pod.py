"""A server's pod: resources, environment, volumes and metadata from the settings of a study."""

from typing import Any

import pytest

from autotuner.manifests.kubernetes import deployment, server_job
from autotuner.manifests.labels import NAME, QUEUE
from autotuner.manifests.pod import env_list, merged_resources, pod_fields, resources, server_pod
from autotuner.manifests.pod_settings import Claim, PlainPod, SecretKey
from autotuner.manifests.server import HUB_CACHE, Server
from autotuner.manifests.volume import Volume
from autotuner.study.launch import Labels

SERVER = Server(image="i:1", command=("serve",), args=("--x", "$1"), port=8000, ready_path="/health", gpus=2)


def test_gpus_and_memory_are_requests_and_limits() -> None:
    found = resources(PlainPod(cpu="4", memory="8Gi"), gpus=2)
    assert found == {
        "requests": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"},
    }


@pytest.mark.parametrize(("limit", "merged"), [("2", "4"), ("8", "8"), ("4000m", "4000m")])
def test_a_runtimes_limit_is_raised_to_the_studys_request(limit: str, merged: str) -> None:
    base = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": limit}}
    found = merged_resources(base, PlainPod(cpu="4"), gpus=0)
    assert found == {"requests": {"cpu": "4", "memory": "1Gi"}, "limits": {"cpu": merged}}
    assert base["limits"] == {"cpu": limit}, "the runtime itself is not changed"


def test_a_reference_replaces_the_value_of_a_variable() -> None:
    key = SecretKey(name="hub", key="token")
    assert env_list({"A": "$x", "HF_TOKEN": "plain"}, {"HF_TOKEN": key}) == [
        {"name": "A", "value": "$$x"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
    ]


def test_fields_that_are_not_set_are_left_out() -> None:
    assert pod_fields(PlainPod()) == {}
    replaced = pod_fields(PlainPod(tolerations=({"key": "a"},)), tolerations=[{"key": "b"}])
    assert replaced == {"tolerations": [{"key": "b"}]}


def test_volumes_of_a_server() -> None:
    claim = Claim(claim="models", sub_path="llama", mount_path="/m")
    server = Server(
        image="i:1",
        command=(),
        args=(),
        port=1,
        ready_path="/",
        uses_hub=True,
        claim=claim,
        volumes=(Volume(source="/x", target="/x"),),
    )
    pod = server_pod(server, PlainPod(cache_pvc="cache"), probe_period_s=1, grace_s=1)
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert {"/dev/shm", "/m", "/x", HUB_CACHE} == set(mounts)  # noqa: S108 - of the container
    assert (mounts["/m"]["subPath"], mounts["/m"]["readOnly"]) == ("llama", True)
    assert len({volume["name"] for volume in pod["volumes"]}) == len(mounts)
    assert "command" not in pod["containers"][0], "the image's own entrypoint"


def spec_of(thing: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = thing["spec"]["template"]["spec"]
    return spec


def test_trial_and_winner_differ_in_timing_only() -> None:
    settings = PlainPod(memory="8Gi", node_selector={"gpu": "yes"}, kueue_queue="q", labels={NAME: "of-the-study"})
    labels = Labels(study="s", trial=1, owner="o")
    job = server_job(SERVER, settings, "at-x", labels, deadline_s=9.5, grace_s=0.5)
    served, service = deployment(SERVER, settings, "chat", namespace="ns", labels={}, start_timeout_s=60.0)
    trial = spec_of(job)
    winner = spec_of(served)
    assert trial.pop("restartPolicy") == "Never"
    for pod in (trial, winner):
        pod.pop("terminationGracePeriodSeconds")
        pod["containers"][0]["readinessProbe"].pop("periodSeconds")
    assert trial == winner
    assert trial["containers"][0]["args"] == ["--x", "$$1"]
    assert job["spec"]["activeDeadlineSeconds"] == 10
    assert job["spec"]["suspend"], "a queue admits it"
    assert (job["metadata"]["labels"][QUEUE], served["metadata"]["labels"][QUEUE]) == ("q", "q")
    pod_labels = served["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod_labels.items(), "a label of the study does not break it"
