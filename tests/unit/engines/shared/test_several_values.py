"""Flags that take several values, and short flags: from the value in a study file to arguments and back."""

import sys

import pytest

from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.engines.shared.command_line import CommandLine, flags_of
from autotuner.engines.tensorrt_llm.engine import TensorrtLlm, TensorrtLlmSettings
from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.spec import EngineSpec, Model

VLLM = Vllm(VllmSettings())
SGLANG = Sglang(SglangSettings())
TRTLLM = TensorrtLlm(TensorrtLlmSettings(set_flag=True))
PROGRAM = LlamaCpp(LlamaCppSettings(server="llama-server"))


def argv(engine: Engine, **values: Value) -> tuple[str, ...]:
    named = {name.replace("__", "."): value for name, value in values.items()}
    canonical = {engine.canonical(name): value for name, value in named.items()}
    spec = EngineSpec(kind=engine.kind)
    model = Model(path="/models/m")
    return engine.plan(model, spec, Configuration(values=canonical)).argv(host="", port=0)


def tail(engine: Engine, **values: Value) -> str:
    """The flags that these values add."""
    plain = argv(engine)
    found = argv(engine, **values)
    return " ".join(found[len(plain) - 4 : len(found) - 4])


@pytest.mark.parametrize(
    ("engine", "values", "expected"),
    [
        (VLLM, {"cudagraph_capture_sizes": (1, 2, 4)}, "--cudagraph-capture-sizes 1 2 4"),
        (VLLM, {"cudagraph_capture_sizes": "1 2  4"}, "--cudagraph-capture-sizes 1 2 4"),
        (VLLM, {"cudagraph_capture_sizes": 8}, "--cudagraph-capture-sizes 8"),
        (VLLM, {"lora_modules": ("a=/x", "b=/y")}, "--lora-modules a=/x b=/y"),
        (VLLM, {"lora_modules": '{"name": "a", "path": "/x"}'}, '--lora-modules {"name": "a", "path": "/x"}'),
        (VLLM, {"middleware": ("a.B", "c.D")}, "--middleware a.B --middleware c.D"),
        (VLLM, {"compilation_config__cudagraph_capture_sizes": (1, 2)},
         "--compilation-config.cudagraph_capture_sizes [1, 2]"),
        (VLLM, {"unknown_list": ("a", 1, 0.5)}, "--unknown-list a 1 0.5"),
        (VLLM, {"max_num_seqs": "1 2"}, "--max-num-seqs 1 2"),
        (SGLANG, {"cuda_graph_bs": (1, 2, 4)}, "--cuda-graph-bs-decode 1 2 4"),
        (SGLANG, {"lora_paths": ("a=/x", "/y")}, "--lora-paths a=/x /y"),
        (TRTLLM, {"cuda_graph_config__batch_sizes": (1, 2)}, "--set cuda_graph_config.batch_sizes=[1, 2]"),
        (PROGRAM, {"lora": ("/a.gguf", "/b c.gguf")}, "--lora /a.gguf --lora /b c.gguf"),
        (PROGRAM, {"unknown": ("a", "b")}, "--unknown a --unknown b"),
        (VLLM, {"O": 3}, "--optimization-level 3"),
        (VLLM, {"-tp": 2}, "--tensor-parallel-size 2"),
        (VLLM, {"x": 5}, "-x 5"),
        (PROGRAM, {"-ngl": 99}, "--n-gpu-layers 99"),
        (PROGRAM, {"c": 4096}, "--ctx-size 4096"),
        (PROGRAM, {"y": 1}, "-y 1"),
    ],
)  # fmt: skip
def test_values_become_arguments_and_are_read_back(engine: Engine, values: dict[str, Value], expected: str) -> None:
    assert tail(engine, **values) == expected
    line = argv(engine, **values)
    for name, value in values.items():
        proper = engine.canonical(name.replace("__", "."))
        seen = engine.flag_value(line, proper)
        assert seen == engine.flag_value(engine.override(line, {proper: value}), proper)
        assert seen is not None
        assert engine.flag_value(engine.override(line, {proper: None}), proper) is None


def test_a_server_that_runs_with_other_values_is_noticed() -> None:
    """The check of a running server compares the whole list."""
    planned = VLLM.flag_value(
        ("vllm", "serve", "m", "--cudagraph-capture-sizes", "1", "2", "4"), "cudagraph-capture-sizes"
    )
    for running in (("1", "2"), ("1", "4", "2"), ("1 2 4",), ("1", "2", "4", "8")):
        seen = VLLM.flag_value(("vllm", "serve", "m", "--cudagraph-capture-sizes", *running), "cudagraph-capture-sizes")
        assert seen != planned


@pytest.mark.parametrize("written", [("-O3",), ("-O", "3"), ("-O=3",), ("--optimization-level=3",)])
def test_every_form_of_the_optimization_level_is_parsed_and_replaced(written: tuple[str, ...]) -> None:
    line = ("vllm", "serve", "m", *written, "--seed", "1")
    assert VLLM.flag_value(line, "O") == "3"
    assert VLLM.override(line, {"O": 1}) == ("vllm", "serve", "m", "--seed", "1", "--optimization-level", "1")


def test_several_values_of_a_flag_are_read_as_a_tuple() -> None:
    found = SGLANG.read(("sglang", "--cuda-graph-bs-decode", "1", "2", "--tp", "2", "--lora-paths", "a=/x", "b=/y"))
    assert found.single == {"cuda-graph-bs-decode": (1, 2), "tp-size": 2, "lora-paths": ("a=/x", "b=/y")}
    assert not found.several
    twice = SGLANG.read(("sglang", "--cuda-graph-bs-decode", "1", "--cuda-graph-bs-decode", "2"))
    assert twice.several == {"cuda-graph-bs-decode"}


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        (VLLM, "max-num-seqs", (8, 16)),
        (VLLM, "cudagraph-capture-sizes", (1, "two")),
        (VLLM, "cudagraph-capture-sizes", "1 two"),
        (VLLM, "cudagraph-capture-sizes", (1, 0)),
        (VLLM, "cudagraph-capture-sizes", True),
        (VLLM, "lora-modules", ("a=/x", "--port")),
        (SGLANG, "cuda-graph-bs", ("1 2", 4)),
        (PROGRAM, "threads", (1, 2)),
    ],
)
def test_wrong_lists_are_refused_before_launch(engine: Engine, name: str, value: Value) -> None:
    [problem] = engine.check_value(name, value)
    assert problem.where == engine.canonical(name)


def test_a_flag_without_a_value_stays_a_switch() -> None:
    line = CommandLine({}, abbreviates=False)
    assert line.value(("p", "--a", "--b", "1", "2", "-x", "3"), "a") is True
    assert line.value(("p", "--a", "--b", "1", "2", "-x", "3"), "b") == ("1", "2")
    assert line.value(("p", "--a", "--b", "1", "2", "-x", "3"), "x") == "3"
    assert [f.argv() for f in flags_of("b", ("1", "-2"), None)] == [("-b", "1", "-2")]


def test_the_wheels_launcher_accepts_repeated_options() -> None:
    from autotuner.engines.llama_cpp.server import apply, parse

    class Params:
        def __init__(self) -> None:
            self.antiprompt: list[str] = []
            self.cpuparams = self.cpuparams_batch = type("", (), {"n_threads": 1, "poll": 1, "strict_cpu": 0})()

    params = Params()
    apply(sys, params, parse(("--reverse-prompt", "a", "-r", "b c")))
    assert params.antiprompt == ["a", "b c"]


def test_local_lora_adapters_are_files_of_the_launch() -> None:
    adapters = ("a=/lora/a", '{"name": "b", "path": "/lora/b"}', "c=org/adapter")
    spec = EngineSpec(kind="vllm", args={"lora-modules": adapters})
    plan = VLLM.plan(Model(path="/models/m"), spec, Configuration())
    assert plan.needs_files == ("/models/m", "/lora/a", "/lora/b")
    assert plan.hub_models == ("org/adapter",)
