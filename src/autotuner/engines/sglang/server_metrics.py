"""SGLang's Prometheus metrics (``--enable-metrics``), from ``srt/observability/metrics_collector.py``."""

from autotuner.plugins.server_metrics import Figure, MetricsSource

SERVER_METRICS = MetricsSource(
    engine="sglang",
    path="/metrics",
    names={
        Figure.RUNNING: ("sglang:num_running_reqs",),
        Figure.WAITING: ("sglang:num_queue_reqs",),
        Figure.KV_USAGE: ("sglang:token_usage",),
        Figure.KV_USED: ("sglang:num_used_tokens",),
        Figure.KV_TOTAL: ("sglang:max_total_num_tokens",),
        Figure.PREEMPTIONS: ("sglang:num_retracted_requests_total",),
        Figure.PROMPT_TOKENS: ("sglang:prompt_tokens_total",),
        Figure.CACHED_TOKENS: ("sglang:cached_tokens_total",),
        Figure.GENERATED_TOKENS: ("sglang:generation_tokens_total",),
        Figure.HIT_RATE: ("sglang:cache_hit_rate",),
        Figure.ACCEPTANCE_RATE: ("sglang:spec_accept_rate",),
    },
    running_limit_flag="max-running-requests",
    reserves_kv_cache=True,  # all of max_tokens with ignore_eos, else a share that schedule-conservativeness scales
    # With --enable-metrics-for-all-schedulers each rank reports the same batch.
    duplicates=frozenset({"tp_rank", "pp_rank", "moe_ep_rank"}),
    born_late=frozenset({Figure.CACHED_TOKENS}),
)
