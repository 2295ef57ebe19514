"""What our load generator costs and how exactly it sees, beside other clients, against a mock server with a truth log.

    python benchmarks/loadgen.py [--genai-bench PATH] [--vllm PATH] [--requests 3000]

The server (C, ``benchmarks/mock/mock.c``) has one core, the client another; TTFT 50 ms, ITL 5 ms, 64 tokens in, 100
out. CPU per token is the slope between a short and a long run, so that no client pays for its imports; the CPU is that
of the client's whole process tree, the tokens are the server's. TTFT error is each client's own figure less the
server's truth: just before the first token is sent, less the request's arrival. Machines are noisy: take the ratios
before the absolutes.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.loadgen.spec import Lengths, WorkerSpec
from autotuner.benchmarks.loadgen.words import WORDS
from autotuner.benchmarks.native import WORKER, NativeBenchmark, NativeSettings
from autotuner.study.workload import Concurrency
from autotuner.testing.benchmark_kit import UrlEndpoint, fixed_scenario, make_window

HERE = Path(__file__).parent
TTFT_US, ITL_US, TOKENS_IN, TOKENS_OUT = 50_000, 5_000, 64, 100


@dataclass
class Run:
    """One run of one client."""

    cpu_s: float
    tokens: int
    truth_ms: Any
    ttft_ms: Any
    """Each client's own TTFT values, milliseconds; None where it keeps none."""


@dataclass
class Client:
    """How to run a client: (url, in flight, requests, folder) -> (argv, stdin), and how to read its TTFTs."""

    name: str
    command: Callable[[str, int, int, Path], tuple[list[str], bytes]]
    ttfts: Callable[[Path, bytes], Any]


@contextmanager
def server(binary: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    truth = folder / "truth.txt"
    argv = ["taskset", "-c", "0", str(binary), "0", str(TTFT_US), str(ITL_US), str(truth)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", truth
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def measured(client: Client, binary: Path, in_flight: int, requests: int) -> Run:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(binary, folder) as (url, truth):
            argv, stdin = client.command(url, in_flight, requests, folder)
            env = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_TARGET_DEVICE": "cpu", "TQDM_DISABLE": "1"}
            before = os.times()
            done = subprocess.run(
                ["taskset", "-c", "1", *argv], input=stdin, capture_output=True, env=env, cwd=folder, timeout=900
            )
            after = os.times()
        if done.returncode != 0:
            sys.exit(f"{client.name} failed:\n{done.stderr.decode(errors='replace')[-3000:]}")
        # the server is waited for outside of the two readings, so its CPU is not among the children's
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        rows = np.loadtxt(truth, ndmin=2, dtype=np.int64)
        rows = rows[rows[:, 4] == TOKENS_OUT]
        ours = client.ttfts(folder, done.stdout)
        return Run(cpu, int(rows[:, 4].sum()), (rows[:, 2] - rows[:, 1]) / 1e6, np.asarray(ours))


# the clients


def native() -> Client:
    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        spec = WorkerSpec(
            url=url, model="mock", concurrency=in_flight, requests=requests, duration_s=600.0, warmup_s=1.0,
            input=Lengths("fixed", TOKENS_IN), output=Lengths("fixed", TOKENS_OUT), drain_s=1.0,
        )  # fmt: skip
        return [sys.executable, "-m", WORKER], spec.to_json()

    def ttfts(folder: Path, stdout: bytes) -> list[float]:
        said = [json.loads(line) for line in stdout.splitlines()]
        rows = [r for line in said if line["kind"] == "records" for r in line["records"] if r["complete"]]
        return [(r["first_ns"] - r["sent_ns"]) / 1e6 for r in rows if not r["ramp"]]

    return Client("autotuner", command, ttfts)


def native_whole() -> Client:
    """The same with its parent: records read, written as Parquet, and summed up."""

    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        return [sys.executable, __file__, "--whole", url, str(in_flight), str(requests), str(folder)], b""

    return Client("autotuner + records + summary", command, lambda folder, stdout: [])


def genai_bench(path: str, tokenizer: Path) -> Client:
    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        return [
            path, "benchmark", "--api-backend", "vllm", "--api-base", url, "--api-key", "none",
            "--api-model-name", "mock", "--model-tokenizer", str(tokenizer), "--task", "text-to-text",
            "--max-time-per-run", "15", "--max-requests-per-run", str(requests), "--num-concurrency", str(in_flight),
            "--traffic-scenario", f"D({TOKENS_IN},{TOKENS_OUT})", "--experiment-base-dir", str(folder),
            "--experiment-folder-name", "run",
        ], b""  # fmt: skip

    def ttfts(folder: Path, stdout: bytes) -> list[float]:
        found = [json.loads(f.read_text()) for f in (folder / "run").glob("*_time_*.json")]
        return [m["ttft"] * 1000 for run in found for m in run["individual_request_metrics"] if m.get("ttft")]

    return Client("genai-bench", command, ttfts)


def vllm_bench(path: str, tokenizer: Path) -> Client:
    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        return [
            path, "bench", "serve", "--backend", "openai-chat", "--base-url", url, "--endpoint",
            "/v1/chat/completions", "--model", "mock", "--tokenizer", str(tokenizer), "--dataset-name", "random",
            "--random-input-len", str(TOKENS_IN), "--random-output-len", str(TOKENS_OUT), "--num-prompts",
            str(requests), "--max-concurrency", str(in_flight), "--ignore-eos", "--save-result", "--save-detailed",
            "--result-dir", str(folder), "--result-filename", "result.json",
        ], b""  # fmt: skip

    def ttfts(folder: Path, stdout: bytes) -> list[float]:
        return [t * 1000 for t in json.loads((folder / "result.json").read_text())["ttfts"] if t]

    return Client("vllm bench serve", command, ttfts)


async def whole(url: str, in_flight: int, requests: int, folder: Path) -> None:
    level, scenario = Concurrency(in_flight=in_flight), fixed_scenario(TOKENS_IN, TOKENS_OUT)
    window = make_window(folder, level, scenario=scenario, requests=requests, duration_s=600.0, warmup_s=1.0)
    await NativeBenchmark(NativeSettings()).measure(UrlEndpoint(url), window)


def make_tokenizer(folder: Path) -> Path:
    """A tokenizer folder that other clients can load without a hub."""
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(("?", *WORDS))}, unk_token="?"))  # noqa: S106
    tokenizer.pre_tokenizer = Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "?", "chat_template": "{{ messages }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


# the table


def show(label: str, long: Run, cost: float, base: float | None) -> None:
    ratio = f"{cost / base:8.2f}x" if base else " " * 9
    errors = ""
    if len(long.ttft_ms):
        p50, p99 = (np.percentile(long.ttft_ms, q) - np.percentile(long.truth_ms, q) for q in (50, 99))
        errors = f"{p50:12.3f} {p99:12.3f}"
    print(f"{label:34} {cost:10.1f} {ratio} {errors}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--genai-bench", default=shutil.which("genai-bench"), help="its executable")
    parser.add_argument("--vllm", default=shutil.which("vllm"), help="the vllm executable")
    parser.add_argument("--requests", type=int, default=3000, help="requests of a long run")
    parser.add_argument("--whole", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.whole:
        url, in_flight, requests, folder = args.whole
        asyncio.run(whole(url, int(in_flight), int(requests), Path(folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        binary, tokenizer = Path(name) / "mock", make_tokenizer(Path(name) / "tokenizer")
        subprocess.run(["cc", "-O2", "-o", str(binary), str(HERE / "mock" / "mock.c")], check=True)
        plan = [(native(), 64), (native_whole(), 64)]
        plan += [(genai_bench(args.genai_bench, tokenizer), 64)] if args.genai_bench else []
        plan += [(vllm_bench(args.vllm, tokenizer), 64)] if args.vllm else []
        plan += [(native(), 256)]
        print(f"{'client @ in flight':34} {'CPU us/tok':>10} {'ratio':>9} {'TTFT p50 err':>12} {'p99 err ms':>12}")
        base: float | None = None
        for client, in_flight in plan:
            short = measured(client, binary, in_flight, max(in_flight, args.requests // 6))
            long = measured(client, binary, in_flight, args.requests)
            cost = (long.cpu_s - short.cpu_s) / (long.tokens - short.tokens) * 1e6
            show(f"{client.name} @ {in_flight}", long, cost, base)
            base = base or cost


if __name__ == "__main__":
    main()
