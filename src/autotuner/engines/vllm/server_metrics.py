"""vLLM's Prometheus metrics, from ``vllm/v1/metrics/loggers.py`` and ``vllm/v1/spec_decode/metrics.py``.

The names with ``gpu_`` are those of the V0 engine and of V1 before 0.10.
"""

from autotuner.plugins.server_metrics import Figure, MetricsSource

SERVER_METRICS = MetricsSource(
    engine="vllm",
    path="/metrics",
    names={
        Figure.RUNNING: ("vllm:num_requests_running",),
        Figure.WAITING: ("vllm:num_requests_waiting",),
        Figure.KV_USAGE: ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        Figure.PREEMPTIONS: ("vllm:num_preemptions_total",),
        # Both count the tokens that were looked up, so that their ratio is a hit rate even with the cache off for some.
        Figure.PROMPT_TOKENS: ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
        Figure.CACHED_TOKENS: ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        Figure.GENERATED_TOKENS: ("vllm:generation_tokens_total",),
        Figure.DRAFT_TOKENS: ("vllm:spec_decode_num_draft_tokens_total",),
        Figure.ACCEPTED_TOKENS: ("vllm:spec_decode_num_accepted_tokens_total",),
        Figure.HIT_RATE: ("vllm:gpu_prefix_cache_hit_rate",),
        Figure.ACCEPTANCE_RATE: ("vllm:spec_decode_draft_acceptance_rate",),
    },
    running_limit_flag="max-num-seqs",
)
