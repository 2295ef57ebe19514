"""Log lines, endpoints, errors and metrics of vLLM."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.simulator.config import EngineConfig
from autotuner.simulator.engine_loop import EngineLoop
from autotuner.simulator.flavor import Flavor
from autotuner.simulator.metrics import sample, samples
from autotuner.simulator.openai_api import ApiRequest, BadRequestError
from autotuner.simulator.scheduler import Scheduler, Step
from autotuner.simulator.vllm import start as vllm_start
from autotuner.simulator.vllm.scheduler import VllmScheduler

_LOG_EVERY_S = 10.0


class VllmFlavor(Flavor):
    """vLLM."""

    name = "vllm"
    version = vllm_start.VERSION
    _last_log = 0.0
    _last = (0, 0)

    def start(self, given: Mapping[str, Any]) -> EngineConfig:
        """See :meth:`Flavor.start`."""
        return vllm_start.VllmStart(given, self.simulation, self.log).run()

    def scheduler(self, config: EngineConfig) -> Scheduler:
        """See :meth:`Flavor.scheduler`."""
        return VllmScheduler(config, self.log)

    def ready(self, config: EngineConfig) -> None:
        """See :meth:`Flavor.ready`."""
        self._last_log = time.monotonic()
        self.log(f"Starting vLLM server on http://{config.host}:{config.port}")
        self.log(f"Started server process [{os.getpid()}]")
        self.log("Waiting for application startup.")
        self.log("Application startup complete.")

    def on_step(self, loop: EngineLoop, step: Step) -> None:
        """One line every ten seconds."""
        now = time.monotonic()
        if now - self._last_log < _LOG_EVERY_S:
            return
        counters = loop.scheduler.counters
        scheduler = loop.scheduler
        passed = now - self._last_log
        prompt = (counters.prompt_tokens - self._last[0]) / passed
        generated = (counters.generated_tokens - self._last[1]) / passed
        self._last_log = now
        self._last = (counters.prompt_tokens, counters.generated_tokens)
        hit = 100 * counters.cached_tokens / max(1, counters.prompt_tokens)
        self.log(
            f"Engine 000: Avg prompt throughput: {prompt:.1f} tokens/s, Avg generation throughput: {generated:.1f} "
            f"tokens/s, Running: {len(scheduler.running)} reqs, Waiting: {len(scheduler.waiting)} reqs, GPU KV cache "
            f"usage: {100 * scheduler.pool.used / max(1, scheduler.pool.total):.1f}%, Prefix cache hit rate: {hit:.1f}%"
        )

    def limited(self, request: ApiRequest, config: EngineConfig) -> int:
        """Refuses other models, and prompts and outputs longer than the context."""
        if request.model and request.model != config.served_name:
            raise BadRequestError(f"The model `{request.model}` does not exist.", param="model", status=404)
        prompt = request.prompt_tokens
        most = config.context
        if prompt >= most:
            raise BadRequestError(
                f"This model's maximum context length is {most} tokens. However, your prompt contains {prompt} input "
                "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the "
                "input prompt.",
                param="input_tokens",
            )
        if request.max_new is not None and prompt + request.max_new > most:
            raise BadRequestError(
                f"This model's maximum context length is {most} tokens. However, you requested {request.max_new} "
                f"output tokens and your prompt contains {prompt} input tokens, for a total of "
                f"{prompt + request.max_new} tokens. Please reduce the length of the input prompt or "
                "the number of requested output tokens.",
                param="max_tokens",
            )
        return min(request.output_tokens, most - prompt)

    def error(self, error: BadRequestError) -> dict[str, Any]:
        """See :meth:`Flavor.error`."""
        kind = {404: "NotFoundError", 401: "Unauthorized"}.get(error.status, "BadRequestError")
        return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.status}}

    def info(self, path: str, config: EngineConfig, loops: Sequence[EngineLoop]) -> dict[str, Any] | None:
        """Only ``/version``."""
        return {"version": self.version, "simulated": True} if path == "/version" else None

    def metrics(self, config: EngineConfig, loops: Sequence[EngineLoop]) -> str | None:
        """Always enabled."""
        labels = {"model_name": config.served_name}
        schedulers = [loop.scheduler for loop in loops]
        counters = [s.counters for s in schedulers]
        cache = {k: str(v) for k, v in config.resolved.items() if not k.startswith("max_")}
        gauges: dict[str, list[float]] = {
            "num_requests_running": [len(s.running) for s in schedulers],
            "num_requests_waiting": [len(s.waiting) for s in schedulers],
            "kv_cache_usage_perc": [s.pool.used / max(1, s.pool.total) for s in schedulers],
        }
        counted: dict[str, list[float]] = {
            "prefix_cache_queries_total": [c.prompt_tokens for c in counters],
            "prefix_cache_hits_total": [c.cached_tokens for c in counters],
            "num_preemptions_total": [c.retractions for c in counters],
            "prompt_tokens_total": [c.prompt_tokens for c in counters],
            "generation_tokens_total": [c.generated_tokens for c in counters],
        }
        lines = [
            *(line for name, v in gauges.items() for line in samples(f"vllm:{name}", v, labels, "engine")),
            *(line for name, v in counted.items() for line in samples(f"vllm:{name}", v, labels, "engine", "counter")),
            *sample("vllm:cache_config_info", 1.0, {**cache, "engine": "0"}),
            *self.latencies.ttft.lines("vllm:time_to_first_token_seconds", labels),
            *self.latencies.e2e.lines("vllm:e2e_request_latency_seconds", labels),
            *self.simulated_lines(loops),
        ]
        return "\n".join(lines) + "\n"
