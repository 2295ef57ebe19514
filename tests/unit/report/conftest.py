"""Results of the sample studies, each built once."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from autotuner.plugins import loading
from autotuner.report.exported.options import Form, parse_options
from autotuner.report.exported.render import Manifest, manifest_of
from autotuner.report.exported.winner import winner_of
from autotuner.report.result import StudyResult, study_result
from autotuner.study.spec import EngineSpec, Model, PluginSpec
from autotuner.testing.samples import Sample, SampleKind, sample_spec, sample_study
from autotuner.testing.study_maker import winning_sample
from support.compose_files import compose_problems

_RUNTIME = {
    "model_format": "safetensors:1.0.0", "model_framework": "transformers:4.51.0", "architecture": "LlamaForCausalLM",
    "size_range": "1B-8B",
}  # fmt: skip
NEEDED = {
    Form.KUBERNETES: {},
    Form.COMPOSE: {},
    Form.INFERENCE_SERVICE: {"runtime": "srt-llama", "model": "llama"},
    Form.SERVING_RUNTIME: _RUNTIME,
}
"""The options without which a form cannot be made."""


@cache
def _result(kind: SampleKind) -> StudyResult:
    return result_of(sample_study(kind))


def result_of(sample: Sample) -> StudyResult:
    """The result of a sample."""
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


@pytest.fixture
def sampled() -> Callable[[str], StudyResult]:
    """The result of the sample of a kind."""
    return lambda kind: _result(SampleKind(kind))


@pytest.fixture
def made() -> Callable[[Sample], StudyResult]:
    """The result of a sample made in the test."""
    return result_of


def _won(
    *,
    name: str = "chat",
    engine: str = "vllm",
    settings: Any = None,
    args: Any = None,
    tuned: Any = None,
    env: Any = None,
    model: str = "/models/chat-8b",
    deploy: Any = None,
    gpus: int = 1,
    **trial: Any,
) -> StudyResult:
    changes = {
        "model": Model(path=model),
        "engine": EngineSpec.model_validate({"kind": engine, "args": args or {}, "env": env or {}, **(settings or {})}),
        "deploy": PluginSpec.model_validate(deploy or {"kind": "process"}),
    }
    spec = sample_spec(name, slos=()).model_copy(update=changes)
    return result_of(winning_sample(spec, tuned or {"max-num-seqs": 64}, gpus=gpus, **trial))


@pytest.fixture(scope="session")
def won() -> Callable[..., StudyResult]:
    """A study of a vLLM whose one searched trial won; keywords change the study, unknown ones the trial."""
    return _won


def _manifest(result: StudyResult, form: Form, *, image_of: Any = lambda _: None, **options: Any) -> Manifest:
    needed = {} if options.get("start_from") else NEEDED[form]
    read = parse_options(form, {**needed, **options})
    settings = loading.deployer(result.spec.deploy).settings
    winner = winner_of(result, result.spec.model, image_of=image_of, settings=settings, server=read.server)
    found = manifest_of(winner, form, read)
    assert form is not Form.COMPOSE or compose_problems(found.text) == []
    return found


@pytest.fixture(scope="session")
def manifest() -> Callable[..., Manifest]:
    """The manifest of a result's winner in a form, with the options that the form needs."""
    return _manifest


@pytest.fixture(scope="session")
def needed() -> Any:
    """These options by form."""
    return NEEDED
