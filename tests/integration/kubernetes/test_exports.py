"""Exported manifests on a real API server: strict validation of their fields, and real starts."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from autotuner.engines.sglang.engine import Sglang
from autotuner.engines.vllm.engine import Vllm
from autotuner.plugins import loading
from autotuner.report.exported.options import Form, parse_options
from autotuner.report.exported.render import Manifest, manifest_of
from autotuner.report.exported.winner import winner_of
from autotuner.report.result import study_result
from autotuner.study.spec import EngineSpec, Model, PluginSpec
from autotuner.testing.samples import sample_spec
from autotuner.testing.study_maker import winning_sample
from support.kube_lab import needs_its_own_tmp
from support.ome_standin.crds import crds
from support.ome_standin.sample_objects import MODEL, RUNTIME

pytestmark = pytest.mark.cluster

PATIENCE_S = 90.0
NASTY = (
    "on", "No", "true", "null", "~", "", "1", "0.9", "1e3", "0x1F", "1_000", ".inf", "12:30", "2024-01-01", "=", "<<",
    "a: b", "# x", "- x", "---", "two words", '{"a": [1, "x y"]}', "it's", 'say "hi"', "a\nb\n", "\ta", "ünï", "$HOME",
    "$$", "$(HOME)", "$$(HOME)", "\\n", "{{ x }}",
)  # fmt: skip
HARMLESS = tuple(text for text in NASTY if "{{" not in text)
"""Texts that OME does not read as templates."""
OPTIONS = {
    Form.KUBERNETES: {"hub_token_secret": "hf/token", "env_secret": ["A=b/c"]},
    Form.INFERENCE_SERVICE: {"runtime": "srt-llama", "model": "BaseModel/llama", "env_secret": ["A=b/c"]},
    Form.SERVING_RUNTIME: {
        "model_format": "safetensors:1.0.0", "model_framework": "transformers:4.51.0",
        "architecture": "LlamaForCausalLM", "quantization": "fp8", "size_range": "0.5B-8B",
    },
}  # fmt: skip


def exported(
    form: Form,
    *,
    engine: str = "sglang",
    args: Any = None,
    study_model: Model | None = None,
    deploy: dict[str, Any] | None = None,
    **options: Any,
) -> Manifest:
    """Exports the winner of a study on two GPUs."""
    tp = {"sglang": "tp-size", "vllm": "tensor-parallel-size"}[engine]
    spec = sample_spec(f"export-{uuid4().hex[:8]}", slos=()).model_copy(
        update={
            "model": study_model or Model(path="/models/chat-8b"),
            "engine": EngineSpec.model_validate(
                {"kind": engine, "args": args or {}, "env": {"ON": "on", "AUTOTUNER_SIMULATED_GPU_COUNT": "2"}}
            ),
        }
    )
    if deploy:
        spec = spec.model_copy(update={"deploy": PluginSpec.model_validate(deploy)})
    sample = winning_sample(spec, {tp: 2}, gpus=2)
    result = study_result(sample.spec, sample.state, sample.trials)
    settings = loading.deployer(spec.deploy).settings
    return manifest_of(winner_of(result, spec.model, settings=settings), form, parse_options(form, options))


def dry_run(cluster: Any, text: str) -> list[dict[str, Any]]:
    """Returns the objects as the API server would store them, in a strict dry run of ``kubectl create``."""
    output = cluster.kubectl("create", "--validate=strict", "--dry-run=server", "-o", "json", "-f", "-", stdin=text)
    objects = list[dict[str, Any]]()
    decoder = json.JSONDecoder()
    while output := output.strip():
        manifest, end = decoder.raw_decode(output)
        objects.append(manifest)
        output = output[end:]
    return objects


@pytest.fixture(scope="module")
def ome_crds(cluster: Any) -> Iterator[None]:
    """Installs OME's CustomResourceDefinitions, without OME."""
    kinds = crds()
    names = [kind["metadata"]["name"] for kind in kinds]
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin="\n---\n".join(map(json.dumps, kinds)))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{name}" for name in names))
    yield
    cluster.kubectl("delete", "crd", *names)


def holds(part: Any, whole: Any) -> bool:
    """Returns whether ``whole``, an object with the API server's defaults, contains everything in ``part``."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and holds(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(holds, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_api_server_reads_every_text_unchanged(cluster: Any, engine: str) -> None:
    args = {f"note-{number}": text for number, text in enumerate(NASTY)}
    for options in (
        OPTIONS[Form.KUBERNETES],
        {"pvc": "models:chat/8b", "port": 9000, "image": "registry.example/x:1"},
    ):
        manifest = exported(Form.KUBERNETES, engine=engine, args=args, **options)
        created = dry_run(cluster, manifest.text)
        assert [one["kind"] for one in created] == ["Deployment", "Service"]
        assert all(map(holds, manifest.objects, created))
    hub = exported(
        Form.KUBERNETES, study_model=Model(path="Qwen/Qwen3-8B"), cache_pvc="hub", **OPTIONS[Form.KUBERNETES]
    )
    assert all(map(holds, hub.objects, dry_run(cluster, hub.text)))


@pytest.mark.parametrize("form", [Form.INFERENCE_SERVICE, Form.SERVING_RUNTIME])
def test_crds_of_ome_have_every_field(cluster: Any, ome_crds: None, form: Form) -> None:
    args = {f"note-{number}": text for number, text in enumerate(HARMLESS)}
    manifest = exported(form, args=args, **OPTIONS[form])
    assert all(map(holds, manifest.objects, dry_run(cluster, manifest.text)))
    namespaced = exported(form, args=args, namespace="default", name="mine", **OPTIONS[form])
    assert dry_run(cluster, namespaced.text)[0]["metadata"]["namespace"] == "default"


def test_export_based_on_a_runtime_of_the_cluster(cluster: Any, ome_crds: None) -> None:
    first = exported(Form.SERVING_RUNTIME, name="base", **OPTIONS[Form.SERVING_RUNTIME])
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=first.text)
    base = cluster.kubectl("get", "clusterservingruntime", "base", "-o", "yaml")
    manifest = exported(Form.SERVING_RUNTIME, start_from=base, args={"chunked-prefill-size": 4096})
    (created,) = dry_run(cluster, manifest.text)
    cluster.kubectl("delete", "clusterservingruntime", "base")
    assert holds(manifest.objects[0], created)
    assert created["metadata"]["name"] == "base-tuned"
    command = created["spec"]["engineConfig"]["runner"]["command"]
    assert command[:5] == ["python3", "-m", "sglang.launch_server", "--model-path", "$(MODEL_PATH)"]
    assert command[-4:] == ["--chunked-prefill-size", "4096", "--tp-size", "2"]


def test_unknown_fields_are_refused(cluster: Any, ome_crds: None) -> None:
    for form, old, new in (
        (Form.KUBERNETES, "readinessProbe:", "readynessProbe:"),
        (Form.INFERENCE_SERVICE, "    minReplicas:", "    leastReplicas:"),
    ):
        text = exported(form, **OPTIONS[form]).text
        assert old in text
        with pytest.raises(RuntimeError, match="unknown field"):
            dry_run(cluster, text.replace(old, new))


@pytest.mark.parametrize(
    ("engine", "args"),
    [
        (
            "sglang",
            {"json-model-override-args": '{"a": [1, "x  y"],\n "b": "$(HOME) $$"}', "mem-fraction-static": 0.85},
        ),
        ("vllm", {"hf-overrides": '{"a": [1, "x  y"],\n "b": "$(HOME) $$"}', "max-num-seqs": 64}),
    ],
)
def test_deployment_starts_the_measured_server(cluster: Any, tmp_path: Path, engine: str, args: dict[str, Any]) -> None:
    model = Model(path=str(tmp_path), name="on")
    manifest = exported(Form.KUBERNETES, engine=engine, args=args, study_model=model)
    name = manifest.objects[0]["metadata"]["name"]
    assert manifest.winner.image in {Sglang.image, Vllm.image}
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=manifest.text)
    try:
        pod = ready_pod(cluster, f"app.kubernetes.io/name={name}")
        argv = command_line(cluster, pod)
    finally:
        cluster.kubectl("delete", "--cascade=foreground", "--grace-period=1", "-f", "-", stdin=manifest.text)
    plan = manifest.winner.plan
    measured = [*manifest.winner.words, plan.host_flag, "0.0.0.0", plan.port_flag, "8000"]
    program = 1 if engine == "sglang" else 2  # vllm is a script, so its command line begins with the interpreter
    assert argv[program:] == measured[1:]
    assert Path(argv[program - 1]).name == measured[0]
    assert plan.argv(host="0.0.0.0", port=8000) == tuple(measured)
    assert pod["metadata"]["labels"]["autotuner/trial"] == "1"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def command_line(cluster: Any, pod: dict[str, Any]) -> list[str]:
    """Returns the command line of the pod's first process."""
    code = "import sys; sys.stdout.write(open('/proc/1/cmdline').read())"
    name = pod["metadata"]["name"]
    namespace = pod["metadata"]["namespace"]
    output: str = cluster.kubectl("exec", "-n", namespace, name, "--", "python3", "-c", code)
    return output.removesuffix("\0").split("\0")


def ready_pod(cluster: Any, selector: str, *, namespace: str = "default") -> dict[str, Any]:
    """Returns the only pod that matches the selector, once it is ready."""
    end = time.monotonic() + PATIENCE_S
    while True:
        pods = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json"))["items"]
        conditions = {c["type"]: c["status"] for pod in pods for c in pod["status"].get("conditions", ())}
        if len(pods) == 1 and conditions.get("Ready") == "True":
            return dict(pods[0])
        restarts = [c.get("restartCount", 0) for pod in pods for c in pod["status"].get("containerStatuses", ())]
        assert not any(restarts), f"not ready: {[pod['status'] for pod in pods]}"
        assert time.monotonic() < end, f"not ready: {[pod['status'] for pod in pods]}"
        time.sleep(0.2)


@pytest.mark.campaign
def test_ome_starts_the_measured_server(request: pytest.FixtureRequest) -> None:
    lab = request.getfixturevalue("lab")
    cluster = request.getfixturevalue("ome_cluster")
    stand_in = request.getfixturevalue("ome")
    args = {"json-model-override-args": '{"a": [1, "x  y"],\n "b": "$(HOME) $$"}'}
    base = cluster.kubectl("get", "clusterservingruntime", RUNTIME, "-o", "yaml")
    runtime = exported(Form.SERVING_RUNTIME, args=args, start_from=base)
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=runtime.text)
    names = {"runtime": runtime.objects[0]["metadata"]["name"], "model": MODEL, "namespace": lab.namespace}
    service = exported(Form.INFERENCE_SERVICE, args=args, name="won", **names)
    try:
        cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=service.text)
        pod = ready_pod(cluster, "ome.io/inferenceservice=won", namespace=lab.namespace)
        argv = command_line(cluster, pod)
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=service.text)
        cluster.kubectl("delete", "-f", "-", stdin=runtime.text)
    model = service.winner.model
    measured = [stand_in.settings.model_path if word == model else word for word in service.winner.words]
    assert argv == [*measured, "--host", "0.0.0.0", "--port", "8080"]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"


PODS: dict[str, Any] = {
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "image_pull_policy": "Never",
    "image_pull_secrets": ["registry"],
    "priority_class": "system-cluster-critical",
    "cpu": "100m",
    "cpu_limit": "2",
    "memory": "512Mi",
    "ephemeral_storage": "1Gi",
    "labels": {"team": "ml"},
    "annotations": {"note": "x"},
    "env_from": [{"config_map": "more"}],
    "security": "restricted",
    "security_context": {"runAsUser": 1000, "fsGroup": 1000},
    "container_security_context": {"readOnlyRootFilesystem": True},
}
PLAIN_PODS = {**PODS, "shm_size": "64Mi", "container_port": 9000}
CONTAINER: dict[str, Any] = {
    "cpus": 1.5,
    "memory": "512m",
    "shm_size": "64m",
    "user": "1000:1000",
    "pull": "never",
    "volumes": ["/data:/data", "/etc/hosts:/etc/more-hosts:ro"],
}


@pytest.mark.parametrize("form", list(OPTIONS))
@pytest.mark.parametrize(
    "deploy",
    [
        {"kind": "kubernetes", **PLAIN_PODS, "kueue_queue": "q", "model_roots": ["/models"], "cache_pvc": "hub"},
        {"kind": "kubernetes", **PLAIN_PODS, "pvc": {"claim": "models", "sub_path": "all"}},
        {"kind": "docker", **CONTAINER},
    ],
    ids=["folders", "claim", "docker"],
)
def test_pod_settings_are_valid_fields(cluster: Any, ome_crds: None, form: Form, deploy: dict[str, Any]) -> None:
    manifest = exported(form, deploy=deploy, **OPTIONS[form])
    created = dry_run(cluster, manifest.text)
    assert all(map(holds, manifest.objects, created))
    assert json.dumps(created).count("512Mi") >= 1, "the study's memory"


@pytest.fixture
def restricted(cluster: Any, tmp_path: Path) -> Iterator[str]:
    """A namespace that admits only restricted pods, with a claim that contains the model, and a ConfigMap."""
    name = f"export-{uuid4().hex[:8]}"
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "config.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "models"):
        folder.chmod(0o755)
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifests: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": enforce}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {**common, "capacity": size, "hostPath": {"path": str(tmp_path / "models")}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": name},
            "spec": {**common, "resources": {"requests": size}, "volumeName": name},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "more", "namespace": name},
            "data": {"FROM_THE_MAP": "yes"},
        },
    ]
    cluster.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, manifests)))
    yield name
    cluster.kubectl("delete", "--wait=false", "namespace", name)
    cluster.kubectl("delete", "--wait=false", "persistentvolume", name)


@pytest.mark.optional
def test_deployment_in_a_restricted_namespace(cluster: Any, restricted: str) -> None:
    needs_its_own_tmp()
    left_out = {"image_pull_secrets", "priority_class", "ephemeral_storage"}  # not available on the test node
    settings = {k: v for k, v in PLAIN_PODS.items() if k not in left_out}
    deploy = {"kind": "kubernetes", "namespace": restricted, "pvc": {"claim": "models"}, **settings}
    manifest = exported(Form.KUBERNETES, deploy=deploy, study_model=Model(path="/models/m", name="m"))
    name = manifest.objects[0]["metadata"]["name"]
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=manifest.text)
    try:
        pod = ready_pod(cluster, f"app.kubernetes.io/name={name}", namespace=restricted)
        code = "import os; print(os.getuid(), os.environ['FROM_THE_MAP'], os.access(os.environ['HOME'], os.W_OK))"
        output = cluster.kubectl("exec", "-n", restricted, pod["metadata"]["name"], "--", "python3", "-c", code)
    finally:
        cluster.kubectl("delete", "--cascade=foreground", "--grace-period=1", "-f", "-", stdin=manifest.text)
    assert output.split() == ["1000", "yes", "True"]
    container = pod["spec"]["containers"][0]
    assert container["ports"][0]["containerPort"] == 9000
    assert container["resources"]["limits"]["memory"] == "512Mi"
    assert pod["metadata"]["labels"]["team"] == "ml"
