"""Launch plans and command lines of the llama.cpp engine, without a server."""

import pytest

from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.plugins import loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance
from support.engine_cases.llama_cpp import LLAMA_CPP


class TestWheel(EngineConformance):
    @pytest.fixture
    def engine(self) -> LlamaCpp:
        return LlamaCpp(LlamaCppSettings())


class TestBinary(EngineConformance):
    @pytest.fixture
    def engine(self) -> LlamaCpp:
        return LlamaCpp(LlamaCppSettings(server="/opt/llama/llama-server"))


@pytest.fixture
def engine() -> LlamaCpp:
    return LlamaCpp(LlamaCppSettings())


def test_is_found_as_a_plugin() -> None:
    engine = loading.engine(EngineSpec.model_validate({"kind": "llama_cpp", "server": "llama-server"}))
    plan = engine.plan(Model(path="m.gguf"), EngineSpec(kind="llama_cpp"), Configuration())
    assert plan.command == ("llama-server",)
    assert plan.needs_modules == ()


def test_only_a_binary_reads_the_api_key_from_the_environment() -> None:
    remedies = {}
    for server in ("xllamacpp", "llama-server"):
        (problem,) = LlamaCpp(LlamaCppSettings(server=server)).check({"api_key": "s3cret"}, LLAMA_CPP.hardware)
        assert "s3cret" not in str(problem)
        remedies[server] = problem.remedy
    assert "LLAMA_API_KEY" in remedies["llama-server"]
    assert "LLAMA_API_KEY" not in remedies["xllamacpp"]


def test_a_binary_may_have_more_options() -> None:
    engine = LlamaCpp(LlamaCppSettings(server="llama-server"))
    assert engine.check({"some-new-option": 1}, LLAMA_CPP.hardware) == []
    assert engine.gpus({"ngl": 99}) == 1
    assert engine.gpus({"ngl": 0}) == engine.gpus({}) == 0


def test_the_interpreters_m_flag_is_not_the_model(engine: LlamaCpp) -> None:
    argv = engine.plan(Model(path="a.gguf"), EngineSpec(kind="llama_cpp"), Configuration()).argv(host="h", port=1)
    assert engine.flag_value(argv, "m") == "a.gguf"
    changed = engine.override(argv, {"model": "b.gguf"})
    assert changed[:3] == argv[:3]
    assert engine.flag_value(changed, "model") == "b.gguf"
    assert "a.gguf" not in changed


@pytest.mark.parametrize(
    "program",
    [
        ["llama-server"],
        ["/usr/bin/python3.12", "-m", "module"],
        ["python", "-u", "-X", "dev", "-m", "module"],
        ["python", "server.py"],
    ],
)
def test_the_program_is_not_parsed_as_flags(engine: LlamaCpp, program: list[str]) -> None:
    argv = [*program, "-m", "a.gguf", "-t", "2"]
    assert engine.flag_value(argv, "model") == "a.gguf"
    assert engine.override(argv, {"model": "b", "threads": 3}) == (*program, "--model", "b", "--threads", "3")
    assert engine.override(program, {"threads": 3}) == (*program, "--threads", "3")


def test_resolved_values(engine: LlamaCpp) -> None:
    info = {"total_slots": 4, "default_generation_settings": {"n_ctx": 8192}, "model_ftype": "Q8_0", "other": 1}
    assert engine.resolved(info, "", "") == {"parallel": 4, "ctx-per-slot": 8192, "model-type": "Q8_0"}


@pytest.mark.parametrize(
    ("flags", "tokens"), [({}, 512), ({"batch-size": 128}, 128), ({"ub": 64, "batch-size": 128}, 64)]
)
def test_a_pass_takes_no_more_tokens_than_the_batch(engine: LlamaCpp, flags: dict[str, Value], tokens: int) -> None:
    found = engine.serving(flags, LLAMA_CPP.hardware)
    assert found is not None
    assert found.max_batched_tokens == tokens
