"""What each target adds: volumes of pods and containers, and what OME accepts, drops or overrides."""

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.errors import UsageError
from autotuner.manifests.yaml_text import yaml_text
from autotuner.report.exported.options import Form
from autotuner.report.exported.render import Manifest
from autotuner.report.exported.winner import PlanDiffersError
from autotuner.report.result import StudyResult

Won = Callable[..., StudyResult]
Make = Callable[..., Manifest]

SNAPSHOT = "/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/abc"
BUNDLED = [
    "python3", "-m", "sglang.launch_server", "--host", "0.0.0.0", "--port", "8080", "--model-path", "$(MODEL_PATH)",
    "--tp-size", "1", "--mem-fraction-static=0.9", "--enable-metrics",
]  # fmt: skip


def pod_of(found: Manifest) -> dict[str, Any]:
    return found.objects[0]["spec"]["template"]["spec"]


def service_of(found: Manifest) -> dict[str, Any]:
    (service,) = found.objects[0]["services"].values()
    return service


def volumes_of(found: Manifest) -> dict[str, tuple[Any, Any]]:
    """Source and mount by name."""
    pod = pod_of(found)
    mounts = {m.pop("name"): m for m in [dict(m) for m in pod["containers"][0]["volumeMounts"]]}
    sources = {v.pop("name"): v for v in [dict(v) for v in pod["volumes"]]}
    assert sources.keys() == mounts.keys()
    return {name: (sources[name], mounts[name]) for name in sources}


@pytest.mark.parametrize(
    ("model", "path", "kind"),
    [
        ("/models/Llama-3.1-8B", "/models/Llama-3.1-8B", "Directory"),
        ("/models/tiny.gguf", "/models/tiny.gguf", "File"),
        (SNAPSHOT, SNAPSHOT.partition("/snapshots")[0], "Directory"),
    ],
)
def test_local_model_is_mounted_read_only(won: Won, manifest: Make, model: str, path: str, kind: str) -> None:
    volumes = volumes_of(manifest(won(model=model), Form.KUBERNETES))
    assert volumes["model"] == ({"hostPath": {"path": path, "type": kind}}, {"mountPath": path, "readOnly": True})
    assert volumes["shm"] == ({"emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}, {"mountPath": "/dev/shm"})  # noqa: S108 - of the container
    (bind,) = service_of(manifest(won(model=model), Form.COMPOSE))["volumes"]
    assert bind == {"type": "bind", "source": path, "target": path, "read_only": True}


@pytest.mark.parametrize(
    ("model", "mounted"), [("/models/Llama-3.1-8B", "/models/Llama-3.1-8B"), ("/models/x/tiny.gguf", "/models/x")]
)
def test_claim_is_mounted_at_the_models_path(won: Won, manifest: Make, model: str, mounted: str) -> None:
    volumes = volumes_of(manifest(won(model=model), Form.KUBERNETES, pvc="models:llama/8b"))
    assert volumes["model"] == (
        {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        {"mountPath": mounted, "readOnly": True, "subPath": "llama/8b"},
    )
    assert "hostPath" not in str(volumes)


def test_models_and_credentials_of_a_kubernetes_study(won: Won, manifest: Make) -> None:
    deploy = {
        "kind": "kubernetes",
        "namespace": "tuning",
        "pvc": {"claim": "models", "sub_path": "llama"},
        "hub_token_secret": {"name": "hf"},
        "cache_pvc": "hub",
    }
    args = {"tokenizer": "/models/tokenizer"}
    local = manifest(won(deploy=deploy, args=args), Form.KUBERNETES)
    assert local.objects[0]["metadata"]["namespace"] == "tuning"
    assert volumes_of(local).keys() == {"shm", "model"}
    assert volumes_of(local)["model"][1] == {"mountPath": "/models", "readOnly": True, "subPath": "llama"}
    hub = manifest(won(deploy=deploy, model="Qwen/Qwen3-8B"), Form.KUBERNETES, namespace="serving")
    assert hub.objects[0]["metadata"]["namespace"] == "serving"
    assert volumes_of(hub)["hub-cache"][0] == {"persistentVolumeClaim": {"claimName": "hub"}}
    token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}
    assert token in pod_of(hub)["containers"][0]["env"]


def test_other_files_are_mounted_beside_the_model(won: Won, manifest: Make) -> None:
    args = {"chat-template": "/models/chat.jinja", "tokenizer": "/models/tokenizer"}
    found = manifest(won(args=args), Form.KUBERNETES, pvc="models")
    hosts = [source["hostPath"] for source, _ in volumes_of(found).values() if "hostPath" in source]
    assert hosts == [{"path": "/models/tokenizer", "type": "Directory"}, {"path": "/models/chat.jinja", "type": "File"}]
    relative = manifest(won(args={"chat-template": "chat.jinja"}), Form.KUBERNETES)
    assert [note for note in relative.notes if note.startswith("chat.jinja ")] != []


def test_hub_model_gets_a_cache_and_a_token_by_reference(won: Won, manifest: Make) -> None:
    result = won(model="Qwen/Qwen3-8B")
    plain = manifest(result, Form.KUBERNETES)
    assert volumes_of(plain)["hub-cache"] == ({"emptyDir": {}}, {"mountPath": "/hub-cache"})
    kept = manifest(result, Form.KUBERNETES, cache_pvc="hub", hub_token_secret="hf/token")
    assert volumes_of(kept)["hub-cache"][0] == {"persistentVolumeClaim": {"claimName": "hub"}}
    assert pod_of(kept)["containers"][0]["env"] == [
        {"name": "HF_HOME", "value": "/hub-cache"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
    ]
    composed = manifest(result, Form.COMPOSE)
    assert composed.objects[0]["volumes"] == {"hub-cache": {}}
    assert service_of(composed)["environment"] == {"HF_HOME": "/hub-cache"}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("Qwen/Qwen3-8B", {"pvc": "x"}),
        ("/models/x", {"cache_pvc": "x"}),
        ("~/models/x", {}),
        ("./x", {"pvc": "y"}),
    ],
)
def test_models_that_a_pod_cannot_read(
    won: Won, manifest: Make, model: str, options: dict[str, str], snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(UsageError) as refused:
        manifest(won(model=model), Form.KUBERNETES, **options)
    assert [problem.where for problem in refused.value.problems] == ["model.path"]
    assert str(refused.value) == snapshot


@pytest.mark.parametrize("gpus", [0, 2])
def test_as_many_gpus_as_the_trial_had(won: Won, manifest: Make, gpus: int) -> None:
    settings = {"device": "cpu"} if not gpus else {}
    result = won(gpus=gpus, settings=settings, args={"tensor-parallel-size": 2})
    (container,) = pod_of(manifest(result, Form.KUBERNETES))["containers"]
    count = {"nvidia.com/gpu": str(gpus)}
    void = {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}
    assert container.get("resources") == ({"requests": count, "limits": count} if gpus else None)
    assert (void in container.get("env", [])) == (gpus == 0)
    service = service_of(manifest(result, Form.COMPOSE))
    device = {"driver": "nvidia", "count": gpus, "capabilities": ["gpu"]}
    expected = {"resources": {"reservations": {"devices": [device]}}} if gpus else None
    assert service.get("deploy") == expected


MEASURED_IN_DOCKER = """
docker run --rm --network bridge -p 127.0.0.1:8000:8000 --init --gpus '"device=GPU-1"' --shm-size 8g --cpus 4
  --memory 32g --memory-swap 32g --user 1000 --ulimit memlock=-1 --ulimit nofile=1024:2048 --device /dev/infiniband
  -v /mnt/models/chat-8b:/models/chat-8b:ro -v /data:/data -e HF_TOKEN -e 'A=b$c' --no-healthcheck --entrypoint vllm
  vllm/vllm-openai:v1 serve -v /not/a:/volume
"""


def test_compose_service_equals_the_measured_container(won: Won, manifest: Make) -> None:
    command = shlex.split(MEASURED_IN_DOCKER)
    deploy = {
        "kind": "docker",
        "shm_size": "8g",
        "cpus": 4,
        "memory": "32g",
        "user": "1000",
        "ulimits": {"memlock": -1, "nofile": "1024:2048"},
        "devices": ["/dev/infiniband"],
    }
    result = won(command=tuple(command), deploy=deploy)
    found = manifest(result, Form.COMPOSE, image_of=lambda plan: "registry.example/vllm:1")
    service = service_of(found)
    assert service["image"] == "registry.example/vllm:1"
    assert service["volumes"] == [
        {"type": "bind", "source": "/mnt/models/chat-8b", "target": "/models/chat-8b", "read_only": True},
        {"type": "bind", "source": "/data", "target": "/data"},
    ]
    assert service["environment"] == {"HF_TOKEN": None, "A": "b$$c"}
    limits = ("shm_size", "cpus", "mem_limit", "memswap_limit", "user", "ulimits", "devices")
    assert {key: service[key] for key in limits} == {
        "shm_size": "8g",
        "cpus": 4.0,
        "mem_limit": "32g",
        "memswap_limit": "32g",
        "user": "1000",
        "ulimits": {"memlock": -1, "nofile": {"soft": 1024, "hard": 2048}},
        "devices": ["/dev/infiniband"],
    }


def test_inference_service_has_the_measured_image(won: Won, manifest: Make) -> None:
    form = Form.INFERENCE_SERVICE
    by_runtime = manifest(won(), form)
    assert "image" not in by_runtime.objects[0]["spec"]["engine"]["runner"]
    assert [note for note in by_runtime.notes if "image" in note and "vllm/vllm-openai:" in note] != []
    measured = manifest(won(), form, image_of=lambda plan: f"{plan.image}-patched")
    assert measured.objects[0]["spec"]["engine"]["runner"]["image"].endswith("-patched")


def test_inference_service_names_model_and_runtime(won: Won, manifest: Make) -> None:
    found = manifest(won(), Form.INFERENCE_SERVICE, runtime="ServingRuntime/mine", model="BaseModel/llama", port=9000)
    thing = found.objects[0]
    assert thing["metadata"]["annotations"] == {"ome.io/autoscalerClass": "external"}
    assert thing["spec"]["model"] == {"name": "llama", "kind": "BaseModel"}
    assert thing["spec"]["runtime"] == {"name": "mine", "kind": "ServingRuntime"}
    engine = thing["spec"]["engine"]
    assert (engine["minReplicas"], engine["maxReplicas"], engine["runner"]["name"]) == (1, 1, "ome-container")
    assert engine["runner"]["args"][-1] == "9000"
    assert engine["runner"]["readinessProbe"]["httpGet"] == {"path": "/health", "port": 9000}


@pytest.mark.parametrize("form", [Form.INFERENCE_SERVICE, Form.SERVING_RUNTIME])
@pytest.mark.parametrize("part", ["args", "env"])
def test_text_that_ome_reads_as_a_template_is_refused(won: Won, manifest: Make, form: Form, part: str) -> None:
    template = {"args": {"chat-template": "{{ messages }}"}, "env": {"TEMPLATE": "a {{x}}"}}[part]
    with pytest.raises(UsageError) as refused:
        manifest(won(**{part: template}), form)
    assert "{{" in refused.value.problems[0].why
    assert len(str(refused.value).splitlines()) == 1
    harmless = manifest(won(args={"speculative-config": '{"a": {"b": 1}}'}), form)
    assert '{"a": {"b": 1}}' in str(harmless.objects)


OME_STUDY = {
    "engine": "sglang",
    "tuned": {"mem-fraction-static": 0.8},
    "deploy": {"kind": "ome", "runtime": "srt-llama", "namespace": "serving"},
    "argv": (
        "python3", "-m", "sglang.launch_server", "--host", "0.0.0.0", "--model-path", "/mnt/llama", "--port", "8081",
        "--log-requests", "--enable-metrics", "--mem-fraction-static", "0.8",
    ),
}  # fmt: skip


def test_ome_study_names_runtime_model_and_namespace(won: Won, manifest: Make) -> None:
    result = won(**OME_STUDY)
    model = result.spec.model.model_copy(update={"path": "llama-8b"})
    result = result.model_copy(update={"spec": result.spec.model_copy(update={"model": model})})
    thing = manifest(result, Form.INFERENCE_SERVICE, runtime=None, model=None).objects[0]
    assert thing["metadata"]["namespace"] == "serving"
    assert thing["spec"]["runtime"]["name"] == "srt-llama"
    assert thing["spec"]["model"]["name"] == "llama-8b"
    runner = thing["spec"]["engine"]["runner"]
    assert [*runner["command"], *runner["args"]] == [
        "python3",
        "-m",
        "sglang.launch_server",
        "--model-path",
        "$(MODEL_PATH)",
        "--log-requests",
        "--enable-metrics",
        "--mem-fraction-static",
        "0.8",
        "--host",
        "0.0.0.0",
        "--port",
        "8081",
    ]


def test_the_image_of_a_runtime_with_another_tag_is_not_guessed(won: Won, manifest: Make) -> None:
    result = won(**{**OME_STUDY, "deploy": {**OME_STUDY["deploy"], "image_tag": "v9"}})
    with pytest.raises(UsageError) as refused:
        manifest(result, Form.INFERENCE_SERVICE, model="llama-8b")
    assert [problem.where for problem in refused.value.problems] == ["--image"]
    assert "v9" in str(refused.value)
    thing = manifest(result, Form.INFERENCE_SERVICE, model="llama-8b", image="registry/sglang:v9").objects[0]
    assert thing["spec"]["engine"]["runner"]["image"] == "registry/sglang:v9"


def test_a_study_on_ome_must_have_had_its_flags(won: Won, manifest: Make) -> None:
    with pytest.raises(PlanDiffersError) as refused:
        manifest(won(**{**OME_STUDY, "tuned": {"mem-fraction-static": 0.7}}), Form.KUBERNETES)
    assert [part for part in ("mem-fraction-static", "0.8", "0.7") if part not in refused.value.message] == []


def runtime(**runner: Any) -> dict[str, Any]:
    """As OME's own are, fetched from a cluster."""
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "on"}
    container = {"name": "ome-container", "image": "docker.io/lmsysorg/sglang:v0.5.5", "command": BUNDLED, **runner}
    resources = {"requests": {"cpu": 10, "nvidia.com/gpu": 1}, "limits": {"cpu": 10, "nvidia.com/gpu": 1}}
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": "srt-llama", "uid": "1", "resourceVersion": "2", "annotations": applied},
        "spec": {
            "supportedModelFormats": [{"modelFormat": {"name": "safetensors"}, "autoSelect": True, "priority": 1}],
            "engineConfig": {"tolerations": [{"key": "gpu"}], "runner": {**container, "resources": resources}},
        },
    }


def tuned(won: Won, manifest: Make, thing: Any, **options: Any) -> dict[str, Any]:
    text = thing if isinstance(thing, str) else yaml_text([thing])
    values = {"mem-fraction-static": 0.8, "tp-size": 2, "enable-metrics": False, "schedule-policy": "lpm"}
    result = won(engine="sglang", args={"chunked-prefill-size": 4096}, tuned=values, gpus=2)
    made: dict[str, Any] = manifest(result, Form.SERVING_RUNTIME, start_from=text, **options).objects[0]
    return made


FLAGS = ["--chunked-prefill-size", "4096", "--mem-fraction-static", "0.8", "--tp-size", "2", "--schedule-policy", "lpm"]


def test_an_existing_runtime_gets_the_tuned_command(won: Won, manifest: Make) -> None:
    made = tuned(won, manifest, runtime())
    assert made["metadata"]["name"] == "srt-llama-tuned"
    assert made["metadata"]["annotations"] == {"kept": "on"}
    assert {"uid", "resourceVersion"}.isdisjoint(made["metadata"])
    assert made["spec"]["supportedModelFormats"][0]["autoSelect"] is False
    runner = made["spec"]["engineConfig"]["runner"]
    assert runner["command"] == [*BUNDLED[:9], *FLAGS]
    assert "args" not in runner
    assert runner["image"] == "docker.io/lmsysorg/sglang:v0.5.5"
    count = {"cpu": 10, "nvidia.com/gpu": "2"}
    assert runner["resources"] == {"requests": count, "limits": count}


def test_a_runtime_with_its_flags_in_args_keeps_them_there(won: Won, manifest: Make) -> None:
    made = tuned(won, manifest, runtime(command=BUNDLED[:3], args=BUNDLED[3:]), image="x/sglang:2", name="mine")
    runner = made["spec"]["engineConfig"]["runner"]
    assert runner["command"] == BUNDLED[:3]
    assert runner["args"] == [*BUNDLED[3:9], *FLAGS]
    assert (runner["image"], made["metadata"]["name"]) == ("x/sglang:2", "mine")
    only = runtime(args=["--tp", "4", "--host", "::"])
    del only["spec"]["engineConfig"]["runner"]["command"]
    runner = tuned(won, manifest, only)["spec"]["engineConfig"]["runner"]
    assert runner["args"] == ["--host", "::", *FLAGS]
    assert "command" not in runner


def with_config(**config: Any) -> dict[str, Any]:
    thing = runtime()
    thing["spec"]["engineConfig"] |= config
    return thing


def overruling(**fields: Any) -> dict[str, Any]:
    thing = runtime()
    thing["spec"]["supportedModelFormats"][0]["acceleratorConfig"] = {"h100": fields}
    return thing


@pytest.mark.parametrize(
    ("thing", "named"),
    [
        ("a: [", ["YAML", "line 1"]),
        ("a: 1", ["ServingRuntime"]),
        (yaml_text([runtime(), runtime()]), ["2"]),
        (with_config(runner=None), ["spec.engineConfig.runner"]),
        (with_config(leader={}), ["machines"]),
        (runtime(command=["bash", "-c", "sglang"]), ["shell"]),
        (runtime(command=None), ["command", "args"]),
        (runtime(command=["vllm", "serve"], image="x/vllm"), ["sglang"]),
        (runtime(command=[*BUNDLED, "--x", 4]), ["4", "command"]),
        (runtime(command=[*BUNDLED, "--x", "{{ y }}"]), ["{{"]),
        (overruling(runtimeArgsOverride=["--tp", "8"]), ["h100", "tp-size"]),
        (overruling(tensorParallelismOverride={"tensorParallelSize": 8}), ["h100", "tensorParallelismOverride"]),
    ],
    ids=[
        "not YAML",
        "another kind",
        "two runtimes",
        "no runner",
        "several machines",
        "shell",
        "no command",
        "another engine",
        "number in command",
        "template",
        "overriding arguments",
        "overriding parallelism",
    ],
)
def test_runtimes_that_cannot_be_tuned(
    won: Won, manifest: Make, thing: Any, named: list[str], snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(UsageError) as refused:
        tuned(won, manifest, thing)
    (problem,) = refused.value.problems
    assert problem.where == ("argument 10" if "{{" in named else "--from")
    assert [part for part in named if part not in problem.why] == []
    assert str(refused.value) == snapshot


def test_options_that_a_runtime_sets_itself(won: Won, manifest: Make) -> None:
    for option, value in (("architecture", "LlamaForCausalLM"), ("namespace", "x")):
        with pytest.raises(UsageError) as refused:
            tuned(won, manifest, runtime(), **{option: value})
        assert [problem.where for problem in refused.value.problems] == [f"--{option}"]


def test_new_runtime_has_all_flags_in_its_command(won: Won, manifest: Make) -> None:
    made = manifest(won(), Form.SERVING_RUNTIME, quantization="fp8").objects[0]
    assert made["kind"] == "ClusterServingRuntime"
    assert made["spec"]["modelSizeRange"] == {"min": "1B", "max": "8B"}
    (supported,) = made["spec"]["supportedModelFormats"]
    assert supported["modelFramework"] == {"name": "transformers", "version": "4.51.0"}
    assert supported["quantization"] == "fp8"
    runner = made["spec"]["engineConfig"]["runner"]
    assert "args" not in runner
    assert runner["command"][:3] == ["vllm", "serve", "$(MODEL_PATH)"]
    assert runner["startupProbe"]["failureThreshold"] * runner["startupProbe"]["periodSeconds"] == 1200
    of_namespace = manifest(won(), Form.SERVING_RUNTIME, namespace="serving").objects[0]
    assert (of_namespace["kind"], of_namespace["metadata"]["namespace"]) == ("ServingRuntime", "serving")
