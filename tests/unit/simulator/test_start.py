"""Startup failures of the simulator, with log lines in which the engine plugin finds the cause."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autotuner import simulator
from autotuner.engines.simulated import MODELED, Simulated, SimulatedSettings
from autotuner.simulator.__main__ import main
from autotuner.simulator.options import (
    FLAVORS,
    Flavor,
    engine_options,
    engine_parser,
    flag_table,
    human_int,
    own_options,
)
from autotuner.simulator.sglang import start
from autotuner.simulator.vllm import start as vllm_start
from autotuner.study.failure import FailureCause

Ended = Callable[..., tuple[int, str]]
FLAGS = {"sglang": ("--model-path", "Llama-3.1-8B"), "vllm": ("Llama-3.1-8B",)}
SHIMS = Path(simulator.__file__).parent / "shims"


@pytest.fixture
def ended(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Runs a server that cannot start; returns its exit code (negative for a signal that it sends itself) and log."""

    def run(flavor: Flavor, *own: str, flags: tuple[str, ...] = ()) -> tuple[int, str]:
        sent: list[int] = []
        monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
        try:
            code = main(["--flavor", flavor, *own, *FLAGS[flavor], *flags])
        except SystemExit as error:
            code = int(str(error.code))
        return -sent[0] if sent else code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("flavor", "own", "flags", "cause"),
    [
        ("sglang", (), ("--bogus", "1"), FailureCause.INVALID_FLAG),
        ("vllm", (), ("--bogus", "1"), FailureCause.INVALID_FLAG),
        ("sglang", (), ("--tp-size", "two"), FailureCause.INVALID_VALUE),
        ("sglang", (), ("--schedule-policy", "best"), FailureCause.INVALID_VALUE),
        ("sglang", ("--gpu", "L4"), ("--context-length", "200000"), FailureCause.UNSUPPORTED_COMBINATION),
        ("sglang", ("--shape", "Llama-3.1-70B"), (), FailureCause.GPU_OUT_OF_MEMORY_LOADING),
        ("vllm", ("--shape", "Llama-3.1-70B"), (), FailureCause.GPU_OUT_OF_MEMORY_LOADING),
        ("sglang", (), ("--mem-fraction-static", "0.15"), FailureCause.KV_CACHE_TOO_SMALL),
        ("vllm", (), ("--gpu-memory-utilization", "0.2"), FailureCause.KV_CACHE_TOO_SMALL),
        ("sglang", (), ("--mem-fraction-static", "0.992"), FailureCause.GPU_OUT_OF_MEMORY_RUNNING),
        ("vllm", (), ("--gpu-memory-utilization", "0.999"), FailureCause.GPU_OUT_OF_MEMORY_RUNNING),
        ("vllm", ("--gpu", "L4"), (), FailureCause.KV_CACHE_TOO_SMALL),
        ("vllm", (), ("--gpu-memory-utilization", "0.985", "--max-num-seqs", "8192"),
         FailureCause.GPU_OUT_OF_MEMORY_RUNNING),
        ("sglang", ("--gpu", "A100"), ("--kv-cache-dtype", "fp8_e4m3"), FailureCause.UNSUPPORTED_GPU),
        ("vllm", ("--gpu", "A100"), ("--kv-cache-dtype", "fp8"), FailureCause.UNSUPPORTED_GPU),
        ("sglang", ("--gpu", "A100"), ("--quantization", "w8a8_fp8"), FailureCause.UNSUPPORTED_GPU),
        ("sglang", (), ("--tp-size", "2"), FailureCause.GPU_UNAVAILABLE),
        ("vllm", (), ("-tp", "2"), FailureCause.GPU_UNAVAILABLE),
        ("vllm", ("--gpu-count", "3"), ("-tp", "3"), FailureCause.UNSUPPORTED_COMBINATION),
        ("vllm", (), ("--max-num-batched-tokens", "64", "--max-num-seqs", "128"),
         FailureCause.UNSUPPORTED_COMBINATION),
        ("vllm", (), ("--no-enable-chunked-prefill",), FailureCause.UNSUPPORTED_COMBINATION),
        ("sglang", (), ("--page-size", "3"), FailureCause.UNSUPPORTED_COMBINATION),
        ("sglang", (), ("--speculative-algorithm", "EAGLE"), FailureCause.UNSUPPORTED_COMBINATION),
        ("sglang", ("--speed", "0"), (), FailureCause.INVALID_VALUE),
    ],
)  # fmt: skip
def test_impossible_flags_fail_as_in_the_engine(
    ended: Ended, flavor: Flavor, own: tuple[str, ...], flags: tuple[str, ...], cause: FailureCause
) -> None:
    code, log = ended(flavor, *own, flags=flags)
    engine = Simulated(SimulatedSettings(flavor=flavor))
    failure = engine.explain(code, log, ready=False)
    assert failure is not None, log
    assert failure.cause is cause, log
    assert code != 0
    if cause is FailureCause.INVALID_FLAG:
        assert code == 2
        assert "error: unrecognized arguments: --bogus 1" in log


def test_gpu_memory_needs_opposite_remedies_by_phase(ended: Ended) -> None:
    engine = Simulated(SimulatedSettings())
    remedies = []
    for fraction in ("0.15", "0.992"):
        failure = engine.explain(*ended("sglang", flags=("--mem-fraction-static", fraction)), ready=False)
        assert failure is not None
        remedies.append(failure.remedy.split()[0])
    assert remedies == ["raise", "lower"]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_every_flag_is_accepted_in_every_spelling(flavor: Flavor) -> None:
    values = {"int": ["1"], "human": ["4k"], "float": ["0.5"], "str": ["x"], "list": ["1", "2"], "optional": []}
    base = ["--model-path", "m"] if flavor == "sglang" else ["m"]
    table = flag_table(flavor)
    parser = engine_parser(flavor)
    assert len(table) > 300
    for row in table:
        for spelling in row.spellings:
            given = [spelling, *([row.choices[0]] if row.choices else values.get(row.kind, []))]
            assert row.dest in vars(parser.parse_args([*base, *given])), spelling


@pytest.mark.parametrize(
    ("flavor", "modeled"),
    [("sglang", start.MODELED), ("vllm", vllm_start.MODELED)],
)
def test_modeled_flags_are_flags_of_the_engine(flavor: Flavor, modeled: frozenset[str]) -> None:
    known = {row.dest for row in flag_table(flavor)} | {"model_tag"}
    assert modeled <= known
    assert {name.replace("-", "_") for name in MODELED[flavor]} <= modeled


def test_an_ambiguous_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        engine_options("sglang", ["--model-path", "m", "--cuda-graph-max-bs", "8"])
    assert ended.value.code == 2
    assert "ambiguous option: --cuda-graph-max-bs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "number"), [("512", 512), ("4k", 4000), ("2Ki", 2048), ("1K", 1024), ("1.5M", 1_500_000), ("-1", -1)]
)
def test_numbers_with_suffixes(text: str, number: int) -> None:
    assert human_int(text) == number


def test_own_options_come_first_or_from_the_environment() -> None:
    environ = {"AUTOTUNER_SIMULATED_GPU": "L4", "AUTOTUNER_SIMULATED_SPEED": "2"}
    found, rest = own_options(["--gpu", "H200", "--gpu-count=2", "--model-path", "m", "--gpu", "x"], environ)
    assert (found.gpu, found.gpu_count, found.speed) == ("H200", 2, 2.0)
    assert rest == ["--model-path", "m", "--gpu", "x"]
    with pytest.raises(ValueError, match="--speed fast"):
        own_options(["--speed", "fast"], {})


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ([sys.executable, "-m", "sglang.launch_server", "--model-path", "m"], "simulated: model = m: "),
        ([str(SHIMS / "bin/sglang"), "serve", "--model-path", "m"], "simulated: model = m: "),
        ([str(SHIMS / "bin/vllm"), "serve", "m"], "simulated: model = m: "),
        ([sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", "m"], "simulated: model = m: "),
        ([str(SHIMS / "bin/vllm"), "bench"], "only `vllm serve"),
    ],
)
def test_shims_accept_the_engines_command_lines(command: list[str], line: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {**os.environ, "PYTHONPATH": str(SHIMS), "PATH": path, "AUTOTUNER_SIMULATED_GPU": "L4"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)
    assert line in done.stderr
    assert done.returncode != 0
    assert "bench" in command or "1 x L4" in done.stderr


def test_a_failing_scheduler_kills_the_server() -> None:
    argv = [sys.executable, "-m", "autotuner.simulator", *FLAGS["sglang"], "--mem-fraction-static", "0.992"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == -9
    assert done.stderr.startswith("[")
    assert "] SIMULATED sglang 0.5.23: no GPU and no model is used" in done.stderr.splitlines()[0]
    assert "Received sigquit from a child process" in done.stderr
