"""BenchmarkJobs and the volume of their results, without a cluster."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from autotuner.benchmarks.ome_job import OmeJobSettings
from autotuner.deployers.kubernetes.trial_objects import Load
from autotuner.deployers.ome import benchmark_job
from autotuner.deployers.ome.benchmark_job import BenchmarkJobs, another_run
from autotuner.deployers.ome.benchmark_manifest import RESULTS, BenchmarkSettings, Job
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.manifests.labels import GROUP, OWNER, ROLE, STUDY, TRIAL, label_value
from autotuner.plugins.deployer import PlatformRun
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FATAL, Failure, FailureCause
from autotuner.study.launch import Labels

LABELS = Labels(study="A.study-", trial=12, owner="o" * 32)
RUN = PlatformRun("D(100,20)", 4, 2, 50, LABELS, {})
SERVICE = {"apiVersion": "ome.io/v1beta1", "kind": "InferenceService", "name": "at-1", "uid": "u-1"}


def settings(**changes: Any) -> BenchmarkSettings:
    """Settings as they come from a study file."""
    return BenchmarkSettings.model_validate(OmeJobSettings.model_validate({"claim": "results", **changes}).model_dump())


def job(**changes: Any) -> Job:
    return Job.of("at-1", SERVICE, "space", RUN, settings(**changes))


def test_manifest() -> None:
    made = job()
    manifest = made.manifest()
    assert (manifest["apiVersion"], manifest["kind"]) == ("ome.io/v1beta1", "BenchmarkJob")
    assert manifest["spec"] == {
        "endpoint": {"inferenceService": {"name": "at-1", "namespace": "space"}},
        "task": "text-to-text",
        "trafficScenarios": ["D(100,20)"],
        "numConcurrency": [4],
        "maxTimePerIteration": 2,
        "maxRequestsPerIteration": 50,
        "outputLocation": {"storageUri": "pvc://results/autotuner"},
        "resultFolderName": made.folder,
    }
    metadata = manifest["metadata"]
    assert metadata["name"] == made.name
    assert metadata["ownerReferences"] == [SERVICE]
    labels = metadata["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "autotuner"
    assert {key: labels[key] for key in (TRIAL, ROLE, GROUP)} == {TRIAL: "12", ROLE: "benchmark", GROUP: "at-1"}
    assert {labels[STUDY], labels[OWNER]} == {label_value(LABELS.study), LABELS.owner}
    assert metadata["annotations"] == {STUDY: LABELS.study, OWNER: LABELS.owner}


def test_pod_override_only_has_the_studys_settings() -> None:
    assert "podOverride" not in job().manifest()["spec"]
    extra = {"key": "team", "operator": "Exists"}
    manifest = job(image="g:1", cpu=2, memory="1Gi", node_selector={"disk": "ssd"}, tolerations=[extra]).manifest()
    sizes = {"cpu": "2", "memory": "1Gi"}
    assert manifest["spec"]["podOverride"] == {
        "image": "g:1",
        "resources": {"requests": sizes, "limits": sizes},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, extra],
    }
    only = job(cpu="50m").manifest()["spec"]["podOverride"]
    assert only == {"resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "50m"}}}


def test_names_and_folders_are_unique() -> None:
    jobs = [job() for _ in range(20)]
    assert len({one.name for one in jobs}) == len({one.folder for one in jobs}) == 20
    for one in jobs:
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", one.name)
        assert re.search(r"-[0-9a-f]{32}$", one.folder), "unique, however many runs there are"


@pytest.mark.parametrize("path", ["autotuner", "autotuner/results", "out", "usrs", "data/tmp"])
def test_folders_of_the_volume(path: str) -> None:
    assert job(sub_path=path).manifest()["spec"]["outputLocation"]["storageUri"] == f"pvc://results/{path}"


@pytest.mark.parametrize(
    "path", ["usr", "usr/local/results", "tmp/x", "etc", "/results", "results/", "a//b", "../other", "a/./b"]
)
def test_folders_that_would_hide_the_system_or_leave_the_volume(path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(sub_path=path)
    [error] = caught.value.errors(include_url=False)
    assert error["loc"] == ("sub_path",)
    assert ("system folder" in error["msg"]) is (path.split("/")[0] in {"usr", "tmp", "etc"})


@pytest.mark.parametrize(
    ("metadata", "other"),
    [
        (b'{"experiment_folder_name": "mine"}', ""),
        (b'{"experiment_folder_name": "/autotuner/mine"}', ""),
        (b'{"experiment_folder_name": "/autotuner/other"}', "/autotuner/other"),
        (b'{"experiment_folder_name": null}', ""),
        (b"{}", ""),
        (b"", ""),
        (b"[1]", ""),
        (b'{"experiment_fol', ""),
        (b"\xff\xfe", ""),
    ],
)
def test_results_of_another_run_are_detected_by_their_metadata(metadata: bytes, other: str) -> None:
    """Metadata without a folder name are accepted."""
    assert another_run({"experiment_metadata.json": metadata}, "mine") == other
    assert another_run({}, "mine") == ""


@pytest.mark.anyio
async def test_settings_are_checked_before_the_cluster() -> None:
    given = {**settings().model_dump(), "sub_path": "usr", "claim": "No Claim"}
    nowhere = OmeSettings(kubeconfig="/nowhere")
    checks = await BenchmarkJobs(nowhere).preflight(given)
    assert {(c.name, c.status) for c in checks} == {
        ("benchmark.sub_path", CheckStatus.FAIL),
        ("benchmark.claim", CheckStatus.FAIL),
    }
    assert any("/usr" in c.detail for c in checks)


def reader(disk: Any) -> dict[str, Any]:
    """Pod specification of the reader of results."""
    load = Load(
        "module", OmeSettings(loadgen_image="l:1", loadgen_node_selector={"pool": "load"}), "l-1", LABELS, SERVICE, disk
    )
    found: dict[str, Any] = load.job([], "l:1")["spec"]["template"]["spec"]
    return found


def test_results_are_read_on_the_node_that_wrote_them() -> None:
    """A volume of a single node; the reader has the tolerations of the benchmark's pod."""
    tolerations = [{"key": "team", "operator": "Exists"}]
    pod = {"spec": {"nodeName": "node-1", "tolerations": tolerations}}
    spec = reader(job().disk(["ReadWriteOnce"], pod))
    assert {"name": "disk", "persistentVolumeClaim": {"claimName": "results"}} in spec["volumes"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert {"name": "disk", "mountPath": RESULTS, "subPath": "autotuner"} in mounts
    assert tolerations[0] in spec["tolerations"]
    assert "node-1" in str(spec["affinity"])
    assert "nodeSelector" not in spec


def test_results_on_a_shared_volume_are_read_on_the_load_generators_nodes() -> None:
    pod = {"spec": {"nodeName": "node-1"}}
    spec = reader(job().disk(["ReadWriteOnce", "ReadWriteMany"], pod))
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in spec["affinity"]["nodeAffinity"]
    assert spec["nodeSelector"] == {"pool": "load"}


def test_load_generator_without_a_volume() -> None:
    spec = reader(None)
    assert [volume["name"] for volume in spec["volumes"]] == ["spec"]
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in spec["affinity"]["nodeAffinity"]


def test_default_tolerations_are_the_servers() -> None:
    servers = ({"key": "team", "operator": "Exists"},)
    none, own = (job(tolerations=given).settings.with_default_tolerations(servers) for given in ([], [{"key": "own"}]))
    assert none.tolerations == servers
    assert own.tolerations == ({"key": "own"},)


def test_rejected_pod_is_fatal() -> None:
    refused = Failure(cause=FailureCause.NOT_ACCEPTED, message="refused", remedy="deploy.security")
    failure = benchmark_job._never_ran(refused, None)
    assert failure.cause in FATAL
    assert "benchmark.kind: native" in failure.remedy
