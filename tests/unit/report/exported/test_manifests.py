"""Manifests of the winner: valid YAML that starts exactly what was measured and contains no secret."""

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from syrupy.assertion import SnapshotAssertion

from autotuner.errors import UsageError
from autotuner.manifests.labels import label_value
from autotuner.report.exported.options import Form, check_name, name_of, parse_options
from autotuner.report.exported.render import Manifest
from autotuner.report.exported.winner import PlanDiffersError
from autotuner.report.result import StudyResult
from autotuner.study.launch import without_flags
from autotuner.testing.samples import SampleKind

Sampled = Callable[[str], StudyResult]
Won = Callable[..., StudyResult]
Make = Callable[..., Manifest]

TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))
SECRET = "hunter2-hunter2"


def loaded(text: str, version: tuple[int, int] = (1, 2)) -> list[Any]:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return list(yaml.load_all(text))


def undollared(words: list[str]) -> list[str]:
    """What Kubernetes, or Compose, makes of arguments in which every dollar was doubled."""
    return [word.replace("$$", "$") for word in words]


def words_of(found: Manifest) -> list[str]:
    """The command line that the manifest starts, as the process gets it."""
    if found.form is Form.KUBERNETES:
        (container,) = found.objects[0]["spec"]["template"]["spec"]["containers"]
        return undollared([*container["command"], *container["args"]])
    if found.form is Form.COMPOSE:
        (service,) = found.objects[0]["services"].values()
        return undollared([*service["entrypoint"], *service["command"]])
    spec = found.objects[0]["spec"]
    runner = spec["engine" if found.form is Form.INFERENCE_SERVICE else "engineConfig"]["runner"]
    return undollared([*runner["command"], *runner.get("args", ())])


def winner_argv(result: StudyResult) -> tuple[str, ...]:
    assert result.winner is not None
    return result.winner.argv


def measured(result: StudyResult, *, model: str | None = None) -> list[str]:
    """The winner's command line as measured, without the address; ``model`` in place of the model's path."""
    words = without_flags(winner_argv(result), ("--host", "--port"))
    return [model if model is not None and word == result.spec.model.path else word for word in words]


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("kind", SampleKind)
def test_every_sample(sampled: Sampled, kind: SampleKind, form: Form, manifest: Make) -> None:
    result = sampled(kind.value)
    if result.winner is None:
        with pytest.raises(UsageError) as refused:
            manifest(result, form)
        assert [problem.where for problem in refused.value.problems] == [f"study {result.spec.name}"]
        return
    found = manifest(result, form, image="registry.example/engine:1")
    for version in ((1, 1), (1, 2)):
        assert loaded(found.text, version) == found.objects
    port = "8000" if form in {Form.KUBERNETES, Form.COMPOSE} else "8080"
    model = None if port == "8000" else "$(MODEL_PATH)"
    assert words_of(found) == [*measured(result, model=model), "--host", "0.0.0.0", "--port", port]
    assert found.text == manifest(result, form, image="registry.example/engine:1").text
    head = [line for line in found.text.splitlines() if line.startswith("#")]
    assert head[0].startswith(f"# {result.spec.name}, trial {result.winner.number}: ")
    assert any("simulated" in line for line in head) == (kind is SampleKind.SIMULATED)
    assert ("+21%" in found.text) == (kind is SampleKind.WINNER)


@pytest.mark.parametrize("form", Form)
def test_one_of_each(sampled: Sampled, form: Form, snapshot: SnapshotAssertion, manifest: Make) -> None:
    assert manifest(sampled("gpus"), form).text == snapshot


@pytest.mark.parametrize("form", [Form.KUBERNETES, Form.COMPOSE])
@given(text=TEXT)
def test_argument_stays_one_argument(form: Form, text: str, won: Won, manifest: Make) -> None:
    result = won(args={"note": text})
    found = manifest(result, form)
    assert loaded(found.text) == found.objects
    assert words_of(found)[:-4] == measured(result)
    assert text in words_of(found)


@pytest.mark.parametrize("form", Form)
def test_arguments_as_people_write_them(form: Form, won: Won, manifest: Make) -> None:
    args = {"speculative-config": '{"method": "ngram", "n": [1, 2]}', "note": "a b\nc", "flag": "on", "chat": "$(X) $Y"}
    result = won(args=args)
    words = words_of(manifest(result, form))
    assert set(args.values()) <= set(words)


@given(TEXT.filter(bool))
def test_names_are_valid_and_differ(study_name: str) -> None:
    for form in Form:
        check_name(name_of(study_name, form), form)
        assert name_of(study_name, form) != name_of(study_name + ".", form)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", label_value(study_name))


@pytest.mark.parametrize(
    ("study_name", "name"),
    [("chat-8b", "chat-8b"), ("Chat_8B", "chat-8b-"), ("8b", "at-8b-"), ("x" * 63, "x" * 43 + "-"), ("a.", "a-")],
)
def test_names_given_by_users(study_name: str, name: str) -> None:
    found = name_of(study_name, Form.KUBERNETES)
    assert found.startswith(name)
    assert len(found) - len(name) in {0, 6}


def test_inference_service_name_never_ends_like_a_component() -> None:
    assert re.fullmatch(r"my-engine-[0-9a-f]{6}", name_of("my-engine", Form.INFERENCE_SERVICE))
    assert len(name_of("abcdefghijklmnopqrstuvwxyz", Form.INFERENCE_SERVICE)) == 20


def test_differing_plan_is_rejected(won: Won, manifest: Make) -> None:
    for argv, how in (
        (("vllm", "serve", "/models/chat-8b", "--served-model-name", "chat-8b"), "would be '--max-num-seqs 64' now"),
        (("vllm", "serve", "/models/other", "--served-model-name", "chat-8b", "--max-num-seqs", "64"), "/models/other"),
        (("sglang", "serve", "/models/chat-8b", "--served-model-name", "chat-8b", "--max-num-seqs", "64"), "sglang"),
        (
            (
                "a",
                "b",
                "c",
                "vllm",
                "serve",
                "/models/chat-8b",
                "--served-model-name",
                "chat-8b",
                "--max-num-seqs",
                "64",
            ),
            "argument",
        ),
    ):
        with pytest.raises(PlanDiffersError) as refused:
            manifest(won(argv=(*argv, "--host", "127.0.0.1", "--port", "1")), Form.KUBERNETES)
        assert how in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(PlanDiffersError, match=r"\b2 GPUs\b.* 1 "):
        manifest(won(gpus=2), Form.KUBERNETES)


@pytest.mark.parametrize("before", [("/usr/bin/python3",), ("/usr/bin/python3", "-I")])
def test_script_with_an_interpreter_is_the_same_program(before: tuple[str, ...], won: Won, manifest: Make) -> None:
    plain = won()
    result = won(argv=(*before, "/opt/venv/bin/vllm", *winner_argv(plain)[1:]))
    assert words_of(manifest(result, Form.KUBERNETES)) == words_of(manifest(plain, Form.KUBERNETES))


def test_external_server_has_no_manifest(won: Won, manifest: Make) -> None:
    result = won(argv=())
    with pytest.raises(UsageError) as refused:
        manifest(result, Form.COMPOSE)
    assert [problem.where for problem in refused.value.problems] == [f"study {result.spec.name}"]


def test_path_of_this_python_is_replaced(won: Won, manifest: Make) -> None:
    settings = {"flavor": "vllm", "gpu": "H100"}
    result = won(engine="simulated", settings=settings, gpus=0)
    found = manifest(result, Form.KUBERNETES, image="registry.example/simulated:1")
    assert words_of(found)[:3] == ["python3", "-m", "autotuner.simulator"]
    assert sys.executable not in found.text
    assert "the image needs python3 with autotuner.simulator" in found.text


def test_another_program_serves_the_same_flags(sampled: Sampled, manifest: Make) -> None:
    with pytest.raises(UsageError, match="--image"):
        manifest(sampled("winner"), Form.KUBERNETES)
    found = manifest(sampled("winner"), Form.COMPOSE, image="x/llama:1", server="/app/llama-server")
    assert words_of(found)[0] == "/app/llama-server"
    assert words_of(found)[1:-4] == measured(sampled("winner"))[1:]


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("stored", [SECRET, "***"])
def test_secrets_are_named_but_never_written(form: Form, stored: str, won: Won, manifest: Make) -> None:
    env = {"HF_TOKEN": stored, "PLAIN": "$(A) on", "URL": f"https://x/{stored}" if stored == "***" else "https://x"}
    found = manifest(won(env=env), form)
    assert stored not in found.text
    assert "# note: HF_TOKEN is " in found.text
    if form is Form.COMPOSE:
        (service,) = found.objects[0]["services"].values()
        assert service["environment"]["HF_TOKEN"] is None
        assert service["environment"]["PLAIN"] == "$$(A) on"
        return
    text = manifest(won(env=env), form, env_secret=["HF_TOKEN=hub/token"]).text
    assert "HF_TOKEN is left out" not in text
    assert stored not in text
    assert re.search(r"name: HF_TOKEN\n +valueFrom:\n +secretKeyRef:\n +name: hub\n +key: token\n", text)
    assert 'value: "$$(A) on"' in text


@pytest.mark.parametrize("form", Form)
def test_secret_in_the_command_line_is_rejected(form: Form, won: Won, manifest: Make) -> None:
    result = won(args={"note": "***"})
    with pytest.raises(UsageError) as refused:
        manifest(result, form)
    (problem,) = refused.value.problems
    assert problem.where.startswith("trial ")
    assert "engine.env" in problem.remedy


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("compose", {"pvc": "x", "namespace": "y"}),
        ("command", {"image": "x"}),
        ("kubernetes", {"name": "Big"}),
        ("kubernetes", {"pvc": "claim:/abs"}),
        ("kubernetes", {"pvc": "claim:a/../b"}),
        ("kubernetes", {"port": 0}),
        ("kubernetes", {"image": "a b"}),
        ("kubernetes", {"namespace": "a.b"}),
        ("inference-service", {"name": "a" * 21}),
        ("inference-service", {"name": "my-router"}),
        ("inference-service", {"model": "Llama-3.1"}),
        ("inference-service", {"runtime": "BaseModel/x"}),
        ("serving-runtime", {"size_range": "1B"}),
        ("serving-runtime", {"size_range": "8B-1B"}),
        ("serving-runtime", {"model_format": "a b"}),
    ],
)
def test_options_that_cannot_be(form: str, options: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as refused:
        parse_options(form, options)
    assert [problem.where for problem in refused.value.problems] == [f"--{name.replace('_', '-')}" for name in options]
    assert str(refused.value).splitlines() == snapshot


@pytest.mark.parametrize("option", [{"hub_token_secret": SECRET}, {"env_secret": [f"HF_TOKEN={SECRET}"]}])
def test_secret_typed_instead_of_its_name_is_not_repeated(option: dict[str, Any], won: Won, manifest: Make) -> None:
    with pytest.raises(UsageError) as refused:
        manifest(won(), Form.KUBERNETES, **option)
    assert SECRET not in str(refused.value)
    assert "never the secret itself" in str(refused.value)


def test_all_missing_options_are_reported_at_once(won: Won, manifest: Make, needed: Any) -> None:
    for form in (Form.INFERENCE_SERVICE, Form.SERVING_RUNTIME):
        with pytest.raises(UsageError) as refused:
            manifest(won(), form, **dict.fromkeys(needed[form]))
        assert len(str(refused.value).splitlines()) == len(needed[form])
