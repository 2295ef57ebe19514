"""Batching on a virtual clock: effects of the flags on throughput and latency, and conservation of tokens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import MODELS
from autotuner.predict.roofline import GIB, Replica
from autotuner.simulator.config import EngineConfig, EngineExitError
from autotuner.simulator.request import Request, token_ids
from autotuner.simulator.scheduler import Scheduler, Step
from autotuner.simulator.sglang.scheduler import SGLangScheduler
from autotuner.simulator.vllm.scheduler import VllmScheduler

REPLICA = Replica(model=MODELS["Llama-3.1-8B"], gpu=gpu_named("H100"))
SGLANG = EngineConfig(
    model_path="m",
    served_name="m",
    host="",
    port=0,
    replica=REPLICA,
    replicas=1,
    context=131072,
    kv_tokens=400_000,
    page=1,
    max_running=2048,
    max_prefill=16384,
    chunk=8192,
    prefix_cache=True,
    decode_graph_max=256,
    prefill_graph_max=8192,
    overlap=True,
)
VLLM = replace(SGLANG, page=16, max_prefill=8192, max_running=1024)
Kind = Callable[[EngineConfig], Scheduler]
BOTH = pytest.mark.parametrize(("kind", "config"), [(SGLangScheduler, SGLANG), (VllmScheduler, VLLM)])
_UNIQUE = count()


def request(prompt: int, new: int, *, shared: int = 0, ignore_eos: bool = True) -> Request:
    """A unique prompt after ``shared`` common words."""
    own = next(_UNIQUE)
    words = [*(f"shared{i}" for i in range(shared)), *(f"own{own}-{i}" for i in range(prompt - shared))]
    return Request(token_ids(words), new, ignore_eos=ignore_eos)


@dataclass
class Run:
    """The result of a run."""

    seconds: float = 0.0
    tokens: int = 0
    steps: list[Step] = field(default_factory=list)
    first: dict[Request, float] = field(default_factory=dict)
    last: dict[Request, float] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        return self.tokens / self.seconds

    @property
    def ttft(self) -> float:
        return sum(self.first.values()) / len(self.first)

    @property
    def worst_gap(self) -> float:
        return max(s.seconds for s in self.steps)

    def tpot(self, new: int) -> float:
        return sum((self.last[n] - self.first[n]) / (new - 1) for n in self.first) / len(self.first)


def run(scheduler: Scheduler, requests: Iterable[Request], *, in_flight: int = 10**9) -> Run:
    """Serves the requests, ``in_flight`` at a time, as a closed loop does; latencies count from the submission."""
    waiting = list(requests)
    done = Run()
    sent = dict[Request, float]()
    active = 0
    while waiting or not scheduler.idle:
        while waiting and active < in_flight:
            made = waiting.pop(0)
            sent[made] = done.seconds
            scheduler.add(made)
            active += 1
        step = scheduler.next_step()
        assert step is not None, "requests wait and nothing happens"
        assert scheduler.pool.free >= 0
        done.seconds += step.seconds
        done.steps.append(step)
        for got in scheduler.finish_step(step):
            done.tokens += 1
            done.first.setdefault(got, done.seconds - sent[got])
            done.last[got] = done.seconds - sent[got]
            active -= got.left <= 0
    return done


def held(scheduler: Scheduler) -> int:
    """All tokens of the KV cache, free or in use."""
    tree = scheduler.pool.tree
    private = sum(r.private for r in scheduler.running)
    chunked = getattr(scheduler, "_chunked", None)
    return scheduler.pool.free + private + (chunked.private if chunked else 0) + (tree.size if tree else 0)


def test_micro_batches_limit_what_runs_at_once() -> None:
    config = replace(SGLANG, replica=REPLICA.model_copy(update={"pp": 2}))
    scheduler = SGLangScheduler(config)
    assert scheduler.micro_batch == 1024

    def most() -> int:
        return max(len(step.decode) for step in run(scheduler, [request(200, 20) for _ in range(32)]).steps)

    assert most() == 32
    scheduler.micro_batch = 3
    assert most() == 6


@BOTH
def test_throughput_rises_with_the_batch(kind: Kind, config: EngineConfig) -> None:
    found = [
        run(kind(config), [request(200, 100) for _ in range(3 * n)], in_flight=n).throughput for n in (1, 4, 16, 64)
    ]
    assert found == sorted(found)
    assert found[-1] > 10 * found[0]


@BOTH
def test_throughput_stops_rising_at_the_kv_limit(kind: Kind, config: EngineConfig) -> None:
    small = replace(config, kv_tokens=8 * 320)
    found = [
        run(kind(small), [request(200, 100) for _ in range(3 * n)], in_flight=n).throughput for n in (4, 8, 16, 64)
    ]
    assert found[1] > 1.5 * found[0]
    assert found[3] < 1.15 * found[1]


@BOTH
def test_one_request_at_a_time_has_the_best_tpot_and_the_worst_throughput(kind: Kind, config: EngineConfig) -> None:
    found = {
        most: run(kind(replace(config, max_running=most)), [request(200, 50) for _ in range(64)], in_flight=32)
        for most in (1, 8, 32)
    }
    assert found[1].tpot(50) < found[8].tpot(50) < found[32].tpot(50)
    assert found[1].throughput < found[8].throughput < found[32].throughput


def test_a_small_chunk_raises_ttft_and_lowers_the_longest_gap() -> None:
    def measured(chunk: int | None, *, mixed: bool = False) -> Run:
        scheduler = SGLangScheduler(replace(SGLANG, chunk=chunk, mixed=mixed))
        return run(scheduler, [request(8000, 20) for _ in range(24)], in_flight=8)

    whole = measured(8192)
    small = measured(512)
    assert small.ttft > whole.ttft
    assert small.worst_gap < whole.worst_gap / 4
    assert measured(None).worst_gap >= whole.worst_gap
    assert any(step.prefill and step.decode for step in measured(512, mixed=True).steps)
    assert not any(step.prefill and step.decode for step in small.steps)


def test_vllm_decodes_during_prefill_and_sglang_does_not() -> None:
    work = [request(4000, 30) for _ in range(16)]
    both = [s for s in run(VllmScheduler(VLLM), work, in_flight=4).steps if s.prefill and s.decode]
    assert both
    assert all(s.new_tokens + len(s.decode) <= VLLM.max_prefill for s in both)


def test_a_small_token_budget_of_vllm_raises_ttft_and_lowers_the_longest_gap() -> None:
    def measured(budget: int) -> Run:
        config = replace(VLLM, max_prefill=budget, chunk=budget)
        return run(VllmScheduler(config), [request(4000, 30) for _ in range(24)], in_flight=8)

    small = measured(512)
    large = measured(8192)
    assert small.ttft > large.ttft
    assert small.worst_gap < large.worst_gap / 4


@BOTH
def test_a_shared_prefix_is_computed_once(kind: Kind, config: EngineConfig) -> None:
    def measured(*, cache: bool) -> tuple[Run, Scheduler]:
        scheduler = kind(replace(config, prefix_cache=cache))
        return run(scheduler, [request(1000, 10, shared=900) for _ in range(20)], in_flight=1), scheduler

    (kept, scheduler), (lost, _) = measured(cache=True), measured(cache=False)
    assert kept.ttft < 0.6 * lost.ttft
    saved = 900 - 900 % config.page
    assert scheduler.counters.cached_tokens == 19 * saved
    assert sum(s.new_tokens for s in kept.steps) == 20 * 1000 - 19 * saved


@BOTH
def test_the_next_turn_reuses_the_last_output(kind: Kind, config: EngineConfig) -> None:
    scheduler = kind(replace(config, page=1))
    first = request(100, 50)
    run(scheduler, [first])
    turn = Request(first.tokens() + token_ids(["and", "then"]), 5)
    run(scheduler, [turn])
    assert turn.cached == 149, "the last generated token has no keys and values yet"


def test_longest_prefix_first_saves_more_than_first_come_first_served() -> None:
    def saved(policy: str) -> int:
        scheduler = SGLangScheduler(replace(SGLANG, policy=policy, max_running=1, kv_tokens=1300))
        groups = [[f"group{g}-{i}" for i in range(500)] for g in range(4)]
        work = [Request(token_ids([*groups[i % 4], f"own{i}"]), 4, ignore_eos=True) for i in range(32)]
        run(scheduler, work)
        return scheduler.counters.cached_tokens

    assert saved("lpm") > 2 * saved("fcfs")


def test_longest_output_first() -> None:
    scheduler = SGLangScheduler(replace(SGLANG, policy="lof", max_running=1))
    short = request(10, 5)
    long = request(10, 50)
    done = run(scheduler, [short, long])
    assert done.first[long] < done.first[short]


def test_low_conservativeness_admits_and_retracts_more() -> None:
    def measured(conservativeness: float) -> tuple[int, int]:
        config = replace(SGLANG, conservativeness=conservativeness, kv_tokens=6000, prefix_cache=False)
        scheduler = SGLangScheduler(config)
        done = run(scheduler, [request(100, 400, ignore_eos=False) for _ in range(40)])
        return max(len(s.decode) for s in done.steps), scheduler.counters.retractions

    bold = measured(0.1)
    careful = measured(1.4)
    assert bold[0] > careful[0]
    assert bold[1] > careful[1]


def test_a_full_cache_is_logged_and_every_output_is_complete() -> None:
    logged: list[str] = []
    config = replace(SGLANG, conservativeness=0.1, kv_tokens=3000)
    work = [request(100, 400, ignore_eos=False) for _ in range(20)]
    done = run(SGLangScheduler(config, logged.append), work)
    assert any(line.startswith("KV cache pool is full. Retract requests. #retracted_reqs: ") for line in logged)
    assert done.tokens == 20 * 400


def test_vllm_preempts_the_youngest_and_completes_all() -> None:
    scheduler = VllmScheduler(replace(VLLM, kv_tokens=3200))
    done = run(scheduler, [request(100, 400) for _ in range(20)])
    assert scheduler.counters.retractions > 0
    assert done.tokens == 20 * 400


def test_without_graphs_decoding_is_slower() -> None:
    work = lambda: [request(50, 50) for _ in range(8)]  # noqa: E731
    graphs, eager = (run(SGLangScheduler(replace(SGLANG, decode_graph_max=n)), work()) for n in (256, 4))
    assert eager.tpot(50) > 1.2 * graphs.tpot(50)
    assert not any(s.graph for s in eager.steps if not s.prefill)


def test_without_overlap_every_step_is_longer() -> None:
    work = lambda: [request(50, 50) for _ in range(64)]  # noqa: E731
    hidden, shown = (run(SGLangScheduler(replace(SGLANG, overlap=o)), work()) for o in (True, False))
    assert shown.seconds > hidden.seconds


def test_missing_activation_memory_ends_the_engine_only_under_load() -> None:
    room = REPLICA.activation_bytes(2000, 1)
    small = SGLangScheduler(replace(SGLANG, room_bytes=room))
    run(small, [request(1000, 5)])
    with pytest.raises(EngineExitError, match="SIGQUIT received") as raised:
        run(SGLangScheduler(replace(SGLANG, room_bytes=room)), [request(1000, 5) for _ in range(8)])
    assert "CUDA out of memory. Tried to allocate" in raised.value.lines
    assert raised.value.exit_code == -9
    assert room < 1 * GIB


@BOTH
@given(
    sizes=st.lists(st.tuples(st.integers(1, 120), st.integers(1, 60), st.integers(0, 3)), min_size=1, max_size=25),
    page=st.sampled_from([1, 4, 16]),
    chunk=st.sampled_from([16, 64, 4096]),
    kv=st.integers(260, 900),
    most=st.integers(1, 12),
    mixed=st.booleans(),
    cache=st.booleans(),
    policy=st.sampled_from(["fcfs", "lpm", "lof", "random", "shortest-prefill-first"]),
    aborted=st.sets(st.integers(0, 24), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_every_output_is_complete_and_no_cache_token_is_lost(
    kind: Kind,
    config: EngineConfig,
    sizes: list[tuple[int, int, int]],
    page: int,
    chunk: int,
    kv: int,
    most: int,
    mixed: bool,
    cache: bool,
    policy: str,
    aborted: set[int],
) -> None:
    changed = replace(
        config,
        page=page,
        chunk=chunk,
        max_prefill=max(chunk, most),
        kv_tokens=kv,
        max_running=most,
        mixed=mixed,
        prefix_cache=cache,
        policy=policy,
        conservativeness=0.2,
    )
    scheduler = kind(changed)
    work = [Request(token_ids([f"group{g}-{i}" for i in range(p)]), n, ignore_eos=bool(g % 2)) for p, n, g in sizes]
    for made in work:
        scheduler.add(made)
    for number in range(100_000):
        step = scheduler.next_step()
        if step is None:
            break
        for index in aborted & {number} & set(range(len(work))):
            if work[index].left > 0:
                scheduler.abort(work[index])
                work[index].max_new = work[index].generated
        scheduler.finish_step(step)
        assert held(scheduler) == scheduler.pool.total
        assert len(scheduler.running) <= most
        assert 0 <= scheduler.pool.free <= scheduler.pool.total
    assert scheduler.idle
    assert all(made.generated == made.max_new for made in work)
    assert held(scheduler) == scheduler.pool.total
    assert scheduler.pool.used == 0
