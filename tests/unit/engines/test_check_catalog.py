"""The script that compares a catalog with a server's help text, on the help of real parsers."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from autotuner.plugins import loading
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.spec import EngineSpec

SCRIPT = Path(__file__).parents[3] / "scripts" / "check_catalog.py"
CLICK = """Usage: trtllm-serve serve [OPTIONS] MODEL

  Running an OpenAI API compatible server

Options:
  --backend [pytorch|tensorrt|_autodeploy]
                                  The backend.
  --max_beam_width INTEGER        Beams.  [default: 1]
  --max_batch_size INTEGER        Requests.  [default: 2048]
  --max_num_tokens INTEGER        Tokens.  [default: 4096]
  --max_seq_len INTEGER           Longest.
  --tensor_parallel_size, --tp_size INTEGER
                                  Tensor parallelism size.
  --pipeline_parallel_size, --pp_size INTEGER
  --context_parallel_size, --cp_size INTEGER
  --moe_expert_parallel_size, --ep_size INTEGER
  --moe_cluster_parallel_size, --cluster_size INTEGER
  --free_gpu_memory_fraction, --kv_cache_free_gpu_memory_fraction FLOAT
  --num_postprocess_workers INTEGER
  --help                          Show this message and exit.
"""


def compared(kind: str, text: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, SCRIPT, kind], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines() or done.stderr.splitlines()


def add(parser: argparse.ArgumentParser, entry: CatalogEntry) -> None:
    help_text = f"some words, -1 among them (default: {entry.default})"
    if entry.off_flag:
        parser.add_argument(f"--{entry.name}", action=argparse.BooleanOptionalAction, help=help_text)
    elif entry.type.kind == "bool":
        parser.add_argument(f"--{entry.name}", action="store_true", help=help_text)
    else:
        choices = entry.type.choices if entry.type.kind == "choice" else None
        parser.add_argument(f"--{entry.name}", choices=choices, help=help_text)


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_differences_are_listed(kind: str) -> None:
    entries = dict(loading.engine(EngineSpec(kind=kind)).catalog)
    parser = argparse.ArgumentParser(prog="server")
    for entry in entries.values():
        add(parser, entry)
    code, lines = compared(kind, parser.format_help())
    assert (code, len(lines)) == (0, 1), lines

    other = argparse.ArgumentParser(prog="server")
    gone = entries.pop("quantization")
    dtype = entries.pop("dtype")
    switch = entries.pop("stream-interval")
    for entry in entries.values():
        add(other, entry)
    other.add_argument(f"--{switch.name}", action="store_true", help="(default: 1)")
    other.add_argument("--dtype", choices=(*dtype.type.choices[1:], "int1"), help="(default: int1)")
    code, lines = compared(kind, other.format_help())
    assert code == 1
    assert set(lines) == {
        "dtype: new choices: int1",
        f"dtype: removed choices: {dtype.type.choices[0]}",
        "dtype: default int1; the catalog says auto",
        f"{gone.name}: the server has no --{gone.name}",
        f"{switch.name}: is a switch",
    }


def test_help_text_of_click() -> None:
    code, lines = compared("tensorrt_llm", CLICK)
    assert code == 1
    assert lines == [
        "max-num-tokens: default 4096; the catalog says 8192",
        "enable-chunked-prefill: the server has no --enable_chunked_prefill",
    ]


def test_empty_help_text_is_an_error() -> None:
    assert compared("vllm", "")[0] == 2
