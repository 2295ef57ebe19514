"""How exactly a trace is replayed: send times against the truth log of a mock server, and prefix hit rates.

    python benchmarks/replay.py [--trace FILE] [--speeds 1 2 5] [--seconds 30] [--realtime]

The server (C, ``benchmarks/mock/mock.c``) has one core, the load generator another. ``sent`` is how late a request
left by the load generator's own clock, ``begun`` and ``whole`` how late its first and its last byte were at the
server by the server's clock; all in milliseconds after the time that the trace asks for. The hit rate is the share of
the prompt tokens that an unlimited prefix cache answers: of the trace by its block ids, and of the words that are
sent by a radix cache. Without ``--trace``, the trace is synthetic: 40 requests per second on average, in bursts, with
conversations and shared prefixes. On a machine with other work, ``--realtime`` (as root) gives both processes
priority over it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.loadgen.replay_prompts import ReplayFactory
from autotuner.benchmarks.loadgen.spec import Calibration, WorkerSpec
from autotuner.benchmarks.measuring.traces.trace_part import Part, read_part
from autotuner.benchmarks.measuring.traces.trace_replay import replay_window
from autotuner.benchmarks.native import WORKER
from autotuner.simulator.prefix_cache import PrefixCache
from autotuner.study.workload import TracePart, TraceSpeed, Workload
from autotuner.testing.benchmark_kit import fixed_scenario
from loadgen import HERE, server

RATE = 40
SAMPLES = (0.5, 0.2, 0.1, 0.05)
Floats = NDArray[np.float64]


@dataclass
class Run:
    """How late the requests of one replay were, in milliseconds."""

    sent_ms: Floats
    begun_ms: Floats
    whole_ms: Floats
    cpu_cores: float


def synthetic(path: Path, seconds: float) -> None:
    """A trace in Mooncake's format."""
    rng = Random(1)
    talks: list[list[int]] = []
    blocks = 0
    at_s = 0.0
    with path.open("w") as file:
        while at_s < seconds:
            at_s += rng.gammavariate(0.3, 1 / (0.3 * RATE))
            ids = rng.choice(talks[-200:])[:-1] if talks and rng.random() < 0.4 else [0] * (rng.random() < 0.7)
            for _ in range(rng.randint(1, 8)):
                blocks += 1
                ids.append(blocks)
            talks.append(ids)
            length = 512 * (len(ids) - 1) + rng.randint(1, 512)
            row = {"timestamp": round(at_s * 1000), "input_length": length, "output_length": rng.randint(1, 60)}
            file.write(json.dumps({**row, "hash_ids": ids}) + "\n")


def spec_of(part: TracePart, speed: float, url: str) -> WorkerSpec:
    workload = Workload(scenarios=(fixed_scenario(1, 1),), levels=(TraceSpeed(speed=speed),), warmup_s=0.0)
    window = replay_window(part, speed, workload, drain_s=5.0)
    return WorkerSpec(
        url=url,
        model="mock",
        rate=window.rate,
        duration_s=window.duration_s,
        warmup_s=0.0,
        drain_s=5.0,
        replay=window.replay,
    )


def pinned(core: int, realtime: bool) -> list[str]:
    return ["taskset", "-c", str(core), *(["chrt", "-f", "10"] if realtime else [])]


def replayed(part: TracePart, speed: float, binary: Path, realtime: bool) -> Run:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(binary, folder, pinned(0, realtime)) as (url, truth):
            spec = spec_of(part, speed, url)
            argv = [*pinned(1, realtime), sys.executable, "-m", WORKER]
            done = subprocess.run(argv, input=spec.to_json(), capture_output=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode or not lines or lines[-1]["kind"] != "result":
            sys.exit(f"the load generator failed:\n{done.stdout[-2000:]!r}\n{done.stderr.decode()[-2000:]}")
        log = np.loadtxt(truth, ndmin=2, dtype=np.int64)
    begin = next(line["monotonic_ns"] for line in lines if line["kind"] == "window")
    records = [record for line in lines if line["kind"] == "records" for record in line["records"]]
    sent = np.array([record["lag_ns"] - record["connect_ns"] for record in records]) / 1e6
    begun, whole = (arrived(records, begin, log[:, [0, column]]) for column in (5, 1))
    return Run(sent, begun, whole, lines[-1]["client_cpu_cores"])


def arrived(records: list[dict[str, Any]], begin_ns: int, log: NDArray[np.int64]) -> Floats:
    """Requests are distinguished by their length; those of the same length by their order."""
    wanted: dict[int, list[int]] = defaultdict(list)
    seen: dict[int, list[int]] = defaultdict(list)
    for record in records:
        wanted[record["asked_input"]].append(begin_ns + record["scheduled_ns"])
    for prompt, moment in log.tolist():
        seen[prompt].append(moment)
    late = [
        (there - due) / 1e6
        for length, times in wanted.items()
        if len(seen[length]) == len(times)
        for due, there in zip(sorted(times), sorted(seen[length]), strict=True)
    ]
    return np.array(late)


def sent_hit_rate(part: Part, spec: WorkerSpec) -> float:
    """By a radix cache over the words that are sent."""
    factory = ReplayFactory(spec, Calibration(((0, 0), (1, 1))), "h")
    cache = PrefixCache()
    numbers: dict[str, int] = {}
    hits = total = 0
    for index in range(part.requests):  # prompts are numbered from the warm-up on, and this replay has none
        words = factory.prompt(index).split(" ")
        tokens = np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.uint32).tobytes()
        hits += cache.match(tokens)[1]
        total += len(words)
        cache.insert(tokens)
    return hits / total


def figures(values: Floats) -> str:
    p50, p99, most = (np.percentile(values, q) for q in (50, 99, 100))
    return f"{p50:16.3f} {p99:7.3f} {most:7.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trace", help="replay this trace")
    parser.add_argument("--speeds", type=float, nargs="+", default=[1, 2, 5])
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each replay")
    parser.add_argument("--realtime", action="store_true", help="run client and server before all other processes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        binary = Path(name) / "mock"
        subprocess.run(["cc", "-O2", "-o", str(binary), str(HERE / "mock" / "mock.c")], check=True)
        path = Path(args.trace) if args.trace else Path(name) / "trace.jsonl"
        if not args.trace:
            synthetic(path, args.seconds * max(args.speeds))
        heads = "".join(f"{what:>12} p50 {'p99':>7} {'max':>7}" for what in ("sent", "begun", "whole"))
        print(f"{'speed':>6} {'requests/s':>10} {'requests':>9}{heads} {'cores':>6}")
        for speed in args.speeds:
            part = TracePart(file=str(path), end_s=args.seconds * speed)
            run = replayed(part, speed, binary, args.realtime)
            rate = len(run.sent_ms) / args.seconds
            shown = "".join(figures(values) for values in (run.sent_ms, run.begun_ms, run.whole_ms))
            print(f"{speed:6g} {rate:10.1f} {len(run.sent_ms):9}{shown} {run.cpu_cores:6.2f}", flush=True)
        whole = TracePart(file=str(path))
        found = read_part(whole)
        print(f"\nhit rate of the trace {found.hit_rate:.4f}", end="")
        if any(found.trace.blocks):
            print(f", of the prompts that are sent {sent_hit_rate(found, spec_of(whole, 1, 'http://h')):.4f}", end="")
        print()
        for share in SAMPLES:
            sample = read_part(whole.replaced(sample=share))
            print(f"  sample of {share:4.0%}: {sample.requests:6} requests, hit rate {sample.hit_rate:.4f}")


if __name__ == "__main__":
    main()
