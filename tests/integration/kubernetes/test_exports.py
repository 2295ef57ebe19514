"""What the winner is written as, in front of a real API server: strict about fields, and started for real."""

import json
import time
from collections.abc import Callable, Iterator
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
from support.ome_standin.furniture import MODEL, RUNTIME

pytestmark = pytest.mark.cluster

Make = Callable[..., Manifest]

PATIENCE_S = 90.0
NASTY = (
    "on", "No", "true", "null", "~", "", "1", "0.9", "1e3", "0x1F", "1_000", ".inf", "12:30", "2024-01-01", "=", "<<",
    "a: b", "# x", "- x", "---", "two words", '{"a": [1, "x y"]}', "it's", 'say "hi"', "a\nb\n", "\ta", "ünï", "$HOME",
    "$$", "$(HOME)", "$$(HOME)", "\\n", "{{ x }}",
)  # fmt: skip
HARMLESS = tuple(text for text in NASTY if "{{" not in text)
"""What OME takes as it is."""
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
    of: Model | None = None,
    deploy: dict[str, Any] | None = None,
    **options: Any,
) -> Manifest:
    """Of a study on two GPUs."""
    tp = {"sglang": "tp-size", "vllm": "tensor-parallel-size"}[engine]
    spec = sample_spec(f"export-{uuid4().hex[:8]}", slos=()).model_copy(
        update={
            "model": of or Model(path="/models/chat-8b"),
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


def answered(cluster: Any, text: str) -> list[dict[str, Any]]:
    """What the API server makes of a file, as kubectl reads and sends it; nothing is kept."""
    said = cluster.kubectl("create", "--validate=strict", "--dry-run=server", "-o", "json", "-f", "-", stdin=text)
    found = list[dict[str, Any]]()
    decoder = json.JSONDecoder()
    while said := said.strip():
        thing, end = decoder.raw_decode(said)
        found.append(thing)
        said = said[end:]
    return found


@pytest.fixture(scope="module")
def kinds_of_ome(cluster: Any) -> Iterator[None]:
    """OME's kinds, without OME."""
    kinds = crds()
    names = [kind["metadata"]["name"] for kind in kinds]
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin="\n---\n".join(map(json.dumps, kinds)))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{name}" for name in names))
    yield
    cluster.kubectl("delete", "crd", *names)


def holds(part: Any, whole: Any) -> bool:
    """Whether everything written is in the answer, which has defaults too; numbers of quantities may be texts."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and holds(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(holds, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_kubernetes_takes_every_word_as_it_was_meant(cluster: Any, engine: str) -> None:
    args = {f"note-{number}": text for number, text in enumerate(NASTY)}
    for options in (
        OPTIONS[Form.KUBERNETES],
        {"pvc": "models:chat/8b", "port": 9000, "image": "registry.example/x:1"},
    ):
        found = exported(Form.KUBERNETES, engine=engine, args=args, **options)
        told = answered(cluster, found.text)
        assert [thing["kind"] for thing in told] == ["Deployment", "Service"]
        assert all(map(holds, found.objects, told))
    hub = exported(Form.KUBERNETES, of=Model(path="Qwen/Qwen3-8B"), cache_pvc="hub", **OPTIONS[Form.KUBERNETES])
    assert all(map(holds, hub.objects, answered(cluster, hub.text)))


@pytest.mark.parametrize("form", [Form.INFERENCE_SERVICE, Form.SERVING_RUNTIME])
def test_ome_knows_every_field(cluster: Any, kinds_of_ome: None, form: Form) -> None:
    args = {f"note-{number}": text for number, text in enumerate(HARMLESS)}
    found = exported(form, args=args, **OPTIONS[form])
    assert all(map(holds, found.objects, answered(cluster, found.text)))
    of_namespace = exported(form, args=args, namespace="default", name="mine", **OPTIONS[form])
    assert answered(cluster, of_namespace.text)[0]["metadata"]["namespace"] == "default"


def test_a_runtime_from_the_cluster_can_be_started_from(cluster: Any, kinds_of_ome: None) -> None:
    first = exported(Form.SERVING_RUNTIME, name="base", **OPTIONS[Form.SERVING_RUNTIME])
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=first.text)
    kept = cluster.kubectl("get", "clusterservingruntime", "base", "-o", "yaml")
    found = exported(Form.SERVING_RUNTIME, start_from=kept, args={"chunked-prefill-size": 4096})
    (told,) = answered(cluster, found.text)
    cluster.kubectl("delete", "clusterservingruntime", "base")
    assert holds(found.objects[0], told)
    assert told["metadata"]["name"] == "base-tuned"
    command = told["spec"]["engineConfig"]["runner"]["command"]
    assert command[:5] == ["python3", "-m", "sglang.launch_server", "--model-path", "$(MODEL_PATH)"]
    assert command[-4:] == ["--chunked-prefill-size", "4096", "--tp-size", "2"]


def test_strict_means_strict(cluster: Any, kinds_of_ome: None) -> None:
    for form, old, new in (
        (Form.KUBERNETES, "readinessProbe:", "readynessProbe:"),
        (Form.INFERENCE_SERVICE, "    minReplicas:", "    leastReplicas:"),
    ):
        text = exported(form, **OPTIONS[form]).text
        assert old in text
        with pytest.raises(RuntimeError, match="unknown field"):
            answered(cluster, text.replace(old, new))


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
def test_a_deployment_starts_what_was_measured(cluster: Any, tmp_path: Path, engine: str, args: dict[str, Any]) -> None:
    model = Model(path=str(tmp_path), name="on")
    found = exported(Form.KUBERNETES, engine=engine, args=args, of=model)
    name = found.objects[0]["metadata"]["name"]
    assert found.winner.image in {Sglang.image, Vllm.image}
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=found.text)
    try:
        pod = ready(cluster, f"app.kubernetes.io/name={name}")
        words = words_of(cluster, pod)
    finally:
        cluster.kubectl("delete", "--cascade=foreground", "--grace-period=1", "-f", "-", stdin=found.text)
    plan = found.winner.plan
    measured = [*found.winner.words, plan.host_flag, "0.0.0.0", plan.port_flag, "8000"]
    program = 1 if engine == "sglang" else 2  # vllm is a script, which its interpreter is put before
    assert words[program:] == measured[1:]
    assert Path(words[program - 1]).name == measured[0]
    assert plan.argv(host="0.0.0.0", port=8000) == tuple(measured)
    assert pod["metadata"]["labels"]["autotuner/trial"] == "1"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def words_of(cluster: Any, pod: dict[str, Any]) -> list[str]:
    """The command line of the pod's first process, as it has it."""
    asked = "import sys; sys.stdout.write(open('/proc/1/cmdline').read())"
    name = pod["metadata"]["name"]
    namespace = pod["metadata"]["namespace"]
    said: str = cluster.kubectl("exec", "-n", namespace, name, "--", "python3", "-c", asked)
    return said.removesuffix("\0").split("\0")


def ready(cluster: Any, selector: str, *, namespace: str = "default") -> dict[str, Any]:
    """The one pod that is found so, once it is ready."""
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
def test_ome_builds_what_was_measured(request: pytest.FixtureRequest) -> None:
    lab = request.getfixturevalue("lab")
    cluster = request.getfixturevalue("ome_cluster")
    stand_in = request.getfixturevalue("ome")
    args = {"json-model-override-args": '{"a": [1, "x  y"],\n "b": "$(HOME) $$"}'}
    kept = cluster.kubectl("get", "clusterservingruntime", RUNTIME, "-o", "yaml")
    runtime = exported(Form.SERVING_RUNTIME, args=args, start_from=kept)
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=runtime.text)
    names = {"runtime": runtime.objects[0]["metadata"]["name"], "model": MODEL, "namespace": lab.namespace}
    found = exported(Form.INFERENCE_SERVICE, args=args, name="won", **names)
    try:
        cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=found.text)
        pod = ready(cluster, "ome.io/inferenceservice=won", namespace=lab.namespace)
        words = words_of(cluster, pod)
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=found.text)
        cluster.kubectl("delete", "-f", "-", stdin=runtime.text)
    model = found.winner.model
    measured = [stand_in.settings.model_path if word == model else word for word in found.winner.words]
    assert words == [*measured, "--host", "0.0.0.0", "--port", "8080"]
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
def test_settings_of_pods_are_fields_that_the_api_server_knows(
    cluster: Any, kinds_of_ome: None, form: Form, deploy: dict[str, Any]
) -> None:
    found = exported(form, deploy=deploy, **OPTIONS[form])
    told = answered(cluster, found.text)
    assert all(map(holds, found.objects, told))
    assert json.dumps(told).count("512Mi") >= 1, "the study's memory"


@pytest.fixture
def restricted(cluster: Any, tmp_path: Path) -> Iterator[str]:
    """A namespace that takes restricted pods only, with a claim that holds the model and a ConfigMap."""
    name = f"export-{uuid4().hex[:8]}"
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "config.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "models"):
        folder.chmod(0o755)
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    things: list[dict[str, Any]] = [
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
    cluster.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, things)))
    yield name
    cluster.kubectl("delete", "--wait=false", "namespace", name)
    cluster.kubectl("delete", "--wait=false", "persistentvolume", name)


@pytest.mark.optional
def test_a_deployment_runs_under_the_rules_that_the_study_ran_under(cluster: Any, restricted: str) -> None:
    needs_its_own_tmp()
    left_out = {"image_pull_secrets", "priority_class", "ephemeral_storage"}  # what the test's node has none of
    settings = {k: v for k, v in PLAIN_PODS.items() if k not in left_out}
    deploy = {"kind": "kubernetes", "namespace": restricted, "pvc": {"claim": "models"}, **settings}
    found = exported(Form.KUBERNETES, deploy=deploy, of=Model(path="/models/m", name="m"))
    name = found.objects[0]["metadata"]["name"]
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=found.text)
    try:
        pod = ready(cluster, f"app.kubernetes.io/name={name}", namespace=restricted)
        asked = "import os; print(os.getuid(), os.environ['FROM_THE_MAP'], os.access(os.environ['HOME'], os.W_OK))"
        said = cluster.kubectl("exec", "-n", restricted, pod["metadata"]["name"], "--", "python3", "-c", asked)
    finally:
        cluster.kubectl("delete", "--cascade=foreground", "--grace-period=1", "-f", "-", stdin=found.text)
    assert said.split() == ["1000", "yes", "True"]
    container = pod["spec"]["containers"][0]
    assert container["ports"][0]["containerPort"] == 9000
    assert container["resources"]["limits"]["memory"] == "512Mi"
    assert pod["metadata"]["labels"]["team"] == "ml"
