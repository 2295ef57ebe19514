"""The launcher's command line, applied to the wheel's real parameters without starting a server."""

import importlib
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.engines.llama_cpp import server as launcher
from autotuner.engines.llama_cpp.options import OPTIONS, Option

xllamacpp = pytest.importorskip("xllamacpp")


def values(option: Option) -> list[str]:
    if option.kind == "choice":
        return list(option.choices)
    if option.kind == "bool":
        return []
    if option.kind == "string":
        return ["a b"]
    return [
        str(int(v))
        for v in (option.low, option.high, 3)
        if v is not None and (option.high or 9) >= v >= (option.low or 0)
    ]


def read(params: Any, path: str) -> Any:
    for name in path.removeprefix("!").split("."):
        params = getattr(params, name)
    return params


def applied(*argv: str) -> Any:
    params = xllamacpp.CommonParams()
    launcher.apply(xllamacpp, params, launcher.parse(argv))
    return params


@pytest.mark.parametrize("option", OPTIONS, ids=lambda o: o.name)
def test_every_option_reaches_the_wheels_parameters(option: Option) -> None:
    """Different values yield different parameters, in every spelling."""
    dashes = {s: "-" if len(s) <= 3 else "--" for s in (option.name, *option.aliases, *option.off)}
    if option.name == "reranking":
        params = applied("--rerank")
        assert (params.embedding, params.pooling_type) == (True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK)
        return
    if option.kind == "bool":
        on = read(applied(f"--{option.name}"), option.target)
        assert on is (not option.target.startswith("!"))
        assert all(read(applied(f"{dashes[s]}{s}"), option.target) is on for s in option.aliases)
        assert all(read(applied(f"{dashes[s]}{s}"), option.target) is not on for s in option.off)
        return
    for spelling in (option.name, *option.aliases):
        for value in values(option):
            params = applied(f"{dashes[spelling]}{spelling}", value)
            assert repr(read(params, option.target or "reuse_port")) is not None
    seen = (
        {repr(read(applied(f"--{option.name}", v), option.target)) for v in values(option)} if option.target else set()
    )
    expected = set(values(option))
    assert not option.target or len(seen) >= min(2, len(expected))


def test_values_are_applied() -> None:
    params = applied(
        "-t",
        "3",
        "-np",
        "7",
        "-b",
        "100",
        "-ub",
        "50",
        "-c",
        "4096",
        "-fa",
        "off",
        "-ctk",
        "q8_0",
        "-ctv",
        "bf16",
        "--no-cont-batching",
        "--no-repack",
        "--load-mode",
        "mmap+mlock",
        "--cache-reuse",
        "64",
        "--seed",
        "-1",
        "--alias",
        "one,two",
        "--host",
        "127.0.0.1",
        "--port",
        "1234",
        "--timeout",
        "9",
        "-ngl",
        "all",
    )
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 3)
    assert (params.n_parallel, params.n_batch, params.n_ubatch, params.n_ctx) == (7, 100, 50, 4096)
    assert params.flash_attn_type == xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    assert params.cache_type_k == xllamacpp.ggml_type.GGML_TYPE_Q8_0
    assert params.cache_type_v == xllamacpp.ggml_type.GGML_TYPE_BF16
    assert params.load_mode == xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MMAP_MLOCK
    assert (params.cont_batching, params.no_extra_bufts, params.n_cache_reuse) == (False, True, 64)
    assert params.sampling.seed == 2**32 - 1
    assert params.model_alias == {"one", "two"}
    assert (params.hostnames, params.port) == (["127.0.0.1"], 1234)
    assert (params.timeout_read, params.timeout_write, params.n_gpu_layers) == (9, 9, -2)


def test_defaults_are_those_of_llama_server() -> None:
    params = applied()
    assert params.n_parallel == -1, "the wheel's own default is one slot"
    assert params.reuse_port is False, "two servers must never share a port"
    for option in OPTIONS:
        if option.default is not None and option.kind in {"int", "float", "bool"}:
            value = read(params, option.target)
            expected = not option.default if option.target.startswith("!") else option.default
            assert value == pytest.approx(expected), option.name


def test_prompt_processing_may_use_other_threads() -> None:
    params = applied("-t", "3", "-tb", "5", "--poll", "0")
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 5)
    assert (params.cpuparams.poll, params.cpuparams_batch.poll) == (0, 0)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--nope"], "error: invalid argument: --nope"),
        (["nope"], "error: invalid argument: nope"),
        (["--reuse-port"], "error: invalid argument: --reuse-port"),
        (["--threads"], 'error while handling argument "--threads": expected value for argument'),
        (["--threads", "x"], 'error while handling argument "--threads": "x" is not a whole number'),
        (["--flash-attn", "maybe"], "error: unknown value for --flash-attn: 'maybe' (one of: on, off, auto)"),
        (["--warmup=1"], "error: invalid argument: --warmup=1"),
        (["--threads", "2"], 'error while handling argument "--model": a model is required'),
        (["-m", "x", "--threads", "99999999999"], 'error while handling argument "--threads": '),
    ],
)
def test_errors_are_those_of_llama_server(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(argv) == 1
    assert capsys.readouterr().err.startswith(line)


def test_a_missing_wheel_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert launcher.main(["--model", "x"]) == 1
    assert "the xllamacpp wheel cannot be loaded" in capsys.readouterr().err


def test_imports_nothing_heavy() -> None:
    """A server must start as fast as llama.cpp itself, and importing our dependencies may take longer than that."""
    code = "import sys, autotuner.engines.llama_cpp.server as s; print(sorted({m.split('.')[0] for m in sys.modules}))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert not {"pydantic", "anyio", "httpx", "xllamacpp"} & set(eval(out))  # noqa: S307


@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from([f"--{o.name}" for o in OPTIONS])), max_size=6))
def test_any_command_line_is_parsed_or_refused(argv: list[str]) -> None:
    with suppress(launcher.BadArgumentError):
        for option, value in launcher.parse(argv):
            assert isinstance(value, {"int": int, "float": float, "bool": bool}.get(option.kind, str))
