"""BenchmarkJobs of the stand-in: real Jobs against a real service, and their misleading states."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from support.labs.cluster import OwnCluster
from support.ome_standin import OmeStandIn
from support.ome_standin.images import GENAI_BENCH, MANAGER
from support.ome_standin.lab import ARGS, Lab, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.campaign]

SMALL = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}
OVERRIDE = {"image": GENAI_BENCH, "resources": SMALL}


COMMON = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
SIZE = {"storage": "1Gi"}


@pytest.fixture
def volume(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """A PersistentVolume in a folder of this machine."""
    name = f"results-{lab.namespace}"
    spec = {**COMMON, "capacity": SIZE, "hostPath": {"path": str(tmp_path)}}
    lab.created({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    yield name
    lab.delete("PersistentVolume", name)


@pytest.fixture
def service(lab: Lab, volume: str) -> str:
    """Name of a service that is ready."""
    lab.created(lab.service("good", args=ARGS))
    eventually(lambda: lab.ready("good"))
    return "good"


@pytest.fixture
def results(lab: Lab, volume: str, service: str, tmp_path: Path) -> Path:
    """The volume's folder, bound to the claim ``results``."""
    spec = {**COMMON, "resources": {"requests": SIZE}, "volumeName": volume}
    meta = {"name": "results", "namespace": lab.namespace}
    lab.created({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})
    number = count()

    def bound() -> bool:
        """Changes the claim, which triggers its controller; otherwise that only polls every 15 s."""
        change = {"metadata": {"annotations": {"checked": str(next(number))}}}
        return bool(lab.patch("PersistentVolumeClaim", "results", change).json()["status"]["phase"] == "Bound")

    eventually(bound)
    return tmp_path


def state(lab: Lab, name: str) -> str:
    return str(lab.get("BenchmarkJob", name).get("status", {}).get("state", ""))


def measured(folder: Path) -> dict[int, dict[str, Any]]:
    """Returns the aggregated metrics by concurrency."""
    files = [json.loads(file.read_text()) for file in folder.glob("*_num_concurrency_*.json")]
    return {file["aggregated_metrics"]["num_concurrency"]: file["aggregated_metrics"] for file in files}


def test_results_are_on_the_claim(lab: Lab, service: str, results: Path, ome: OmeStandIn) -> None:
    more = {"additionalRequestParams": {"ignore_eos": "true", "temperature": "0.0"}, "podOverride": OVERRIDE}
    lab.created(lab.benchmark("bench", service, **more))
    eventually(lambda: state(lab, "bench") == "Completed", "completed")
    folder = results / "out" / "trial-1"
    found = measured(folder)
    assert set(found) == {1, 4}
    for metrics in found.values():
        assert metrics["num_completed_requests"] == 10
        assert metrics["num_error_requests"] == 0
        assert metrics["stats"]["num_output_tokens"]["p50"] == 10
        assert 0 < metrics["stats"]["ttft"]["p50"] <= metrics["stats"]["e2e_latency"]["p50"]
    assert (folder / "experiment_metadata.json").exists()
    assert any(file.name.startswith("D20_10_text-to-text_num_concurrency_4_time_") for file in folder.iterdir())
    [container] = lab.get("Job", "bench")["spec"]["template"]["spec"]["containers"]
    base = f"http://good.{lab.namespace}.svc.cluster.local:8080"
    assert [*container["command"], *container["args"]] == [
        "genai-bench",
        "benchmark",
        "--api-backend",
        "openai",
        "--api-base",
        base,
        "--api-model-name",
        "vllm-model",
        "--task",
        "text-to-text",
        "--max-time-per-run",
        "1",
        "--max-requests-per-run",
        "10",
        "--api-key",
        "sample-key",
        "--model-tokenizer",
        ome.settings.model_path,
        "--traffic-scenario",
        "D(20,10)",
        "--num-concurrency",
        "1",
        "--num-concurrency",
        "4",
        "--experiment-folder-name",
        "trial-1",
        "--experiment-base-dir",
        "/out",
    ]
    assert container["name"] == "genai-bench"
    status = lab.get("BenchmarkJob", "bench")["status"]
    assert status["startTime"] <= status["completionTime"]
    lab.delete("Job", "bench")
    eventually(lambda: state(lab, "bench") == "Running", "a deleted Job is recreated")
    lab.delete("BenchmarkJob", "bench")
    eventually(lambda: not lab.get("BenchmarkJob", "bench") and not lab.get("Job", "bench"))


def test_job_is_running_while_its_pod_is_pending(
    lab: Lab, service: str, results: Path, ome_cluster: OwnCluster
) -> None:
    """Fewer than the two CPUs that the pod requests by default are free."""
    fill(lab, ome_cluster)
    lab.created(lab.benchmark("bench", service))
    [pod] = eventually(lambda: lab.all("Pod", "benchmark=bench"))
    eventually(lambda: "Insufficient cpu" in json.dumps(lab.all("Pod", "benchmark=bench")), "unschedulable")
    assert pod["spec"]["containers"][0]["name"] == "bench"
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "2", "memory": "2Gi"}
    eventually(lambda: state(lab, "bench") == "Running")
    assert lab.all("Pod", "benchmark=bench")[0]["status"]["phase"] == "Pending"
    assert not list(results.iterdir())


def fill(lab: Lab, cluster: OwnCluster) -> None:
    """Creates a pod that leaves at most 1.5 CPUs free."""
    node = cluster.api("GET", f"/api/v1/nodes/{cluster.node}").json()
    free = int(node["status"]["allocatable"]["cpu"]) - 1.5
    if free <= 0:
        return
    container = {"name": "fills", "image": MANAGER, "resources": {"requests": {"cpu": f"{int(free * 1000)}m"}}}
    meta = {"name": "fills", "namespace": lab.namespace}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    lab.created({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    eventually(lambda: lab.get("Pod", "fills")["status"]["phase"] == "Running", "the pod runs")


def test_wait_for_a_missing_claim_is_only_logged(lab: Lab, ome: OmeStandIn) -> None:
    uid = lab.created(lab.benchmark("claimless", "none"))
    eventually(lambda: ome.log.count("BenchmarkJob claimless: PersistentVolumeClaim results not found") > 1)
    assert state(lab, "claimless") == "Pending"
    assert lab.events(uid) == []
    assert not lab.all("Job")


def test_completed_without_a_result_and_failed(lab: Lab, service: str, results: Path) -> None:
    """All jobs run at the same time. A variable or a label of the stand-in selects each one's fault."""
    for fault in ("all_errors", "no_files", "nothing_completed"):
        job = lab.benchmark(fault.replace("_", "-"), service, resultFolderName=fault, numConcurrency=[1])
        job["spec"]["podOverride"] = {**OVERRIDE, "env": [{"name": "FAKE_GENAI_BENCH_FAULT", "value": fault}]}
        lab.created(job)
    crash = lab.benchmark("crash", service, podOverride=OVERRIDE)
    crash["metadata"]["labels"] = {"ome-stand-in/benchmark-fault": "crash"}
    lab.created(crash)
    alone = {"endpoint": {"url": "http://192.0.2.1:8080", "apiFormat": "openai"}}
    lab.created(lab.benchmark("keyless", service, endpoint=alone, podOverride=OVERRIDE))
    for name in ("all-errors", "no-files", "nothing-completed"):
        eventually(lambda name=name: state(lab, name) == "Completed", name)  # type: ignore[misc]
    for name, line in (("crash", "cannot reach the hub"), ("keyless", "API key is required")):
        eventually(lambda name=name: state(lab, name) == "Failed", name)  # type: ignore[misc]
        status = lab.get("BenchmarkJob", name)["status"]
        assert status["failureMessage"] == "Job has reached the specified backoff limit"
        [pod] = lab.all("Pod", f"benchmark={name}")
        log = lab.api("GET", f"/api/v1/namespaces/{lab.namespace}/pods/{pod['metadata']['name']}/log").text
        assert line in log
    refused = measured(results / "out" / "all_errors")[1]
    assert (refused["num_completed_requests"], refused["error_rate"]) == (0, 0.0)
    assert refused["error_codes_frequency"] == {"400": 10}
    assert measured(results / "out" / "no_files") == {}
    assert measured(results / "out" / "nothing_completed")[1]["num_completed_requests"] == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"endpoint": {}}, "invalid endpoint: endpoint or InferenceService must be specified"),
        ({"trafficScenarios": ["D 1"]}, "invalid traffic scenarios: failed to validate scenario 'D 1'"),
        ({"trafficScenarios": ["dataset"]}, "invalid scenario format for task"),
        ({"additionalRequestParams": {"ignore_eos": "yes"}}, "ignore_eos must be 'true' or 'false'"),
        ({"outputLocation": {"storageUri": "pvc://results"}}, "invalid storage: "),
        ({"numConcurrency": [1, 1]}, "Duplicate value"),
        ({"additionalRequestParams": {"temperature": 0}}, "must be of type string"),
    ],
)
def test_rejected_benchmark_jobs(lab: Lab, change: dict[str, Any], reason: str) -> None:
    answer = lab.post(lab.benchmark("bench", "good", **change), dryRun="All")
    assert answer.status_code in (403, 422)
    assert reason in answer.json()["message"]
