"""Which configurations are compared with the default's answers."""

from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.plugins.loading import engine as load
from autotuner.study.check import CheckStatus
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.spec import EngineSpec, StudySpec
from autotuner.study.workload import Api
from autotuner.testing.samples import sample_spec
from autotuner.tuning.quality.coverage import (
    check_quality,
    checked_names,
    is_checked,
    quality_checks,
    task_quality_checks,
)

LLAMA = load(EngineSpec(kind="llama_cpp"))


def study(*names: str, quality: QualitySpec | None = None, **changes: Any) -> StudySpec:
    tuned = tuple(Parameter(name=name, domain=Choices(values=("f16", "q4_0"))) for name in names)
    return sample_spec().replaced(parameters=tuned, quality=quality or QualitySpec(), **changes)


@pytest.mark.parametrize(
    ("kind", "changing", "harmless"),
    [
        (
            "llama_cpp",
            ["cache-type-k", "ctv", "flash-attn", "env.GGML_X", "new-flag"],
            ["threads", "ubatch-size", "np"],
        ),
        ("vllm", ["kv-cache-dtype", "quantization", "spec-method", "attention-backend"], ["max-num-seqs"]),
        ("sglang", ["kv_cache_dtype", "speculative-num-steps", "quantization.kv"], ["tp-size", "parallelism.tp"]),
        ("simulated", ["speculative-algorithm"], ["mem-fraction-static"]),
        ("tensorrt_llm", ["kv-cache-config.dtype"], ["max-batch-size"]),
    ],
)
def test_what_changes_arithmetic(kind: str, changing: list[str], harmless: list[str]) -> None:
    engine = load(EngineSpec(kind=kind))
    assert [name for name in (*changing, *harmless) if engine.changes_arithmetic(name)] == changing


def test_only_other_values_than_the_default_s_are_checked() -> None:
    spec = study("cache-type-k", "threads")
    assert checked_names(spec, LLAMA) == ("cache-type-k",)

    def checked(fixed: dict[str, Any], **values: Any) -> bool:
        named = {name.replace("_", "-"): value for name, value in values.items()}
        return is_checked(spec, LLAMA, fixed, Configuration(values=named))

    assert checked({}, cache_type_k="q4_0")
    assert not checked({}, cache_type_k="f16", threads="f16")
    assert not checked({}, cache_type_k=None)
    assert checked({"cache-type-k": "q8_0"}, cache_type_k="f16")
    assert not checked({"cache-type-k": "q8_0"}, cache_type_k="q8_0")


def test_parameters_by_name() -> None:
    assert checked_names(study("cache-type-k", "threads", quality=QualitySpec(parameters=("threads",))), LLAMA) == (
        "threads",
    )
    assert checked_names(study("cache-type-k", "threads", quality=QualitySpec(parameters="all")), LLAMA) == (
        "cache-type-k",
        "threads",
    )
    check_quality(study("cache-type-k", quality=QualitySpec(parameters=("ctk",))), LLAMA)
    with pytest.raises(UsageError) as raised:
        check_quality(study("cache-type-k", quality=QualitySpec(parameters=("cache-type-kk",))), LLAMA)
    [problem] = raised.value.problems
    assert (problem.where, problem.value) == ("quality.parameters", "cache-type-kk")
    assert "cache-type-k" in problem.remedy


def test_the_plan_says_what_tasks_can_show() -> None:
    [shown] = task_quality_checks(study("cache-type-k", quality=QualitySpec(tasks=TasksSpec(names=("gsm8k",)))))
    assert shown.status is CheckStatus.OK
    assert "gsm8k, at most 200 items each and 300 s" in shown.detail
    assert "less than 7.0 points" in shown.detail
    few = QualitySpec(tasks=TasksSpec(names=("gsm8k",), limit=20))
    [unseen] = task_quality_checks(study("cache-type-k", quality=few))
    assert unseen.status is CheckStatus.WARN
    assert task_quality_checks(study("cache-type-k")) == []


def test_servers_that_generate_nothing_are_refused() -> None:
    workload = sample_spec().workload.replaced(api=Api.EMBEDDINGS)
    with pytest.raises(UsageError) as raised:
        check_quality(study("cache-type-k", workload=workload), LLAMA)
    assert [p.where for p in raised.value.problems] == ["quality"]


def test_the_plan_says_what_is_checked() -> None:
    [check] = quality_checks(study("cache-type-k"), LLAMA)
    assert check.status is CheckStatus.OK
    assert "cache-type-k" in check.detail
    assert "60 s" in check.detail
    [nothing] = quality_checks(study("threads"), LLAMA)
    assert nothing.status is CheckStatus.WARN
    assert quality_checks(study("threads").replaced(quality=None), LLAMA) == []
