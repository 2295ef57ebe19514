"""The llama.cpp engine's knowledge, without a server."""

import pytest

from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.plugins import loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Blame, FailureCause
from autotuner.study.launch import Hardware
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HARDWARE = Hardware(cpus=2, memory_gb=8.0)


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


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        ({"flash-attn": "off", "cache-type-v": "q8_0"}, "cache-type-v", "set flash-attn to on"),
        ({"fa": "off", "ctv": "q4_0"}, "cache-type-v", "set flash-attn to on"),
        ({"ubatch-size": 4096}, "ubatch-size", "at most batch-size"),
        ({"batch_size": 128}, "ubatch-size", "at most batch-size"),
        ({"n_parallel": 600}, "parallel", "at most 256"),
        ({"parallel": 2.5}, "parallel", "whole number"),
        ({"cache-reuse": 64, "cache-prompt": False}, "cache-reuse", "0"),
        ({"cache-idle-slots": True, "cache-ram": 0}, "cache-idle-slots", "false"),
        ({"split-mode": "tensor"}, "split-mode", "layer"),
        ({"ctx-size": 400_000_000}, "ctx-size", "at most"),
        ({"flash-attn": True}, "flash-attn", "one of: on, off, auto"),
        ({"flash-attn": "yes"}, "flash-attn", "one of: on, off, auto"),
        ({"cont-batching": "no"}, "cont-batching", "true or false"),
        ({"no-cont-batching": True}, "no-cont-batching", "cont-batching: false"),
        ({"threds": 2}, "threds", 'did you mean "threads"?'),
        ({"mlock": True}, "mlock", "load-mode: mlock"),
        ({"port": 80}, "port", "deployer"),
        ({"model": "x"}, "model", "model.path"),
        ({"reuse-port": True}, "reuse-port", "another server"),
    ],
)
def test_what_cannot_work_is_known_before_launch(
    engine: LlamaCpp, values: dict[str, Value], where: str, remedy: str
) -> None:
    (problem,) = engine.check(values, HARDWARE)
    assert problem.where == where
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "values",
    [
        {"flash-attn": "auto", "cache-type-v": "q8_0"},
        {"flash-attn": "off", "cache-type-v": "bf16", "cache-type-k": "q8_0"},
        {"n-gpu-layers": "all"},
        {"threads": "2"},
        {"ubatch-size": 2048},
        {"metrics": False, "temp": 0.5},
    ],
)
def test_what_works_is_let_through(engine: LlamaCpp, values: dict[str, Value]) -> None:
    assert engine.check(values, HARDWARE) == []


@pytest.mark.parametrize(("server", "remedy"), [("xllamacpp", "leave it out"), ("llama-server", "LLAMA_API_KEY")])
def test_secrets_stay_off_the_command_line(server: str, remedy: str) -> None:
    (problem,) = LlamaCpp(LlamaCppSettings(server=server)).check({"api_key": "s3cret"}, HARDWARE)
    assert "s3cret" not in str(problem)
    assert remedy in problem.remedy


def test_a_real_binary_may_know_more_options() -> None:
    engine = LlamaCpp(LlamaCppSettings(server="llama-server"))
    assert engine.check({"some-new-option": 1}, HARDWARE) == []
    assert engine.gpus({"ngl": 99}) == 1
    assert engine.gpus({"ngl": 0}) == engine.gpus({}) == 0


def test_the_interpreters_m_is_not_the_models(engine: LlamaCpp) -> None:
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
def test_the_program_is_no_flag(engine: LlamaCpp, program: list[str]) -> None:
    argv = [*program, "-m", "a.gguf", "-t", "2"]
    assert engine.flag_value(argv, "model") == "a.gguf"
    assert engine.override(argv, {"model": "b", "threads": 3}) == (*program, "--model", "b", "--threads", "3")
    assert engine.override(program, {"threads": 3}) == (*program, "--threads", "3")


LOADING_ERROR = "0.00.066.694 E srv          init: exiting due to model loading error\n"


@pytest.mark.parametrize(
    ("code", "log", "ready", "cause", "message"),
    [
        (1, "error: invalid argument: --foo\n", False, FailureCause.INVALID_FLAG, "--foo"),
        (1, 'error while handling argument "--threads": stoi\n', False, FailureCause.INVALID_VALUE, "--threads"),
        (1, "error: unknown value for --flash-attn: 'x'\n", False, FailureCause.INVALID_VALUE, "--flash-attn"),
        (1, "0.00.1 E llama_init_from_model: quantized V cache requires flash_attn to be enabled\n" + LOADING_ERROR,
         False, FailureCause.INVALID_VALUE, "flash attention"),
        (1, "E llama_init_from_model: failed to initialize the context: n_seq_max must be <= 256\n" + LOADING_ERROR,
         False, FailureCause.INVALID_VALUE, "256"),
        (1, "E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 81\n", False,
         FailureCause.PORT_UNAVAILABLE, "port 81"),
        (1, "E gguf_init_from_file: failed to open GGUF file 'x.gguf' (No such file or directory)\n", False,
         FailureCause.MODEL_MISSING, "x.gguf"),
        (1, "data is not within the file bounds, model is corrupted or incomplete\n", False,
         FailureCause.MODEL_MISSING, "incomplete"),
        (1, "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99\n" + LOADING_ERROR, False,
         FailureCause.OUT_OF_MEMORY, "while loading"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'\n", True,
         FailureCause.OUT_OF_MEMORY, "under load"),
        (-9, "", True, FailureCause.ENVIRONMENT, "SIGKILL under load, with no sign of a lack of memory"),
        (137, "", False, FailureCause.ENVIRONMENT, "SIGKILL while loading"),
        (-15, "", True, FailureCause.ENVIRONMENT, "SIGTERM"),
        (-9, "E ggml_aligned_malloc: failed to allocate 9 MB\n", True, FailureCause.OUT_OF_MEMORY, "under load"),
        (-11, "", True, FailureCause.CRASH_UNDER_LOAD, "SIGSEGV"),
        (-6, "ggml.c:1: GGML_ASSERT(n > 0) failed\n", False, FailureCause.CRASH_LOADING, "GGML_ASSERT(n > 0)"),
        (-4, "", False, FailureCause.ENVIRONMENT, "instruction"),
        (1, "0.00.1 E srv init: something new\n" + LOADING_ERROR, False, FailureCause.CRASH_LOADING, "something new"),
        (1, "error: the xllamacpp wheel cannot be loaded: x\n", False, FailureCause.NO_BINARY, "wheel"),
    ],
)  # fmt: skip
def test_causes(engine: LlamaCpp, code: int, log: str, ready: bool, cause: FailureCause, message: str) -> None:
    failure = engine.explain(code, log, ready=ready)
    assert failure is not None
    assert failure.cause is cause
    assert message in failure.message
    assert failure.remedy
    assert failure.exit_code == code


def test_what_a_request_logs_is_no_cause_of_a_death_under_load(engine: LlamaCpp) -> None:
    """A prompt that is echoed in the log must not decide."""
    failure = engine.explain(-11, "request: error: invalid argument: --foo\n", ready=True)
    assert failure is not None
    assert failure.cause is FailureCause.CRASH_UNDER_LOAD
    assert failure.blame is Blame.CONFIGURATION


def test_what_the_server_decided(engine: LlamaCpp) -> None:
    info = {"total_slots": 4, "default_generation_settings": {"n_ctx": 8192}, "model_ftype": "Q8_0", "other": 1}
    assert engine.resolved(info, "", "") == {"parallel": 4, "ctx-per-slot": 8192, "model-type": "Q8_0"}
