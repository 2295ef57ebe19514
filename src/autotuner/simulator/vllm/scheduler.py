"""vLLM's batching: one token budget per step; running requests first, then prompt chunks.

A full KV cache preempts the youngest request. Follows ``v1/core/sched/scheduler.py`` of vLLM 0.32.0.
"""

from autotuner.simulator.config import cuda_out_of_memory
from autotuner.simulator.request import Request
from autotuner.simulator.scheduler import Scheduler, Step


class VllmScheduler(Scheduler):
    """One replica of vLLM."""

    def next_step(self) -> Step | None:
        """Plans as many tokens as the budget allows."""
        if self.idle:
            return None
        step = Step()
        budget, preempted = self._running(step)
        if not preempted:
            self._waiting(step, budget)
        if step.prefill or step.decode:
            return self.timed(step)
        return self.next_step() if preempted else None

    def _running(self, step: Step) -> tuple[int, bool]:
        budget = self.config.max_prefill
        preempted = False
        index = 0
        while index < len(self.running) and budget > 0:
            request = self.running[index]
            rest = request.length - request.kv
            take = min(rest, budget, self.config.chunk or rest) if rest > 1 else rest
            while not self.pool.grow(request, request.kv + take):
                preempted = True
                victim = self.running.pop()
                self._preempt(victim)
                if victim is request:
                    return budget, True
            index += 1
            if request.generated and rest == 1:
                step.decode.append(request)
            else:
                step.prefill.append((request, take))
            budget -= take
        return budget, preempted

    def _preempt(self, request: Request) -> None:
        self.pool.end(request, keep=True)
        request.retractions += 1
        self.counters.retractions += 1
        self.waiting.appendleft(request)

    def _waiting(self, step: Step, budget: int) -> None:
        chunked = self.config.chunk is not None
        while self.waiting and budget > 0 and len(self.running) < self.config.max_running:
            request = self.waiting[0]
            rest = request.length - self.pool.matched(request)
            if not chunked and rest > budget:
                return
            take = min(rest, budget, self.config.chunk or rest)
            matched = self.pool.begin(request)
            if not self.pool.grow(request, request.kv + take):
                self.pool.end(request, keep=False)
                return
            self.waiting.popleft()
            self.running.append(request)
            step.cached += matched
            if request.retractions == 0:
                request.cached = matched
                self.counters.prompt_tokens += request.prompt_tokens
                self.counters.cached_tokens += matched
            step.prefill.append((request, take))
            budget -= take

    def finish_step(self, step: Step) -> list[Request]:
        """See :meth:`Scheduler.finish_step`."""
        self.counters.steps += 1
        self.counters.decode_steps += not step.prefill
        advanced = []
        for request, take in (*step.prefill, *((r, 1) for r in step.decode)):
            if not request.holds:
                continue  # aborted meanwhile
            request.kv += take
            if take > 1:
                self.pool.share(request)
            if request.kv >= request.length:
                advanced.append(request)
        for request in advanced:
            self.emitted(request)
            if request.left <= 0:
                self.running.remove(request)
                self.pool.end(request, keep=True)
        return advanced

    def out_of_memory(self, need_bytes: float, room_bytes: float) -> str:
        """Never called: memory for activations is measured at startup."""
        return cuda_out_of_memory(need_bytes, self.config.replica.gpu.memory_gb, room_bytes)
