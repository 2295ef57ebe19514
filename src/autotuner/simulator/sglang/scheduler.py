"""SGLang's batching: prefill has priority, in separate batches; a full KV cache sends requests back to the queue.

Admission and retraction follow ``srt/managers/schedule_policy.py`` and ``schedule_batch.py`` of SGLang 0.5.23.
"""

from collections import deque
from random import Random

from autotuner.simulator.config import EngineConfig, Log, cuda_out_of_memory
from autotuner.simulator.request import Request
from autotuner.simulator.scheduler import Scheduler, Step

INIT_RATIO = 0.7
MIN_RATIO_FACTOR = 0.14
DECAY_STEPS = 600
RETRACT_STEPS = 20
CLIP_NEW_TOKENS = 4096
MATCHED_QUEUE = 128
"""With more waiting requests than this, the queue is no longer sorted by cached prefix."""
MODELED_POLICIES = ("fcfs", "lpm", "lof", "random", "shortest-prefill-first")


class SGLangScheduler(Scheduler):
    """One replica of SGLang."""

    def __init__(self, config: EngineConfig, log: Log = lambda _: None) -> None:
        super().__init__(config, log)
        self._first_ratio = min(INIT_RATIO * config.conservativeness, 1.0)
        self._least_ratio = min(self._first_ratio * MIN_RATIO_FACTOR, 1.0)
        self.ratio = self._first_ratio
        """Expected share of the remaining output limit of running requests that will be generated."""
        self._chunked: Request | None = None
        """The request whose prompt is being processed in chunks."""
        self._full = False
        """Whether admission is blocked until a request ends."""
        self._random = Random(0)  # noqa: S311 - a schedule, not a secret
        self._since_prefill = config.decode_interval
        self.micro_batch = config.micro_batch or self.most_per_stage
        """Maximum running requests per pipeline stage; can be changed."""

    @property
    def most_per_stage(self) -> int:
        """The largest useful ``micro_batch``."""
        return max(1, self.config.max_running // self.config.replica.pp)

    @property
    def idle(self) -> bool:
        """See :attr:`Scheduler.idle`."""
        return super().idle and self._chunked is None

    def abort(self, request: Request) -> None:
        """See :meth:`Scheduler.abort`."""
        if request is self._chunked:
            self._chunked = None
        super().abort(request)
        self._full = False

    def next_step(self) -> Step | None:
        """A prefill step if any prompt can be admitted, else one token for every running request."""
        if not self.running or self._since_prefill >= self.config.decode_interval:
            step = self._prefill()
            if step is not None:
                self._since_prefill = 0
                return self.timed(step)
        if not self.running:
            return None
        self._since_prefill += 1
        self._make_room()
        return self.timed(Step(decode=list(self.running))) if self.running else self.next_step()

    # -- prompts ------------------------------------------------------------------------------------------------------

    def _prefill(self) -> Step | None:
        config = self.config
        self._full = self._full and bool(self.running)
        if self._chunked is None and (self._full or not self.waiting):
            return None
        mixed = len(self.running) if config.mixed else 0
        step = Step()
        chunk_left = None if config.chunk is None else config.chunk - mixed
        input_left = config.max_prefill - mixed
        room = self.pool.available - sum(self._expected(r) for r in self.running) - mixed
        if self._chunked is not None:
            used = self._continue_chunk(step, self._chunked, input_left if chunk_left is None else chunk_left)
            input_left = input_left - used
            room = room - used
            chunk_left = None if chunk_left is None else chunk_left - used
        if not self._full:
            self._admit(step, chunk_left, input_left, room)
        if not step.prefill:
            return None
        if config.mixed and self.running:
            self._make_room()
            step.decode = list(self.running)
        return step

    def _continue_chunk(self, step: Step, request: Request, chunk: int) -> int:
        rest = request.length - request.kv
        take = rest if rest <= chunk else chunk // self.config.page * self.config.page
        if not self.pool.grow(request, request.kv + take):
            take = 0
        if take:
            step.prefill.append((request, take))
        if take == rest:
            self._chunked = None
        return take

    def _admit(self, step: Step, chunk_left: int | None, input_left: int, room: float) -> None:
        page = self.config.page
        for request in self._ordered():
            slots = len(self.running) + len(step.prefill)
            if slots >= min(self.config.max_running, self.micro_batch * self.config.replica.pp):
                self._full = True
                return
            if self._chunked is not None or (chunk_left is not None and chunk_left <= 0):
                return
            extend = request.length - self.pool.matched(request)
            if self.pool.paged(extend) + min(request.left, CLIP_NEW_TOKENS) >= room:
                self._full = True
                return
            if step.prefill and input_left <= 0:
                return
            whole = chunk_left is None or extend <= chunk_left
            if chunk_left is None and step.prefill and extend >= input_left:
                return
            take = extend if whole else (chunk_left or 0) // page * page
            if take <= 0:
                return
            before = self.pool.available
            matched = self.pool.begin(request)
            if not self.pool.grow(request, matched + take):
                self.pool.end(request, keep=False)
                self._full = True
                return
            self.waiting.remove(request)
            self._count_prompt(step, request, matched)
            step.prefill.append((request, take))
            room -= before - self.pool.available + (min(request.left, CLIP_NEW_TOKENS) if whole else 0)
            input_left -= take
            chunk_left = None if chunk_left is None else chunk_left - take
            if not whole:
                self._chunked = request

    def _count_prompt(self, step: Step, request: Request, matched: int) -> None:
        step.cached += matched
        if request.retractions == 0:
            request.cached = matched
            self.counters.prompt_tokens += request.prompt_tokens
            self.counters.cached_tokens += matched

    def _ordered(self) -> list[Request]:
        waiting = list(self.waiting)
        policy = self.config.policy
        if policy == "lpm" and len(waiting) <= MATCHED_QUEUE:
            return sorted(waiting, key=lambda r: -self.pool.matched(r))
        if policy == "shortest-prefill-first":
            return sorted(waiting, key=lambda r: r.length - self.pool.matched(r))
        if policy == "lof":
            return sorted(waiting, key=lambda r: -r.max_new)
        if policy == "random":
            self._random.shuffle(waiting)
        return waiting

    def _expected(self, request: Request) -> float:
        ratio = 1.0 if request.ignore_eos else self.ratio
        return min(request.left, CLIP_NEW_TOKENS) * ratio

    # -- decoding -----------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Allocates one more token per request; if the cache is full, retracts those with the least output."""
        if self._needed() <= self.pool.available:
            self.ratio = max(self.ratio - (self._first_ratio - self._least_ratio) / DECAY_STEPS, self._least_ratio)
        else:
            self._retract()
        for request in self.running:
            self.pool.grow(request, request.kv + 1)

    def _needed(self) -> int:
        return sum(self.pool.missing(r, r.kv + 1) for r in self.running)

    def _retract(self) -> None:
        order = sorted(self.running, key=lambda r: (r.generated, -r.prompt_tokens), reverse=True)
        before = self.ratio
        had = self.pool.available
        retracted = list[Request]()
        while len(order) > 1 and (not retracted or self._needed() > self.pool.available):
            request = order.pop()
            self.running.remove(request)
            self.pool.end(request, keep=False)
            request.retractions += 1
            retracted.append(request)
        self.counters.retractions += len(retracted)
        done = sum(r.generated for r in self.running) + RETRACT_STEPS * len(self.running)
        self.ratio = min(1.0, done / (sum(r.max_new for r in self.running) + 1))
        self.log(
            f"KV cache pool is full. Retract requests. #retracted_reqs: {len(retracted)}, #new_tokens_gained: "
            f"{self.pool.available - had}, #new_token_ratio: {before:.4f} -> {self.ratio:.4f}"
        )
        self.waiting = deque([*self.waiting, *retracted])
        self._full = False

    def finish_step(self, step: Step) -> list[Request]:
        """See :meth:`Scheduler.finish_step`."""
        self.counters.steps += 1
        self.counters.decode_steps += not step.prefill
        if not step.running:
            self._full = False  # the new batch becomes the running one, which may have room
        advanced = []
        for request in step.decode:
            if not request.holds:
                continue  # aborted meanwhile
            request.kv += 1
            advanced.append(request)
        for request, take in step.prefill:
            if not request.holds:
                continue
            request.kv += take
            self.pool.share(request)
            if request.kv >= request.length:
                advanced.append(request)
                self.running.append(request)
        for request in advanced:
            self.emitted(request)
            if request.left <= 0:
                self.running.remove(request)
                self.pool.end(request, keep=True)
                self._full = False
        return advanced

    def out_of_memory(self, need_bytes: float, room_bytes: float) -> str:
        """See :meth:`Scheduler.out_of_memory`."""
        error = cuda_out_of_memory(need_bytes, self.config.replica.gpu.memory_gb, room_bytes)
        return (
            "Scheduler hit an exception: Traceback (most recent call last):\n"
            '  File "/sgl-workspace/sglang/python/sglang/srt/managers/scheduler.py", line 6341, in run\n'
            "    scheduler.run_event_loop()\n"
            f"{error}\n\n"
            "SIGQUIT received. signum=None, frame=None. It usually means one child failed."
        )
