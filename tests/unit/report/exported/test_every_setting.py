"""Every setting of every deployer is carried into an export as launched, noted in it, or not applicable."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel

from autotuner.deployers.docker.container_spec import ContainerSpec
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.kubernetes.trial_objects import ServerJob
from autotuner.deployers.ome.resources import OmeResource
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.deployers.ome.trial_service import ServiceLaunch
from autotuner.engines.sglang.engine import Sglang
from autotuner.manifests.source_platform import ExportSource
from autotuner.manifests.volume import model_volumes
from autotuner.plugins import loading
from autotuner.report.exported.options import Form, parse_options
from autotuner.report.exported.render import Manifest, manifest_of
from autotuner.report.exported.winner import Winner, winner_of
from autotuner.report.result import study_result
from autotuner.study.configuration import Configuration
from autotuner.study.launch import Gpu, Labels, LaunchPlan
from autotuner.study.spec import EngineSpec, Model, PluginSpec
from autotuner.testing.samples import sample_spec
from autotuner.testing.study_maker import winning_sample
from support.compose_files import compose_problems
from support.ome_standin.sample_objects import model as ome_model
from support.ome_standin.sample_objects import runtime as ome_runtime

K8S = Form.KUBERNETES
SERVICE = Form.INFERENCE_SERVICE
RUNTIME = Form.SERVING_RUNTIME
COMPOSE = Form.COMPOSE
CARRIED = "carried"
NOTED = "noted"
"""In the head of the file; everything else is a reason why the setting does not belong in a form."""
ENGINE = Sglang(Sglang.Settings())
LABELS = Labels(study="s", trial=1, owner="o")
LOCAL = "/models/chat-8b"
HUB = "Qwen/Qwen3-8B"
TUNED = {"tp-size": 2}

TUNER = "how the tuner reaches and waits for the platform"
TRIAL = "of a trial alone"
LOAD = "of the load generator"
COUNT = "an export requests as many GPUs as the trial had"
ELSEWHERE = "the file does not name a namespace"
PORT = "OME's Service leads to a port of its own"
MACHINE = "says which files of the tuner's machine are mounted, and those are exported"


@dataclass(frozen=True)
class Setting:
    """A value to set, and what becomes of it by form."""

    value: Any
    becomes: Mapping[Form, str]
    beside: Mapping[str, Any]
    """Settings that are set with and without it."""
    model: str = LOCAL


def everywhere(value: Any, what: str, *, beside: Any = None, model: str = LOCAL, **by_form: str) -> Setting:
    """The same in all forms but those that are named."""
    forms = {Form(name.replace("_", "-")): kind for name, kind in by_form.items()}
    return Setting(value, {**dict.fromkeys(Form, what), **forms}, beside or {}, model)


EXISTS = {"key": "dedicated", "operator": "Exists"}
POD: dict[str, Setting] = {
    "image": everywhere("registry.example/engine:9", CARRIED),
    "cpu": everywhere("4", CARRIED, compose=NOTED),
    "cpu_limit": everywhere("8", CARRIED),
    "memory": everywhere("3Gi", CARRIED),
    "ephemeral_storage": everywhere("2Gi", CARRIED, compose=NOTED),
    "gpu_resource": everywhere("amd.com/gpu", CARRIED, compose=NOTED),
    "node_selector": everywhere({"disktype": "nvme"}, CARRIED, compose=NOTED),
    "tolerations": everywhere([EXISTS], CARRIED, compose=NOTED),
    "image_pull_policy": everywhere("Always", CARRIED),
    "image_pull_secrets": everywhere(["registry"], CARRIED, compose=NOTED),
    "service_account": everywhere("sa", CARRIED, compose=NOTED),
    "priority_class": everywhere("high", CARRIED, compose=NOTED),
    "runtime_class": everywhere("nvidia", CARRIED, compose=NOTED),
    "labels": everywhere({"team": "ml"}, CARRIED),
    "annotations": everywhere({"note": "x"}, CARRIED, compose=NOTED),
    "env_from": everywhere([{"secret": "keys"}], CARRIED, compose=NOTED),
    "security": everywhere("restricted", CARRIED),
    "security_context": everywhere({"runAsUser": 1000, "fsGroup": 2000}, CARRIED),
    "container_security_context": everywhere({"readOnlyRootFilesystem": True}, CARRIED),
    "kueue_queue": everywhere("q", CARRIED, compose=NOTED, serving_runtime=NOTED),
    "namespace": everywhere("serving", CARRIED, compose=ELSEWHERE, serving_runtime="a runtime may be the cluster's"),
    "gpus": everywhere(4, COUNT),
    "stop_grace": everywhere("2s", TRIAL),
    "start_timeout": everywhere("2m", TRIAL),
    "schedule_timeout": everywhere("2m", TUNER),
    "pull_timeout": everywhere("2m", TUNER),
    "queue_timeout": everywhere("2m", TUNER),
    "api_patience": everywhere("2m", TUNER),
    "kubeconfig": everywhere("/k", TUNER),
    "context": everywhere("c", TUNER),
    "load": everywhere("port-forward", LOAD),
    "url_template": everywhere("http://{ip}", LOAD, beside={"load": "direct"}),
    "loadgen_image": everywhere("i:1", LOAD),
    "loadgen_python": everywhere("python", LOAD),
    "loadgen_cpu": everywhere("2", LOAD),
    "loadgen_cpu_limit": everywhere("2", LOAD),
    "loadgen_memory": everywhere("2Gi", LOAD),
    "loadgen_ephemeral_storage": everywhere("2Gi", LOAD),
    "loadgen_node_selector": everywhere({"a": "b"}, LOAD),
    "loadgen_tolerations": everywhere([EXISTS], LOAD),
    "loadgen_labels": everywhere({"a": "b"}, LOAD),
    "loadgen_annotations": everywhere({"a": "b"}, LOAD),
    "loadgen_service_account": everywhere("sa", LOAD),
    "loadgen_priority_class": everywhere("p", LOAD),
    "loadgen_security_context": everywhere({"runAsUser": 1}, LOAD),
    "loadgen_container_security_context": everywhere({"runAsUser": 1}, LOAD),
}
OF_A_MODEL = {"inference_service": NOTED, "serving_runtime": NOTED}
CLAIM = {"claim": "models", "sub_path": "llama"}
SETTINGS: dict[type[BaseModel], dict[str, Setting]] = {
    KubernetesSettings: {
        **POD,
        "image_tag": everywhere("v9", CARRIED),
        "shm_size": everywhere("32Gi", CARRIED, inference_service=NOTED),
        "container_port": everywhere(9000, CARRIED, inference_service=PORT, serving_runtime=PORT),
        "model_roots": everywhere(["/models"], CARRIED, **OF_A_MODEL),
        "pvc": everywhere(CLAIM, CARRIED, compose=NOTED, **OF_A_MODEL),
        "cache_pvc": everywhere("hub", CARRIED, model=HUB, compose=NOTED, **OF_A_MODEL),
        "hub_token_secret": everywhere({"name": "hf"}, CARRIED, model=HUB, compose=NOTED, **OF_A_MODEL),
    },
    OmeSettings: {
        **POD,
        "cpu": everywhere("500m", CARRIED, compose=NOTED),
        "image_tag": everywhere("v9", CARRIED, beside={"image": "registry.example/engine"}),
        "runtime": everywhere("srt-other", NOTED, inference_service=CARRIED),
        "accept_timeout": everywhere("2m", TUNER),
        "ome_namespace": everywhere("x", TUNER),
    },
    DockerSettings: {
        "image": everywhere("registry.example/engine:9", CARRIED),
        "image_tag": everywhere("v9", CARRIED),
        "entrypoint": everywhere("image", CARRIED, **OF_A_MODEL),
        "pull": everywhere("always", CARRIED),
        "shm_size": everywhere("8g", CARRIED, inference_service=NOTED),
        "ipc": everywhere("host", NOTED, compose=CARRIED),
        "ulimits": everywhere({"nofile": "1024:2048"}, NOTED, compose=CARRIED),
        "network": everywhere("mine", NOTED),
        "volumes": everywhere(["/data:/data:ro"], CARRIED, **OF_A_MODEL),
        "devices": everywhere(["/dev/infiniband"], NOTED, compose=CARRIED),
        "cpus": everywhere(7.5, CARRIED),
        "memory": everywhere("32g", CARRIED),
        "user": everywhere("1000:2000", CARRIED),
        "env_passthrough": everywhere(["ON_THE_TUNER"], NOTED, compose=CARRIED),
        "gpu_driver": everywhere("cdi", NOTED),
        "runtime": everywhere("runc", NOTED, compose=CARRIED),
        "init": everywhere(False, NOTED, compose=CARRIED),
        "container_port": everywhere(9000, CARRIED, inference_service=PORT, serving_runtime=PORT),
        "model_roots": everywhere(["/models", "/more"], MACHINE),
        "hub_cache": everywhere("/cache", "a cluster has a cache of its own", model=HUB, compose=CARRIED),
        "gpu_ids": everywhere(["1", "0"], COUNT),
        "ports": everywhere([1000, 2000], TUNER),
        "start_timeout": everywhere("2m", TRIAL),
        "stop_grace": everywhere("2s", TRIAL),
        "engine_patience": everywhere("2m", TUNER),
        "docker_host": everywhere("tcp://127.0.0.1:1", TUNER),
        "check_flags": everywhere(True, TUNER),
    },
}
KINDS = {KubernetesSettings: "kubernetes", OmeSettings: "ome", DockerSettings: "docker"}
BASE: dict[type[BaseModel], dict[str, Any]] = {
    KubernetesSettings: {},
    OmeSettings: {"runtime": "srt-sim-model"},
    DockerSettings: {},
}
OPTIONS: dict[Form, dict[str, Any]] = {
    K8S: {},
    COMPOSE: {},
    SERVICE: {"runtime": "srt-typed", "model": "llama"},
    RUNTIME: {
        "model_format": "safetensors:1.0.0",
        "model_framework": "transformers:4.51.0",
        "architecture": "LlamaForCausalLM",
        "size_range": "0.5B-8B",
        "image": None,
    },
}


def test_every_setting_of_every_deployer_is_classified() -> None:
    found = {cls.Settings for cls in loading.available("deployers").values()}
    assert {settings for settings in found if issubclass(settings, ExportSource)} == set(SETTINGS)
    for settings, classified in SETTINGS.items():
        assert set(classified) == set(settings.model_fields), settings.__name__


def flat(thing: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Values by path; lists of named things by name."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from flat(value, f"{path}/{key}")
    elif isinstance(thing, list) and thing and all(isinstance(one, dict) and "name" in one for one in thing):
        for one in thing:
            yield from flat(one, f"{path}/{one['name']}")
    else:
        yield path, thing


RUNTIMES_OWN = dict(flat({"engine": ome_runtime("lmsysorg/sglang:v1")["spec"]["engineConfig"]}))
"""What an InferenceService takes from its runtime where the study says nothing."""
CASES = [
    pytest.param(settings, name, form, id=f"{KINDS[settings]}-{name}-{form}")
    for settings, classified in SETTINGS.items()
    for name in classified
    for form in Form
]


def values_of(settings: type[BaseModel], name: str, *, set_: bool) -> dict[str, Any]:
    """A ``deploy`` section with or without a setting."""
    setting = SETTINGS[settings][name]
    return {**BASE[settings], **setting.beside, **({name: setting.value} if set_ else {})}


def plan_of(model: str) -> LaunchPlan:
    return ENGINE.launch(Model(path=model), EngineSpec(kind="sglang"), Configuration(values=TUNED))


def in_docker(settings: DockerSettings, plan: LaunchPlan) -> ContainerSpec:
    return ContainerSpec(
        plan=plan.in_container(),
        settings=settings,
        image=settings.image_name(plan.image) or "",
        argv=plan.in_container().argv(host="0.0.0.0", port=settings.container_port),
        name="n",
        labels=LABELS,
        gpus=(Gpu(index=0, uuid="GPU-a"), Gpu(index=1, uuid="GPU-b")),
        entrypoint=("python3", "-m") if settings.entrypoint == "image" else None,
        model_files=tuple(model_volumes(plan.needs_files)),
    )


def launched(settings: type[BaseModel], values: dict[str, Any], model: str) -> dict[str, Any]:
    """What the deployer sends."""
    plan = plan_of(model)
    found = settings.model_validate(values)
    if isinstance(found, KubernetesSettings):
        return ServerJob(plan, found, found.image_name(plan.image) or "", "n", LABELS).job()
    if isinstance(found, OmeSettings):
        kept = OmeResource(ome_runtime("lmsysorg/sglang:v1", name=str(found.runtime)))
        kept.body["metadata"] |= {"uid": "u", "generation": 1}
        return ServiceLaunch(plan, found, ENGINE, kept, OmeResource(ome_model(LOCAL)), "n", LABELS).body()
    assert isinstance(found, DockerSettings)
    return in_docker(found, plan).config()


@cache
def won(settings: type[BaseModel], values: str, model: str) -> Winner:
    """The winner of a study with these settings, given as JSON."""
    plan = plan_of(model)
    deploy = PluginSpec.model_validate({"kind": KINDS[settings], **json.loads(values)})
    deployer = loading.deployer(deploy)
    changes = {"model": Model(path=model), "engine": EngineSpec(kind="sglang"), "deploy": deploy}
    spec = sample_spec("every", slos=()).model_copy(update=changes)
    trial: dict[str, Any] = {"argv": plan.argv(host="0.0.0.0", port=8080)}
    if isinstance(deployer.settings, DockerSettings):
        trial["command"] = in_docker(deployer.settings, plan).command()
    sample = winning_sample(spec, TUNED, gpus=2, **trial)
    result = study_result(sample.spec, sample.state, sample.trials)
    return winner_of(result, spec.model, image_of=deployer.image, settings=deployer.settings)


def exported(settings: type[BaseModel], values: dict[str, Any], model: str, form: Form) -> Manifest:
    """What ``autotuner best`` writes."""
    winner = won(settings, json.dumps(values), model)
    options = {"model": "llama"} if settings is OmeSettings and form is SERVICE else OPTIONS[form]
    found = manifest_of(winner, form, parse_options(form, options))
    assert form is not COMPOSE or compose_problems(found.text) == []
    return found


def server_in(thing: dict[str, Any]) -> dict[str, Any]:
    """The parts of a Job, a Deployment or an InferenceService that decide how its server runs, by path."""
    metadata = {key: thing["metadata"].get(key) for key in ("labels", "annotations")}
    if thing["kind"] == "InferenceService":
        return dict(flat({**metadata, **thing["spec"]}))
    template = thing["spec"]["template"]
    (container,) = template["spec"]["containers"]
    words = [*container.get("command", ()), *container["args"]]
    rest = {key: value for key, value in container.items() if key not in {"command", "args"}}
    pod = {**template["spec"], "containers": [{**rest, "words": words}]}
    return dict(flat({**metadata, "template": template["metadata"], "pod": pod}))


@pytest.mark.parametrize(("settings", "name", "form"), CASES)
def test_setting_is_exported_as_classified(
    settings: type[BaseModel], name: str, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ON_THE_TUNER", "secret")
    setting = SETTINGS[settings][name]
    with_it, without = (
        exported(settings, values_of(settings, name, set_=set_), setting.model, form) for set_ in (True, False)
    )
    new_notes = [note for note in with_it.notes if note not in without.notes]
    what = setting.becomes[form]
    if what == CARRIED:
        assert with_it.objects != without.objects
        assert not any(f"deploy.{name}" in note for note in with_it.notes)
        return
    assert with_it.objects == without.objects, what
    assert any(f"deploy.{name}" in note for note in new_notes) == (what == NOTED), new_notes


@pytest.mark.parametrize(
    ("settings", "form", "name"),
    [
        pytest.param(settings, form, name, id=f"{KINDS[settings]}-{name}")
        for settings, form in ((KubernetesSettings, K8S), (OmeSettings, SERVICE))
        for name, setting in SETTINGS[settings].items()
        if setting.becomes[form] == CARRIED and name not in {"namespace", "runtime"}
    ],
)
def test_what_was_launched_is_exported(settings: type[BaseModel], form: Form, name: str) -> None:
    """Whatever a setting changes in the launched object, it changes to the same in the exported one."""
    setting = SETTINGS[settings][name]
    set_, unset = (values_of(settings, name, set_=flag) for flag in (True, False))
    before = server_in(launched(settings, unset, setting.model))
    after = server_in(launched(settings, set_, setting.model))
    found = server_in(exported(settings, set_, setting.model, form).objects[0])
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    of_runtime = RUNTIMES_OWN if settings is OmeSettings else {}
    changed = [path for path in changed if path not in of_runtime or after[path] != of_runtime[path]]
    assert changed
    for path in changed:
        if path.endswith("/tolerations"):
            assert [one for one in after[path] if one in found[path]] == found[path]
        else:
            assert found.get(path) == after.get(path), path


@pytest.mark.parametrize("name", [n for n, s in SETTINGS[DockerSettings].items() if s.becomes[COMPOSE] == CARRIED])
def test_compose_settings_were_launched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ON_THE_TUNER", "secret")
    setting = SETTINGS[DockerSettings][name]
    after, before = (
        launched(DockerSettings, values_of(DockerSettings, name, set_=flag), setting.model) for flag in (True, False)
    )
    assert (after != before) == (name != "pull"), "the deployer pulls before it makes the container"
