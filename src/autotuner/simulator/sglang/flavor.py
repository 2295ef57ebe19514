"""Log lines, endpoints, errors and metrics of SGLang."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from autotuner.simulator.config import EngineConfig
from autotuner.simulator.engine_loop import EngineLoop
from autotuner.simulator.flavor import Flavor, summed
from autotuner.simulator.metrics import sample, samples
from autotuner.simulator.openai_api import ApiRequest, BadRequestError
from autotuner.simulator.scheduler import Scheduler, Step
from autotuner.simulator.sglang import start as sglang_start
from autotuner.simulator.sglang.scheduler import MODELED_POLICIES, SGLangScheduler

_SPARE_TOKENS = 8
"""KV cache tokens that are never promised to one request."""


class SGLangFlavor(Flavor):
    """SGLang."""

    name = "sglang"
    version = sglang_start.VERSION
    _last_prefill = _last_decode = 0.0
    _generated = 0

    def start(self, given: Mapping[str, Any]) -> EngineConfig:
        """See :meth:`Flavor.start`."""
        config = sglang_start.SGLangStart(given, self.simulation, self.log).run()
        if config.policy not in MODELED_POLICIES:
            self.log(f"simulated: --schedule-policy {config.policy} behaves like fcfs")
        return config

    def scheduler(self, config: EngineConfig) -> Scheduler:
        """See :meth:`Flavor.scheduler`."""
        return SGLangScheduler(config, self.log)

    def ready(self, config: EngineConfig) -> None:
        """See :meth:`Flavor.ready`."""
        self.log(f"Uvicorn running on http://{config.host}:{config.port} (Press CTRL+C to quit)")
        self.log("The server is fired up and ready to roll!")

    def on_step(self, loop: EngineLoop, step: Step) -> None:
        """One line per prefill step, and one per ``decode_log_interval`` decode steps."""
        scheduler = loop.scheduler
        now = time.monotonic()
        pool = scheduler.pool
        usage = f"token usage: {pool.used / max(1, pool.total):.2f}"
        self._generated += len(step.decode)
        if step.prefill:
            rate = step.new_tokens / max(1e-9, now - self._last_prefill)
            self._last_prefill = now
            pending = sum(r.length for r in scheduler.waiting)
            self.log(
                f"Prefill batch, #new-seq: {len(step.prefill)}, #new-token: {step.new_tokens}, #cached-token: "
                f"{step.cached}, {usage}, #running-req: {step.running}, #queue-req: {len(scheduler.waiting)}, "
                f"#pending-token: {pending}, cuda graph: {step.graph}, input throughput (token/s): {rate:.2f}"
            )
        elif scheduler.counters.decode_steps % scheduler.config.decode_log_interval == 0:
            rate = self._generated / max(1e-9, now - self._last_decode)
            self._last_decode = now
            self._generated = 0
            self.log(
                f"Decode batch, #running-req: {step.running}, #token: {pool.used}, {usage}, cuda graph: "
                f"{step.graph}, gen throughput (token/s): {rate:.2f}, #queue-req: {len(scheduler.waiting)}"
            )

    def limited(self, request: ApiRequest, config: EngineConfig) -> int:
        """Refuses requests longer than the context; truncates output that does not fit in the KV cache."""
        prompt = request.prompt_tokens
        most = config.context
        if prompt >= most:
            raise BadRequestError(
                f"The input ({prompt} tokens) is longer than the model's context length ({most} tokens)."
            )
        if request.max_new is not None and prompt + request.max_new > most:
            raise BadRequestError(
                f"Requested token count exceeds the model's maximum context length of {most} tokens. You requested a "
                f"total of {prompt + request.max_new} tokens: {prompt} tokens from the input messages and "
                f"{request.max_new} tokens for the completion. Please reduce the number of tokens in the input "
                "messages or the completion to fit within the limit."
            )
        longest = min(most, config.kv_tokens - _SPARE_TOKENS - 2 * config.page)
        if prompt >= longest:
            raise BadRequestError(
                f"Input length ({prompt} tokens) exceeds the maximum allowed length ({longest} tokens). Use a shorter "
                "input or enable --allow-auto-truncate."
            )
        return min(request.output_tokens, longest - prompt)

    def error(self, error: BadRequestError) -> dict[str, Any]:
        """See :meth:`Flavor.error`."""
        return {
            "object": "error",
            "message": str(error),
            "type": "BadRequestError" if error.status == 400 else "Unauthorized",
            "param": error.param,
            "code": error.status,
        }

    def info(self, path: str, config: EngineConfig, loops: Sequence[EngineLoop]) -> dict[str, Any] | None:
        """Server and model information, under their old and new paths."""
        if path in {"/server_info", "/get_server_info"}:
            state = [
                {
                    "last_gen_throughput": 0.0,
                    "memory_usage": {"kvcache": loop.scheduler.pool.total * config.replica.kv_bytes_per_token / 2**30},
                    "effective_max_running_requests_per_dp": config.max_running,
                    "pp_max_micro_batch_size": scheduler.micro_batch,
                }
                for loop, scheduler in zip(loops, _schedulers(loops), strict=True)
            ]
            simulation = {**vars(self.simulation), "model": config.replica.model.name}
            return {
                **config.resolved,
                "version": self.version,
                "internal_states": state,
                "simulated": True,
                "simulation": simulation,
            }
        if path in {"/model_info", "/get_model_info"}:
            return {
                "model_path": config.model_path,
                "served_model_name": config.served_name,
                "tokenizer_path": config.model_path,
                "is_generation": True,
                "weight_version": "default",
                "architectures": [config.replica.model.architecture],
                "simulated": True,
            }
        return None

    def change(self, path: str, body: bytes, loops: Sequence[EngineLoop]) -> object | None:
        """The size of micro-batches; whether each replica accepted it."""
        if path != "/set_internal_state":
            return None
        try:
            asked = orjson.loads(body)["server_args"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise BadRequestError("server_args is missing") from None
        schedulers = _schedulers(loops)
        for name, value in asked.items():
            most = max(scheduler.most_per_stage for scheduler in schedulers)
            if name != "pp_max_micro_batch_size" or not 1 <= value <= most:
                self.log(f"Updating {name} to {value} is rejected.")
                return [False] * len(loops)
        for scheduler in schedulers:
            scheduler.micro_batch = asked.get("pp_max_micro_batch_size", scheduler.micro_batch)
        return [True] * len(loops)

    def metrics(self, config: EngineConfig, loops: Sequence[EngineLoop]) -> str | None:
        """Disabled without ``--enable-metrics``."""
        if not config.metrics:
            return None
        labels = {"engine_type": "unified", "model_name": config.served_name}
        total = summed(loops)
        schedulers = [loop.scheduler for loop in loops]
        counters = [s.counters for s in schedulers]
        # Schedulers report for themselves; what the tokenizer manager counts is for all replicas together.
        gauges: dict[str, list[float]] = {
            "num_running_reqs": [len(s.running) for s in schedulers],
            "num_queue_reqs": [len(s.waiting) for s in schedulers],
            "num_used_tokens": [s.pool.used for s in schedulers],
            "token_usage": [s.pool.used / max(1, s.pool.total) for s in schedulers],
            "cache_hit_rate": [c.cached_tokens / max(1, c.prompt_tokens) for c in counters],
            "max_total_num_tokens": [config.kv_tokens for _ in schedulers],
        }
        retracted = [c.retractions for c in counters]
        ranks = {**labels, "tp_rank": "0"}
        lines = [
            *(line for name, values in gauges.items() for line in samples(f"sglang:{name}", values, ranks, "dp_rank")),
            *samples("sglang:num_retracted_requests_total", retracted, ranks, "dp_rank", "counter"),
            *sample("sglang:prompt_tokens_total", total.prompt_tokens, labels, "counter"),
            *sample("sglang:generation_tokens_total", total.generated_tokens, labels, "counter"),
            *sample("sglang:num_requests_total", total.requests, labels, "counter"),
            *self._cached(total.cached_tokens, labels),
            *self.latencies.ttft.lines("sglang:time_to_first_token_seconds", labels),
            *self.latencies.e2e.lines("sglang:e2e_request_latency_seconds", labels),
            *self.simulated_lines(loops),
        ]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _cached(tokens: int, labels: Mapping[str, str]) -> list[str]:
        """The counter has a label for its source, and exists only after the first cached token."""
        name = "sglang:cached_tokens_total"
        return sample(name, tokens, {**labels, "cache_source": "device"}, "counter") if tokens else []


def _schedulers(loops: Sequence[EngineLoop]) -> list[SGLangScheduler]:
    return [cast("SGLangScheduler", loop.scheduler) for loop in loops]
