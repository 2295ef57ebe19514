"""What the quality check rejects: on real llama.cpp servers, and in simulation with the noise of batches.

    python benchmarks/quality_gate.py real [--repeats 10]
    python benchmarks/quality_gate.py simulated [--draws 1000] [--jobs 2]
    python benchmarks/quality_gate.py tasks [--draws 10000]

The real part compares servers of one generated model (``quality_models.py``) with the default, as a trial does: the
same server again, quantized KV caches, other weight formats, and keys and values with wrong scales. The simulated part
draws identical servers with different amounts of noise between requests, and servers with errors of their own. The part
on tasks draws scores of one task: a tenth of the items are solved by chance in every run, and a worse server fails at a
further share of the others.
"""

import argparse
import asyncio
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from autotuner.benchmarks.quality.probe import METHODS, Probe
from autotuner.benchmarks.quality.prompts import prompts
from autotuner.net.target import Target
from autotuner.scoring.accuracy import compare_tasks, least_drop, worse
from autotuner.scoring.agreement import judge, quality_violation
from autotuner.study.quality.answers import Reference
from autotuner.study.quality.result import QualityResult
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.quality.tasks import TaskRun, TaskScores
from autotuner.testing.toy_model import ToyModel
from quality_models import write_model

SPEC = QualitySpec()
IN_FLIGHT = 4
DRAWN_PROMPTS = 16
DRAWN_TOKENS = 16
TITLES = "| configuration | checks | rejected | agreement (control) | KL (control) | excess KL, at least | seconds |"


class Arm(NamedTuple):
    """One configuration of the real part."""

    title: str
    weights: str = "f16"
    kv_scale: float = 1.0
    args: Sequence[str] = ()


ARMS = (
    Arm("the same server"),
    Arm("ubatch-size 64 instead of 512", args=("--ubatch-size", "64")),
    Arm("KV cache q8_0", args=("--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--flash-attn", "on")),
    Arm("KV cache q4_0", args=("--cache-type-k", "q4_0", "--cache-type-v", "q4_0", "--flash-attn", "on")),
    Arm("weights q8_0", "q8_0"),
    Arm("weights q4_0", "q4_0"),
    Arm("weights q3_K", "q3_K"),
    Arm("keys and values times 2", kv_scale=2.0),
    Arm("keys and values times 0.5", kv_scale=0.5),
)


@contextmanager
def server(model: Path, args: Sequence[str]) -> Iterator[Target]:
    """A llama.cpp server, ended with the context."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "autotuner.engines.llama_cpp.server", "--model", str(model), "--port", str(port)]
    command += ["--ctx-size", "4096", "--parallel", str(IN_FLIGHT), "--threads", "1", *args]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                if process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(log.read().decode(errors="replace")[-2000:])
                try:
                    with urllib.request.urlopen(f"{url}/health", timeout=1):  # noqa: S310 - our own address
                        break
                except OSError:
                    time.sleep(0.1)
            yield Target(url)
        finally:
            process.terminate()
            process.wait()


def probe(target: Target) -> Probe:
    """As the trial of a study with the default settings."""
    asked = prompts(SPEC.prompts)
    return Probe(target, "m", asked, tokens=SPEC.tokens, in_flight=IN_FLIGHT, limit_s=SPEC.time_limit_s)


def row(title: str, found: Sequence[QualityResult]) -> str:
    """One line of the table: counts over all checks, figures of the first one."""
    rejected = sum(quality_violation(result, SPEC) is not None for result in found)
    first = found[0]
    if first.candidate is None or first.control is None or first.kl is None:
        return f"| {title} | {len(found)} | {rejected} | {first.why} | | | |"
    return (
        f"| {title} | {len(found)} | {rejected} | {first.candidate.agreement:.1%} ({first.control.agreement:.1%}) | "
        f"{first.candidate.kl:.2g} ({first.control.kl:.2g}) | {first.kl.low:.2g} | {first.seconds:.0f} |"
    )


def real(repeats: int) -> None:
    """Launches the default and every arm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            (arm.weights, arm.kv_scale): write_model(
                folder / f"{arm.weights}-{arm.kv_scale}.gguf", arm.weights, kv_scale=arm.kv_scale
            )
            for arm in ARMS
        }
        with server(files["f16", 1.0], ()) as target:
            reference = asyncio.run(probe(target).reference())
        method = next(m for m in METHODS if m.text == reference.full.method)
        sys.stdout.write(f"asked by {method.text}\n{TITLES}\n|---|---|---|---|---|---|---|\n")
        for arm in ARMS:
            found = []
            for _ in range(repeats):
                with server(files[arm.weights, arm.kv_scale], arm.args) as target:
                    found.append(judge(reference, asyncio.run(probe(target).answers(method))))
            sys.stdout.write(row(arm.title, found) + "\n")
            sys.stdout.flush()


class Case(NamedTuple):
    """One kind of simulated candidate."""

    title: str
    noise: float
    error: float = 0.0


CASES = (
    Case("identical, no noise", 0.0),
    Case("identical, noise 0.02", 0.02),
    Case("identical, noise 0.1", 0.1),
    Case("identical, noise 0.3", 0.3),
    Case("coarser: error 0.1", 0.05, 0.1),
    Case("error 0.3", 0.05, 0.3),
    Case("error 0.5", 0.05, 0.5),
    Case("error 2 (as broken scales)", 0.05, 2.0),
)


def draw(case: Case, seed: int) -> QualityResult:
    """One check of a simulated candidate; the noise of every request differs."""
    source = Random(f"{case.title} {seed}")
    default = ToyModel(noise=case.noise)
    other = ToyModel(noise=case.noise, error=case.error, server=str(seed))
    full, alone, shuffled = (default.answers(DRAWN_PROMPTS, DRAWN_TOKENS, source) for _ in range(3))
    candidate = other.answers(DRAWN_PROMPTS, DRAWN_TOKENS, source)
    return judge(Reference(full=full, controls=(alone, shuffled)), candidate)


def counted(job: tuple[Case, Sequence[int]]) -> tuple[int, int, QualityResult]:
    """Rejections by the bounds, and by bounds of zero, and the first result."""
    case, seeds = job
    found = [draw(case, seed) for seed in seeds]
    over = sum(quality_violation(result, SPEC) is not None for result in found)
    above = sum(any(e is not None and e.low > 0 for e in (f.disagreement, f.kl)) for f in found)
    return over, above, found[0]


def simulated(draws: int, jobs: int) -> None:
    """Prints how often each kind of candidate is rejected."""
    sys.stdout.write("| candidate | draws | rejected | above zero | agreement (control) | KL (control) |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    with ProcessPoolExecutor(jobs) as pool:
        for case in CASES:
            count = draws if case.noise and not case.error else max(1, draws // 10)
            parts = list(pool.map(counted, [(case, range(n, count, jobs * 4)) for n in range(min(count, jobs * 4))]))
            over, above = (sum(part[i] for part in parts) for i in range(2))
            own = parts[0][2].candidate
            control = parts[0][2].control
            if own is None or control is None:
                raise RuntimeError("not compared")
            figures = f"{own.agreement:.1%} ({control.agreement:.1%}) | {own.kl:.2g} ({control.kl:.2g})"
            sys.stdout.write(f"| {case.title} | {count} | {over} | {above} | {figures} |\n")
            sys.stdout.flush()


ITEMS = (200, 1000)
SOLVED = 0.6
BY_CHANCE = 0.1
DROPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15)
LIMITS = (0.0, 0.02)
ONE_TASK = QualitySpec(tasks=TasksSpec(names=("t",))).level(engines=False)


def scores(items: int, drop: float, source: Random) -> TaskRun:
    """Scores of a server whose accuracy is ``drop`` lower than that of the default."""
    found = {}
    for n in range(items):
        place = (n + 0.5) / items
        fixed = place >= BY_CHANCE
        solved = BY_CHANCE <= place < BY_CHANCE + SOLVED - BY_CHANCE / 2
        lost = solved and source.random() < drop / (SOLVED - BY_CHANCE / 2)
        found[str(n)] = float(solved and not lost if fixed else source.random() < 0.5)
    return TaskRun(tasks=(TaskScores(name="t", metric="acc,none", scores=found),))


def tasks(draws: int) -> None:
    """Prints how often a server is rejected for its accuracy in one task."""
    sys.stdout.write("| items | limit | " + " | ".join(f"drop {d:.0%}" for d in DROPS) + " | smallest drop shown |\n")
    sys.stdout.write("|---|---|" + "---|" * (len(DROPS) + 1) + "\n")
    for items in ITEMS:
        count = max(1, draws * ITEMS[0] // items)
        for limit in LIMITS:
            shares = []
            for drop in DROPS:
                source = Random(f"{items} {limit} {drop}")
                found = (
                    compare_tasks(["t"], scores(items, 0.0, source), scores(items, drop, source), ONE_TASK)[0]
                    for _ in range(count)
                )
                shares.append(sum(worse(one, limit, ONE_TASK) for one in found) / count)
            least = least_drop(items, limit, ONE_TASK)
            cells = " | ".join(f"{share:.2%}" for share in shares)
            sys.stdout.write(f"| {items} | {limit:.0%} | {cells} | {least:.1%} |\n")
            sys.stdout.flush()


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="What the quality check rejects.")
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("real").add_argument("--repeats", type=int, default=10)
    drawn = parts.add_parser("simulated")
    drawn.add_argument("--draws", type=int, default=1000)
    drawn.add_argument("--jobs", type=int, default=2)
    parts.add_parser("tasks").add_argument("--draws", type=int, default=10_000)
    options = parser.parse_args()
    if options.part == "real":
        real(options.repeats)
    elif options.part == "tasks":
        tasks(options.draws)
    else:
        simulated(options.draws, options.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
