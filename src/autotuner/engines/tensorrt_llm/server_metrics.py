"""TensorRT-LLM's Prometheus metrics, from ``tensorrt_llm/metrics/collector.py`` and trtllm-serve's documentation.

The server has them with ``return_perf_metrics: true``, and those of the queue with ``enable_iter_perf_stats: true``.
Both make the executor record times in every iteration, so a launch does not add them: a study that wants them lists
them under ``engine.args``.
"""

from autotuner.plugins.server_metrics import Figure, MetricsSource

SERVER_METRICS = MetricsSource(
    engine="tensorrt_llm",
    path="/prometheus/metrics",
    names={
        Figure.RUNNING: ("trtllm_num_requests_running", "trtllm_num_active_requests"),
        Figure.WAITING: ("trtllm_num_requests_waiting", "trtllm_num_queued_requests", "trtllm_server_queue_length"),
        Figure.KV_USAGE: ("trtllm_kv_cache_utilization",),
        Figure.KV_USED: ("trtllm_kv_cache_used_blocks",),
        Figure.KV_TOTAL: ("trtllm_kv_cache_max_blocks",),
        Figure.PROMPT_TOKENS: ("trtllm_prompt_tokens_total",),
        Figure.CACHED_TOKENS: ("trtllm_prompt_cached_tokens_total",),
        Figure.GENERATED_TOKENS: ("trtllm_generation_tokens_total",),
        Figure.DRAFT_TOKENS: (
            "trtllm_spec_decode_num_draft_tokens_total",
            "trtllm_spec_decode_drafted_tokens_total",
        ),
        Figure.ACCEPTED_TOKENS: (
            "trtllm_spec_decode_num_accepted_tokens_total",
            "trtllm_spec_decode_accepted_tokens_total",
        ),
        Figure.HIT_RATE: ("trtllm_kv_cache_hit_rate",),
    },
    running_limit_flag="max-batch-size",
    reserves_kv_cache=True,  # GUARANTEED_NO_EVICT, the default policy
)
