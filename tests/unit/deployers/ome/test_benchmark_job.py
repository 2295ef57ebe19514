"""The BenchmarkJob that OME gets, and where its results are: without a cluster."""

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
    """As the study file's section arrives."""
    return BenchmarkSettings.model_validate(OmeJobSettings.model_validate({"claim": "results", **changes}).model_dump())


def job(**changes: Any) -> Job:
    return Job.of("at-1", SERVICE, "space", RUN, settings(**changes))


def test_a_benchmark_job() -> None:
    made = job()
    told = made.manifest()
    assert (told["apiVersion"], told["kind"]) == ("ome.io/v1beta1", "BenchmarkJob")
    assert told["spec"] == {
        "endpoint": {"inferenceService": {"name": "at-1", "namespace": "space"}},
        "task": "text-to-text",
        "trafficScenarios": ["D(100,20)"],
        "numConcurrency": [4],
        "maxTimePerIteration": 2,
        "maxRequestsPerIteration": 50,
        "outputLocation": {"storageUri": "pvc://results/autotuner"},
        "resultFolderName": made.folder,
    }
    metadata = told["metadata"]
    assert metadata["name"] == made.name
    assert metadata["ownerReferences"] == [SERVICE]
    labels = metadata["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "autotuner"
    assert {key: labels[key] for key in (TRIAL, ROLE, GROUP)} == {TRIAL: "12", ROLE: "benchmark", GROUP: "at-1"}
    assert {labels[STUDY], labels[OWNER]} == {label_value(LABELS.study), LABELS.owner}
    assert metadata["annotations"] == {STUDY: LABELS.study, OWNER: LABELS.owner}


def test_the_pod_is_changed_only_where_the_study_says_so() -> None:
    assert "podOverride" not in job().manifest()["spec"]
    extra = {"key": "team", "operator": "Exists"}
    told = job(image="g:1", cpu=2, memory="1Gi", node_selector={"disk": "ssd"}, tolerations=[extra]).manifest()
    sizes = {"cpu": "2", "memory": "1Gi"}
    assert told["spec"]["podOverride"] == {
        "image": "g:1",
        "resources": {"requests": sizes, "limits": sizes},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, extra],
    }
    only = job(cpu="50m").manifest()["spec"]["podOverride"]
    assert only == {"resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "50m"}}}


def test_no_two_runs_share_a_name_or_a_folder() -> None:
    made = [job() for _ in range(20)]
    assert len({one.name for one in made}) == len({one.folder for one in made}) == 20
    for one in made:
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", one.name)
        assert re.search(r"-[0-9a-f]{32}$", one.folder), "never used, however many runs there were"


@pytest.mark.parametrize("path", ["autotuner", "autotuner/results", "out", "usrs", "data/tmp"])
def test_folders_of_the_volume(path: str) -> None:
    assert job(sub_path=path).manifest()["spec"]["outputLocation"]["storageUri"] == f"pvc://results/{path}"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("usr", "OME mounts it as /usr, which is a system folder"),
        ("usr/local/results", "which is a system folder"),
        ("tmp/x", "which is a system folder"),
        ("etc", "which is a system folder"),
        ("/results", "must be a folder inside the volume"),
        ("results/", "must be a folder inside the volume"),
        ("a//b", "must be a folder inside the volume"),
        ("../other", "must be a folder inside the volume"),
        ("a/./b", "must be a folder inside the volume"),
    ],
)
def test_folders_that_would_hide_the_system_or_leave_the_volume(path: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(sub_path=path)


@pytest.mark.parametrize(
    ("metadata", "other"),
    [
        (b'{"experiment_folder_name": "mine"}', ""),
        (b'{"experiment_folder_name": "/autotuner/mine"}', ""),
        (b'{"experiment_folder_name": "/autotuner/theirs"}', "/autotuner/theirs"),
        (b'{"experiment_folder_name": null}', ""),
        (b"{}", ""),
        (b"", ""),
        (b"[1]", ""),
        (b'{"experiment_fol', ""),
        (b"\xff\xfe", ""),
    ],
)
def test_results_ofanother_run_are_known_by_what_they_say(metadata: bytes, other: str) -> None:
    """Metadata without a folder name do not cost the measurement."""
    assert another_run({"experiment_metadata.json": metadata}, "mine") == other
    assert another_run({}, "mine") == ""


@pytest.mark.anyio
async def test_settings_are_looked_at_before_the_cluster_is() -> None:
    given = {**settings().model_dump(), "sub_path": "usr", "claim": "No Claim"}
    nowhere = OmeSettings(kubeconfig="/nowhere")
    checks = await BenchmarkJobs(nowhere).preflight(given)
    assert {(c.name, c.status) for c in checks} == {
        ("benchmark.sub_path", CheckStatus.FAIL),
        ("benchmark.claim", CheckStatus.FAIL),
    }
    assert any("OME mounts it as /usr" in c.detail for c in checks)


def reader(disk: Any) -> dict[str, Any]:
    """The pod that reads results."""
    load = Load(
        "module", OmeSettings(loadgen_image="l:1", loadgen_node_selector={"pool": "load"}), "l-1", LABELS, SERVICE, disk
    )
    found: dict[str, Any] = load.job([], "l:1")["spec"]["template"]["spec"]
    return found


def test_results_are_read_where_they_were_written() -> None:
    """A volume that one node has alone; its taints are tolerated as the benchmark's pod tolerated them."""
    tolerations = [{"key": "team", "operator": "Exists"}]
    pod = {"spec": {"nodeName": "node-1", "tolerations": tolerations}}
    spec = reader(job().disk(["ReadWriteOnce"], pod))
    assert {"name": "disk", "persistentVolumeClaim": {"claimName": "results"}} in spec["volumes"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert {"name": "disk", "mountPath": RESULTS, "subPath": "autotuner"} in mounts
    assert tolerations[0] in spec["tolerations"]
    assert "node-1" in str(spec["affinity"])
    assert "nodeSelector" not in spec


def test_results_that_every_node_has_are_read_where_load_comes_from() -> None:
    pod = {"spec": {"nodeName": "node-1"}}
    spec = reader(job().disk(["ReadWriteOnce", "ReadWriteMany"], pod))
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in spec["affinity"]["nodeAffinity"]
    assert spec["nodeSelector"] == {"pool": "load"}


def test_without_a_disk_a_load_generator_sees_no_volume() -> None:
    spec = reader(None)
    assert [volume["name"] for volume in spec["volumes"]] == ["spec"]
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in spec["affinity"]["nodeAffinity"]


def test_the_servers_tolerations_are_the_benchmarks_where_it_has_none() -> None:
    servers = ({"key": "team", "operator": "Exists"},)
    none, own = (job(tolerations=given).settings.with_default_tolerations(servers) for given in ([], [{"key": "own"}]))
    assert none.tolerations == servers
    assert own.tolerations == ({"key": "own"},)


def test_a_pod_of_ome_that_is_refused_is_final_and_has_a_remedy_of_its_own() -> None:
    refused = Failure(cause=FailureCause.NOT_ACCEPTED, message="refused", remedy="deploy.security")
    told = benchmark_job._never_ran(refused, None)
    assert told.cause in FATAL
    assert "benchmark.kind: native" in told.remedy
