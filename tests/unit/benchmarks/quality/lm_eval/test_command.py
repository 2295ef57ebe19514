"""Command lines of lm-evaluation-harness."""

from pathlib import Path

import pytest

from autotuner.benchmarks.quality.lm_eval.command import (
    COMMAND_VARIABLE,
    UnreachableError,
    environment,
    evaluation,
    program,
    validation,
)
from autotuner.net.target import Access, Target
from autotuner.study.quality.spec import TasksSpec

TARGET = Target("http://127.0.0.1:8000")


def options(spec: TasksSpec, target: Target = TARGET) -> dict[str, str]:
    first, *rest = evaluation(spec, target, "m", in_flight=16, output=Path("/out"))
    assert first == "lm_eval"
    flags = [i for i, part in enumerate(rest) if part.startswith("--")]
    return {rest[i]: " ".join(rest[i + 1 : j]) for i, j in zip(flags, [*flags[1:], len(rest)], strict=True)}


def test_completions() -> None:
    found = options(TasksSpec(names=("gsm8k", "arc_easy"), limit=50))
    assert found == {
        "--model": "local-completions",
        "--model_args": "model=m,base_url=http://127.0.0.1:8000/v1/completions,num_concurrent=16,max_retries=3,"
        "tokenizer_backend=none,tokenized_requests=False",
        "--tasks": "gsm8k,arc_easy",
        "--limit": "50",
        "--log_samples": "",
        "--output_path": "/out",
    }


def test_other_settings() -> None:
    spec = TasksSpec(
        names=("t",), api="chat", fewshot=0, include="/tasks", model_args={"tokenizer": "org/m", "seed": 7}
    )
    found = options(spec)
    assert found["--model"] == "local-chat-completions"
    assert "/v1/chat/completions" in found["--model_args"]
    assert "--apply_chat_template" in found
    assert (found["--num_fewshot"], found["--include_path"]) == ("0", "/tasks")
    assert found["--model_args"].endswith("max_retries=3,tokenizer=org/m,seed=7")  # the harness's own tokenizer backend
    assert validation(spec)[1:] == ("validate", "--tasks", "t", "--include_path", "/tasks")


def test_the_program_is_set_in_the_study_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(COMMAND_VARIABLE, raising=False)
    assert program(TasksSpec(names=("t",))) == ("lm_eval",)
    monkeypatch.setenv(COMMAND_VARIABLE, "/opt/lm-eval/bin/python -m lm_eval")
    assert program(TasksSpec(names=("t",))) == ("/opt/lm-eval/bin/python", "-m", "lm_eval")
    assert program(TasksSpec(names=("t",), command=("~/x",)))[0] == str(Path.home() / "x")


def test_the_key_is_in_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of the user")
    monkeypatch.setenv("NO_PROXY", "internal")
    found = environment(TARGET)
    assert found["OPENAI_API_KEY"] == "none"
    assert found["NO_PROXY"] == "internal,127.0.0.1"
    target = Target("http://h:1", headers={"Authorization": "Bearer sk-1"})
    assert environment(target)["OPENAI_API_KEY"] == "sk-1"
    assert "sk-1" not in str(options(TasksSpec(names=("t",)), target))


@pytest.mark.parametrize(
    "target",
    [
        Target("http://h", headers={"X-Key": "1"}),
        Target("http://h", headers={"Authorization": "Basic eA=="}),
        Target("http://h", access=Access(query="key=1")),
    ],
)
def test_a_server_that_needs_more_is_refused(target: Target) -> None:
    with pytest.raises(UnreachableError):
        environment(target)
