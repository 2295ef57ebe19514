"""InferenceServices of trials: the runtime's command line with the study's flags, and what OME would ignore."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.deployers.ome.resources import OmeResource
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.deployers.ome.trial_service import ServiceLaunch, runtime_problem, unique_name
from autotuner.engines.sglang.engine import Sglang
from autotuner.engines.vllm.engine import Vllm
from autotuner.manifests.ome_command_line import RuntimeLine, RuntimeLineError
from autotuner.manifests.text import plain
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.spec import EngineSpec, Model
from support.ome_standin.rules.merging import TemplateError, component, rendered
from support.ome_standin.sample_objects import MODEL, RUNTIME, model, runtime

SGLANG = Sglang(Sglang.Settings())
PATH = "/mnt/models/sim"
LABELS = Labels(study="a study", trial=7, owner="me")


def runtime_with(**runner: Any) -> OmeResource:
    made = runtime("lmsysorg/sglang:v0.5.5")
    made["spec"]["engineConfig"]["runner"] |= runner
    made["metadata"] |= {"uid": "u", "generation": 1}
    return OmeResource(made)


def plan(tuned: dict[str, Value], fixed: dict[str, Value] | None = None) -> LaunchPlan:
    spec = EngineSpec(kind="sglang", args=fixed or {})
    return SGLANG.launch(Model(path=PATH, name=MODEL), spec, Configuration(values=tuned))


def launch(
    tuned: dict[str, Value] | None = None,
    found: OmeResource | None = None,
    fixed: dict[str, Value] | None = None,
    **deploy: Any,
) -> ServiceLaunch:
    """The launch as the deployer creates it; the plan includes the runtime's flags."""
    found = found or runtime_with()
    base = RuntimeLine.of(found.spec["engineConfig"]["runner"]).base_args(SGLANG)
    settings = OmeSettings.model_validate({"runtime": RUNTIME, **deploy})
    launch_plan = plan(tuned or {}, {**base, **(fixed or {})})
    return ServiceLaunch(
        launch_plan, settings, SGLANG, found, OmeResource(model(PATH)), unique_name(7), LABELS, replaced=frozenset(base)
    )


def argv_of(made: ServiceLaunch) -> tuple[str, ...]:
    """The command line of the server's process, in which only the model's path is a variable."""
    line = made.line()
    return tuple(plain(word.replace("$(MODEL_PATH)", PATH)) for word in (*line.command, *line.args))


def refused(cause: FailureCause, fact: str, made: ServiceLaunch) -> None:
    with pytest.raises(TrialFailedError) as caught:
        made.body()
    assert caught.value.failure.cause is cause
    assert fact in caught.value.failure.message
    assert caught.value.failure.remedy


def test_names_are_short_and_unique() -> None:
    names = {unique_name(trial) for trial in (0, 7, 12345, 123456789) for _ in range(50)}
    assert len(names) == 200
    assert all(len(name) <= 20 and name.startswith("at-") and name == name.lower() for name in names)


def test_default_keeps_the_runtimes_command_line() -> None:
    """Program, model and address stay in place, and all flags keep their values."""
    own = runtime_with().spec["engineConfig"]["runner"]["command"]
    argv = argv_of(launch())
    assert argv[:3] == ("python3", "-m", "sglang.launch_server")
    for name in ("host", "port", "enable-metrics", "tp-size", "mem-fraction-static", "served-model-name"):
        assert SGLANG.flag_value(argv, name) == SGLANG.flag_value(own, name)
    assert SGLANG.flag_value(argv, "model-path") == PATH


def test_tuned_values_replace_the_runtimes_flags_in_any_spelling() -> None:
    made = launch({"mem-fraction-static": 0.8, "tp-size": 2, "enable-metrics": False, "schedule-policy": None})
    line = made.line()
    words = [*line.command, *line.args]
    assert "--mem-frac" not in words
    assert "--enable-metrics" not in words
    assert words.count("--tp-size") == 1
    assert words[words.index("--tp-size") + 1] == "2"
    assert words[words.index("--mem-fraction-static") + 1] == "0.8"
    assert words[words.index("--model-path") + 1] == "$(MODEL_PATH)"
    assert made.resources()["requests"]["nvidia.com/gpu"] == "2" == made.resources()["limits"]["nvidia.com/gpu"]


def test_runtime_with_its_flags_in_args() -> None:
    args = ["--host=0.0.0.0", "--port=8081", "--model-path=/elsewhere", "--tp-size=1", "--odd", "x"]
    found = runtime_with(command=["python3", "-m", "sglang.launch_server"], args=args)
    made = launch({"tp-size": 2}, found)
    line = made.line()
    assert line.command == ("python3", "-m", "sglang.launch_server")
    assert {"--host=0.0.0.0", "--port=8081", "--model-path=/elsewhere", "--odd", "x"} <= set(line.args)
    assert "--tp-size=1" not in line.args
    base = RuntimeLine.of(found.spec["engineConfig"]["runner"]).base_args(SGLANG)
    assert base == {"tp-size": 1}, "flags that the engine does not know are not part of the study"
    assert made.port == 8081
    assert made.body()["spec"]["engine"]["runner"]["readinessProbe"]["httpGet"]["port"] == 8081


@given(st.text().filter(lambda text: "{{" not in text and not text.startswith("-") and "\0" not in text))
def test_values_pass_omes_templates_and_merging_unchanged(text: str) -> None:
    made = launch(fixed={"chat-template": text, "tp-size": 1})
    service = {"metadata": {"name": "x", "namespace": "n"}, "spec": made.body()["spec"]}
    merged = component(made.runtime.body, service, "engine")
    assert merged is not None
    container = rendered(merged["runner"], service["metadata"])
    words = [*container["command"], *container["args"]]
    assert words[words.index("--chat-template") + 1].replace("$$", "$") == text
    argv = argv_of(made)
    assert argv[argv.index("--chat-template") + 1] == text


def test_values_that_ome_reads_as_templates_are_rejected() -> None:
    made = launch(fixed={"chat-template": "{{ messages }}"})
    with pytest.raises(TemplateError):
        rendered({"args": list(made.line().args), "command": list(made.line().command)}, {"name": "x"})
    refused(FailureCause.INVALID_VALUE, "{{", made)


@pytest.mark.parametrize(
    ("runner", "fact"),
    [
        ({"name": ""}, "ome-container"),
        ({"command": ["sh", "-c", "python3 -m sglang.launch_server"]}, "shell (sh)"),
        ({"command": [], "args": []}, "command nor args"),
        ({"command": ["python3", "-m", "sglang.launch_server", "--disaggregation-mode", "x"]}, "--disaggregation-mode"),
        ({"command": ["vllm", "serve"], "image": "vllm/vllm-openai:v0.9"}, "vllm serve"),
    ],
)
def test_runtimes_that_cannot_be_tuned(runner: dict[str, Any], fact: str) -> None:
    problem = runtime_problem(runtime_with(**runner), SGLANG, "nvidia.com/gpu")
    assert problem is not None
    assert fact in problem[0]
    assert problem[1]


def test_runtimes_with_several_nodes_or_a_decoder_are_rejected() -> None:
    for part in ("leader", "worker"):
        made = runtime("sglang")
        made["spec"]["engineConfig"][part] = {"runner": {"name": "ome-container"}}
        assert part in (runtime_problem(OmeResource(made), SGLANG, "nvidia.com/gpu") or ("",))[0]
    made = runtime("sglang", decoderConfig={"runner": {"name": "ome-container"}})
    assert "decoderConfig" in (runtime_problem(OmeResource(made), SGLANG, "nvidia.com/gpu") or ("",))[0]


def test_flag_that_the_runtime_sets_twice_is_rejected() -> None:
    command = [*runtime_with().spec["engineConfig"]["runner"]["command"], "--tp-size", "4"]
    made = launch({"tp-size": 2}, runtime_with(command=command))
    refused(FailureCause.NOT_ACCEPTED, " tp-size ", made)


def test_flags_with_several_values_are_replaced_whole() -> None:
    command = [*runtime_with().spec["engineConfig"]["runner"]["command"], "--cuda-graph-bs", "1", "2", "4"]
    found = runtime_with(command=command)
    line = launch({"tp-size": 2}, found).line()
    words = " ".join((*line.command, *line.args))
    assert "--cuda-graph-bs-decode 1 2 4" in words, "the runtime's value, since it is not tuned"
    line = launch({"cuda-graph-bs-decode": (8, 16)}, found).line()
    words = " ".join((*line.command, *line.args))
    assert "--cuda-graph-bs-decode 8 16" in words
    assert "1 2 4" not in words
    twice = RuntimeLine.of({"command": [*command, "--cuda-graph-bs", "8"]})
    with pytest.raises(RuntimeLineError) as refused:
        twice.with_flags(SGLANG, {"cuda-graph-bs-decode": (8, 16)})
    assert "cuda-graph-bs-decode" in str(refused.value)


def test_variables_are_kept() -> None:
    command = [*runtime_with().spec["engineConfig"]["runner"]["command"], "--chat-template", "$(MODEL_PATH)/chat.jinja"]
    line = launch(found=runtime_with(command=command)).line()
    assert "$(MODEL_PATH)/chat.jinja" in (*line.command, *line.args)


def test_other_fields_of_the_service() -> None:
    made = launch(
        cpu="8",
        memory="64Gi",
        stop_grace="3s",
        kueue_queue="q",
        labels={"team": "a"},
        image_tag="v9",
        tolerations=[{"key": "own", "operator": "Exists"}],
        node_selector={"zone": "a"},
    )
    body = made.body()
    engine = body["spec"]["engine"]
    runner = engine["runner"]
    assert body["metadata"]["annotations"]["ome.io/autoscalerClass"] == "external"
    assert body["metadata"]["annotations"]["autotuner/study"] == "a study"
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "q"
    assert body["spec"]["model"] == {"name": MODEL, "kind": "ClusterBaseModel"}
    assert body["spec"]["runtime"] == {"name": RUNTIME, "kind": "ClusterServingRuntime"}
    assert (engine["minReplicas"], engine["maxReplicas"], engine["deploymentStrategy"]) == (1, 1, {"type": "Recreate"})
    assert engine["terminationGracePeriodSeconds"] == 3
    assert [t["key"] for t in engine["tolerations"]] == ["nvidia.com/gpu", "own"]
    assert runner["image"] == "lmsysorg/sglang:v9"
    assert runner["resources"]["requests"] | {"cpu": "8", "memory": "64Gi"} == runner["resources"]["requests"]
    assert runner["resources"]["limits"]["cpu"] == "8", "no pod could be created with a limit below the request"
    assert runner["readinessProbe"]["periodSeconds"] == 1
    assert runner["readinessProbe"]["httpGet"]["path"] == "/health"
    assert runner["startupProbe"]["failureThreshold"] > 1200


def test_probe_without_http_keeps_its_method() -> None:
    made = launch(found=runtime_with(readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 60}))
    probe = made.body()["spec"]["engine"]["runner"]["readinessProbe"]
    assert "httpGet" not in probe
    assert probe["periodSeconds"] == 1


def test_runtime_of_another_engine() -> None:
    problem = runtime_problem(runtime_with(), Vllm(Vllm.Settings()), "nvidia.com/gpu")
    assert problem is not None
    assert [fact for fact in (RUNTIME, "python3 -m sglang.launch_server") if fact not in problem[0]] == []
    assert "vllm" in problem[1]
