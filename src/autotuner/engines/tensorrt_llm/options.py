"""trtllm-serve's options as data: its few flags, and the options that it reads only from YAML.

Source: repository NVIDIA/TensorRT-LLM, ``tensorrt_llm/commands/serve.py`` and ``tensorrt_llm/llmapi/llm_args.py``. The
flags are those that releases 1.1 and 1.2 and the main branch of 2026 have in common; the server spells them with
underscores. Release 1.2 reads everything that is not a flag from a file (``--extra_llm_api_options``); newer releases
also from ``--set PATH=VALUE``.
"""

from autotuner.engines.shared.catalog import Rows, by_name, choice, integer, number, switch, text

_YES_NO = ("true", "false")

_FLAGS: Rows = (
    integer("tp-size", 1, "GPUs that share each layer of the model",
            aliases=("tensor-parallel-size", "tp"), suggested=(1, 2, 4, 8)),
    integer("pp-size", 1, "pipeline stages, each holding part of the layers",
            aliases=("pipeline-parallel-size", "pp"), suggested=(1, 2)),
    integer("cp-size", 1, "GPUs that share the sequence", aliases=("context-parallel-size", "cp"), suggested=(1, 2)),
    integer("ep-size", None, "GPUs across which MoE experts are distributed",
            aliases=("moe-expert-parallel-size", "ep"), suggested=(1, 2, 4, 8)),
    integer("cluster-size", None, "expert clusters", aliases=("moe-cluster-parallel-size",)),
    choice("backend", "pytorch", ("pytorch", "tensorrt", "_autodeploy"), "backend that executes the model",
           suggested=("pytorch",)),
    integer("max-batch-size", 2048, "maximum number of running requests", suggested=(64, 128, 256, 512)),
    integer("max-num-tokens", 8192, "maximum tokens per step", suggested=(2048, 4096, 8192, 16384)),
    integer("max-seq-len", None, "maximum request length in tokens, including output; default: the model's",
            suggested=(8192, 32768)),
    integer("max-beam-width", 1, "beam width of beam search"),
    number("kv-cache-free-gpu-memory-fraction", 0.9, "share of the memory left by the weights for the KV cache",
           high=1.0, aliases=("free-gpu-memory-fraction",), suggested=(0.8, 0.9, 0.95)),
    switch("enable-chunked-prefill", "process prompts in chunks, batched with decoding"),
    integer("num-postprocess-workers", 0, "detokenizer processes; 0: no separate ones", low=0,
            suggested=(0, 2, 4)),
)  # fmt: skip

_YAML: Rows = (
    choice("kv-cache-config.enable-block-reuse", "true", _YES_NO, "reuse the KV cache of common prefixes"),
    choice("kv-cache-config.enable-partial-reuse", "true", _YES_NO, "reuse partially matching blocks"),
    choice("kv-cache-config.dtype", "auto", ("auto", "float16", "bfloat16", "float32", "fp8", "fp8_ds_mla", "nvfp4"),
           "data type of the KV cache; auto: the checkpoint's", suggested=("auto", "fp8")),
    integer("kv-cache-config.tokens-per-block", 32, "tokens per KV cache block", suggested=(32, 64)),
    integer("kv-cache-config.max-tokens", None, "maximum KV cache size in tokens"),
    integer("kv-cache-config.host-cache-size", None, "bytes of host memory for offloading the KV cache", low=0),
    choice("scheduler-config.capacity-scheduler-policy", "GUARANTEED_NO_EVICT",
           ("GUARANTEED_NO_EVICT", "MAX_UTILIZATION", "STATIC_BATCH"), "when waiting requests are admitted",
           suggested=("GUARANTEED_NO_EVICT", "MAX_UTILIZATION")),
    integer("cuda-graph-config.max-batch-size", None, "largest batch with a CUDA graph", low=0,
            suggested=(64, 128, 256)),
    choice("cuda-graph-config.enable-padding", "false", _YES_NO, "pad batches to the next size with a CUDA graph"),
    choice("disable-overlap-scheduler", "false", _YES_NO, "disable overlap of scheduling and GPU computation"),
    choice("enable-attention-dp", "false", _YES_NO, "data-parallel attention: each GPU handles its own requests"),
    choice("attn-backend", "TRTLLM", ("TRTLLM", "FLASHINFER", "VANILLA"), "attention kernels"),
    choice("allreduce-strategy", "AUTO",
           ("AUTO", "NCCL", "UB", "MINLATENCY", "ONESHOT", "TWOSHOT", "LOWPRECISION", "MNNVL", "NCCL_SYMMETRIC"),
           "all-reduce algorithm"),
    text("moe-config.backend", None, "MoE kernels: AUTO, CUTLASS, TRTLLM, ...", suggested=("CUTLASS", "TRTLLM")),
    integer("stream-interval", 1, "decode steps per streamed chunk", suggested=(1, 4, 8)),
    number("batch-wait-timeout-ms", 0.0, "milliseconds to wait for a full batch"),
    integer("batch-wait-timeout-iters", 0, "steps to wait for more requests", low=0),
)  # fmt: skip

CATALOG = by_name(_FLAGS, _YAML)
YAML_ONLY = frozenset(row.name for row in _YAML)

_SERVICE: Rows = (
    text("host", "localhost", "address to listen on"),
    integer("port", 8000, "port to listen on"),
    text("served-model-name", None, "model name in requests"),
    switch("trust-remote-code", "execute code that comes with the model"),
    text("tokenizer", None, "tokenizer, if not the model's"),
    text("extra-llm-api-options", None, "YAML file with options that are not flags", aliases=("config",)),
    text("chat-template", None, "chat template: a file, or one line"),
    text("log-level", "info", "minimum log level"),
    integer("gpus-per-node", None, "GPUs per machine; default: all visible ones"),
    text("reasoning-parser", None, "parser that separates reasoning from the answer"),
    switch("fail-fast-on-attention-window-too-large", "exit if one request does not fit in the KV cache"),
)  # fmt: skip

KNOWN = {**CATALOG, **by_name(_SERVICE)}

LOADING = frozenset(
    {
        "allreduce-strategy",
        "attn-backend",
        "backend",
        "cluster-size",
        "cp-size",
        "enable-attention-dp",
        "ep-size",
        "kv-cache-config.dtype",
        "kv-cache-config.tokens-per-block",
        "max-batch-size",
        "max-beam-width",
        "max-num-tokens",
        "max-seq-len",
        "moe-config.backend",
        "pp-size",
        "tp-size",
    }
)
"""Flags that decide which weights each GPU reads, which kernels are compiled for them, or what the TensorRT backend
builds (``BuildConfig`` in ``tensorrt_llm/llmapi/llm_args.py``)."""
