"""The section ``quality`` of a study file."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "name": "s",
    "model": "m.gguf",
    "engine": "llama_cpp",
    "parameters": {"cache-type-k": ["f16", "q8_0"]},
    "workload": {"scenarios": "D(128,48)", "concurrency": [1, 8]},
    "objective": "max output_throughput",
}


def parsed(text: str | dict[str, Any]) -> StudySpec:
    return parse_study(text, source="s.yaml", folder=Path("/here"), exists=lambda path: path.name == "tasks").spec


def read(quality: Any) -> StudySpec:
    return parsed({**BASE, "quality": quality})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("auto", QualitySpec()),
        ({}, QualitySpec()),
        ("all", QualitySpec(parameters="all")),
        (
            {"parameters": ["ctk"], "prompts": 16, "tokens": 8, "kl": 0.1, "disagreement": "5%", "time_limit": "30s"},
            QualitySpec(parameters=("ctk",), prompts=16, tokens=8, kl=0.1, disagreement=0.05, time_limit_s=30.0),
        ),
        ({"tasks": "gsm8k"}, QualitySpec(tasks=TasksSpec(names=("gsm8k",)))),
        ({"tasks": ["gsm8k", "arc_easy"]}, QualitySpec(tasks=TasksSpec(names=("gsm8k", "arc_easy")))),
        (
            {
                "tasks": {
                    "names": "gsm8k",
                    "max_drop": "1%",
                    "limit": 500,
                    "metric": "exact_match,flexible-extract",
                    "fewshot": 0,
                    "api": "chat",
                    "include": "tasks",
                    "model_args": {"tokenizer": "org/m", "seed": 7},
                    "command": "/opt/lm-eval/bin/lm_eval",
                    "time_limit": "10m",
                }
            },
            QualitySpec(
                tasks=TasksSpec(
                    names=("gsm8k",),
                    max_drop=0.01,
                    limit=500,
                    metric="exact_match,flexible-extract",
                    fewshot=0,
                    api="chat",
                    include="/here/tasks",
                    model_args={"tokenizer": "org/m", "seed": 7},
                    command=("/opt/lm-eval/bin/lm_eval",),
                    time_limit_s=600.0,
                )
            ),
        ),
    ],
)
def test_forms(written: Any, meant: QualitySpec) -> None:
    spec = read(written)
    assert spec.quality == meant
    assert parsed(render_study(spec)) == spec


def test_answers_are_not_checked_without_the_section() -> None:
    spec = parsed(BASE)
    assert spec.quality is None
    assert "quality" not in render_study(spec)


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("some", "quality"),
        ({"parameters": []}, "quality.parameters"),
        ({"prompts": 8}, "quality.prompts"),
        ({"prompts": 65}, "quality.prompts"),
        ({"kl": 0}, "quality.kl"),
        ({"disagreement": "120%"}, "quality.disagreement"),
        ({"time_limit": "soon"}, "quality.time_limit"),
        ({"bound": 3}, "quality.bound"),
        ({"tasks": []}, "quality.tasks"),
        ({"tasks": ["a", "a"]}, "quality.tasks"),
        ({"tasks": {"names": "two tasks"}}, "quality.tasks.names"),
        ({"tasks": {"limit": 50}}, "quality.tasks.names"),
        ({"tasks": {"names": "a", "max_drop": "100%"}}, "quality.tasks.max_drop"),
        ({"tasks": {"names": "a", "limit": 10}}, "quality.tasks.limit"),
        ({"tasks": {"names": "a", "api": "embeddings"}}, "quality.tasks.api"),
        ({"tasks": 3}, "quality.tasks"),
        (3, "quality"),
    ],
)
def test_mistakes(written: Any, where: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(written)
    assert [p.where.removeprefix("s.yaml ") for p in raised.value.problems] == [where]
