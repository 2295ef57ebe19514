"""llama.cpp's Prometheus metrics (``--metrics``), from ``tools/server/README.md`` and the server's own text.

Current servers report no use of the KV cache: it is divided among the slots at start. ``prompt_tokens_total`` leaves
cached tokens out, and counters of tokens grow when a request ends.
"""

from autotuner.plugins.server_metrics import Figure, MetricsSource

SERVER_METRICS = MetricsSource(
    engine="llama_cpp",
    path="/metrics",
    names={
        Figure.RUNNING: ("llamacpp:requests_processing",),
        Figure.WAITING: ("llamacpp:requests_deferred",),
        Figure.KV_USAGE: ("llamacpp:kv_cache_usage_ratio",),
        Figure.COMPUTED_TOKENS: ("llamacpp:prompt_tokens_total",),
        Figure.CACHED_TOKENS: ("llamacpp:prompt_tokens_cached_total",),
        Figure.GENERATED_TOKENS: ("llamacpp:tokens_predicted_total",),
        Figure.DRAFT_TOKENS: ("llamacpp:spec_decode_num_draft_tokens_total", "llamacpp:tokens_drafted_total"),
        Figure.ACCEPTED_TOKENS: (
            "llamacpp:spec_decode_num_accepted_tokens_total",
            "llamacpp:tokens_drafted_accepted_total",
        ),
    },
    running_limit_flag="parallel",
)
