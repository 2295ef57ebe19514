"""vLLM's options as data.

Source of names, choices and defaults: vLLM 0.32.0, ``vllm/engine/arg_utils.py``, ``vllm/config/*.py`` and the text of
``vllm serve --help=all``. A default of None is computed at startup. A switch has a flag for each state.
"""

from autotuner.engines.shared.catalog import Rows, by_name, choice, integer, number, pair, sizes, switch, text, texts

KV_CACHE_DTYPES = (
    "auto", "bfloat16", "float16", "fp8", "fp8_ds_mla", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_per_token_head",
    "int4_per_token_head", "int8_per_token_head", "nvfp4", "nvfp4_4over6", "nvfp4_ds_mla", "turboquant_3bit_nc",
    "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_k8v4", "ultraquant_4bit",
)  # fmt: skip
ALL_TO_ALL = (
    "allgather_reducescatter", "deepep_high_throughput", "deepep_low_latency", "deepep_v2", "flashinfer_all2allv",
    "flashinfer_nvlink_one_sided", "flashinfer_nvlink_two_sided", "moonep", "mori_high_throughput", "mori_low_latency",
    "naive", "nixl_ep", "pplx",
)  # fmt: skip
LINEAR_BACKENDS = (
    "aiter", "auto", "b12x", "conch", "cutlass", "deep_gemm", "emulation", "exllama", "fbgemm", "flashinfer_b12x",
    "flashinfer_cudnn", "flashinfer_cutedsl", "flashinfer_cutlass", "flashinfer_trtllm", "humming", "machete", "marlin",
    "torch", "triton", "xpu", "xpu_woq",
)  # fmt: skip
MOE_BACKENDS = (
    "aiter", "aiter_mega_moe", "aiter_triton_mxfp4_bf16", "auto", "b12x", "batched_triton", "cutlass", "deep_gemm",
    "deep_gemm_mega_moe", "emulation", "flashinfer_b12x", "flashinfer_cutedsl", "flashinfer_cutlass",
    "flashinfer_moe_ep_cutedsl", "flashinfer_moe_ep_mega_deep_gemm", "flashinfer_trtllm", "flydsl", "hpc", "humming",
    "marlin", "rdna3", "triton", "triton_unfused",
)  # fmt: skip

_PARALLEL: Rows = (
    integer("tensor-parallel-size", 1, "GPUs that share each layer of the model",
            aliases=("tp", "tp-size"), suggested=(1, 2, 4, 8)),
    integer("pipeline-parallel-size", 1, "pipeline stages, each holding part of the layers",
            aliases=("pp", "pp-size"), suggested=(1, 2)),
    integer("data-parallel-size", 1, "data-parallel replicas; MoE experts are distributed across all of their GPUs",
            aliases=("dp", "dp-size"), suggested=(1, 2, 4)),
    integer("prefill-context-parallel-size", 1, "GPUs that share the sequence during prefill", aliases=("pcp",)),
    integer("decode-context-parallel-size", 1, "tensor-parallel GPUs that share the KV cache",
            aliases=("dcp",), suggested=(1, 2)),
    pair("enable-expert-parallel", False, "distribute whole experts across GPUs, without sharding", aliases=("ep",)),
    choice("all2all-backend", "allgather_reducescatter", ALL_TO_ALL, "all-to-all communication between MoE experts"),
    pair("enable-eplb", False, "rebalance experts between GPUs by load"),
    choice("expert-placement-strategy", "linear", ("linear", "round_robin"), "which GPU holds which expert"),
    pair("enable-dbo", False, "overlap communication and computation of two half batches"),
    integer("dbo-decode-token-threshold", 32, "decode batch size in tokens from which dual batch overlap is used"),
    integer("dbo-prefill-token-threshold", 512, "prefill batch size in tokens from which dual batch overlap is used"),
    pair("disable-custom-all-reduce", False, "use NCCL instead of the custom all-reduce kernel"),
    pair("numa-bind", False, "bind each worker to the NUMA node of its GPU"),
    integer("api-server-count", None, "API server processes; default: data-parallel-size",
            aliases=("asc",), suggested=(1, 2, 4)),
)  # fmt: skip

_MEMORY: Rows = (
    number("gpu-memory-utilization", 0.92, "share of GPU memory that the server may use, including weights",
           high=1.0, aliases=("device-memory-utilization",), suggested=(0.85, 0.9, 0.95)),
    text("kv-cache-memory-bytes", None, "KV cache size per GPU; overrides gpu-memory-utilization"),
    integer("block-size", None, "tokens per KV cache block", suggested=(16, 32, 64)),
    choice("kv-cache-dtype", "auto", KV_CACHE_DTYPES, "data type of the KV cache; auto: the model's",
           suggested=("auto", "fp8")),
    pair("enable-prefix-caching", None, "reuse the KV cache of common prefixes"),
    choice("prefix-caching-hash-algo", "sha256", ("sha256", "sha256_cbor", "xxhash", "xxhash_cbor"),
           "hash algorithm for prefixes"),
    number("cpu-offload-gb", 0.0, "GiB of weights per GPU to keep in host memory", suggested=(0.0, 4.0)),
    choice("offload-backend", "auto", ("auto", "prefetch", "uva"), "how offloaded weights reach the GPU"),
    integer("offload-group-size", 0, "layers per group, of which some are offloaded; 0: no offloading", low=0),
    number("kv-offloading-size", None, "GiB of host memory for offloading the KV cache"),
    choice("kv-offloading-backend", "native", ("lmcache", "native"), "implementation of KV cache offloading"),
    number("watermark", 0.0, "share of the KV cache to keep free when admitting requests", high=1.0),
    integer("num-gpu-blocks-override", None, "number of KV cache blocks, regardless of the available memory"),
    pair("disable-hybrid-kv-cache-manager", None, "use one KV cache layout for all types of attention layers"),
    choice("mamba-cache-dtype", "auto", ("auto", "bfloat16", "float16", "float32"), "data type of Mamba states"),
    choice("mamba-ssm-cache-dtype", "auto", ("auto", "bfloat16", "float16", "float32"),
           "data type of Mamba SSM states"),
)  # fmt: skip

_SCHEDULING: Rows = (
    integer("max-num-seqs", None, "maximum number of running requests", suggested=(64, 128, 256, 512)),
    integer("max-num-batched-tokens", None, "maximum tokens per step", suggested=(2048, 4096, 8192, 16384)),
    integer("max-num-active-seqs", None, "maximum number of admitted requests; at most max-num-seqs"),
    integer("max-model-len", None, "maximum request length in tokens; -1 or auto: what fits; default: the model's",
            low=-1, suggested=(8192, 32768), words=("auto",)),
    pair("enable-chunked-prefill", None, "process prompts in chunks, batched with decoding"),
    integer("long-prefill-token-threshold", 0, "maximum tokens of one prompt per step; 0: no limit", low=0),
    choice("scheduling-policy", "fcfs", ("fcfs", "priority"), "which waiting request is scheduled next"),
    pair("async-scheduling", None, "overlap scheduling and GPU computation"),
    pair("scheduler-reserve-full-isl", True, "admit a request only when its whole prompt fits in the KV cache"),
    integer("prefill-schedule-interval", 1, "steps between two admissions, with data parallelism"),
    integer("stream-interval", 1, "tokens per streamed chunk", suggested=(1, 4, 8)),
    integer("renderer-num-workers", 1, "threads that tokenize and apply chat templates", suggested=(1, 4)),
)  # fmt: skip

_KERNELS: Rows = (
    text("attention-backend", None, "attention kernels", suggested=("FLASH_ATTN", "FLASHINFER", "TRITON_ATTN")),
    text("attention-config", None, "attention settings, as JSON", aliases=("ac",)),
    choice("linear-backend", "auto", LINEAR_BACKENDS, "linear layer kernels"),
    choice("moe-backend", "auto", MOE_BACKENDS, "MoE kernels"),
    text("mamba-backend", "TRITON", "Mamba kernels"),
    pair("enable-flashinfer-autotune", None, "let FlashInfer benchmark its kernels at startup"),
    pair("enforce-eager", False, "disable CUDA graphs and torch.compile"),
    text("compilation-config", None, "settings of torch.compile and CUDA graphs, as JSON", aliases=("cc",),
         suggested=('{"cudagraph_mode": "FULL_AND_PIECEWISE"}',)),
    integer("max-cudagraph-capture-size", None, "largest batch with a CUDA graph", suggested=(128, 256, 512)),
    sizes("cudagraph-capture-sizes", "batch sizes with a CUDA graph"),
    integer("optimization-level", 2, "0: fastest startup, 3: fastest execution", low=0, high=3, aliases=("O",),
            suggested=(1, 2, 3)),
    choice("performance-mode", "balanced", ("balanced", "interactivity", "throughput"),
           "goal when choosing kernels and graphs", suggested=("balanced", "interactivity", "throughput")),
    text("kernel-config", None, "kernel settings, as JSON"),
)  # fmt: skip

_MODEL: Rows = (
    choice("dtype", "auto", ("auto", "bfloat16", "float", "float16", "float32", "half"),
           "data type of weights and activations"),
    text("quantization", None, "quantization method of the weights", aliases=("q",),
         suggested=("fp8", "fp8_per_block")),
    text("quantization-config", None, "quantization by layer type, as JSON"),
    text("load-format", "auto", "how weights are loaded; dummy: random weights"),
    choice("model-impl", "auto", ("auto", "terratorch", "transformers", "vllm"), "model implementation"),
    pair("language-model-only", False, "disable image, audio and video inputs"),
)  # fmt: skip

_SPECULATIVE: Rows = (
    text("speculative-config", None, "speculative decoding, as JSON", aliases=("sc",),
         suggested=('{"method": "ngram", "num_speculative_tokens": 4}',)),
    text("spec-method", None, "speculative decoding method: ngram, eagle3, mtp, draft_model, ..."),
    text("spec-model", None, "draft model"),
    integer("spec-tokens", None, "draft tokens per step", suggested=(2, 4, 8)),
)  # fmt: skip

CATALOG = by_name(_PARALLEL, _MEMORY, _SCHEDULING, _KERNELS, _MODEL, _SPECULATIVE)

_SERVICE: Rows = (
    text("model", None, "model path or hub id"),
    text("served-model-name", None, "model name in requests"),
    text("host", None, "address to listen on"),
    integer("port", 8000, "port to listen on"),
    pair("trust-remote-code", False, "execute code that comes with the model"),
    text("tokenizer", None, "tokenizer, if not the model's"),
    text("chat-template", None, "chat template: a file, or one line"),
    text("revision", None, "model revision on the hub"),
    text("hf-overrides", None, "overrides of the model configuration, as JSON"),
    text("generation-config", "auto", "sampling defaults: auto (the model's) or vllm"),
    integer("seed", 0, "sampling seed", low=None),
    switch("disable-log-stats", "disable statistics in the log and in /metrics"),
    pair("enable-log-requests", False, "log every request"),
    integer("max-logprobs", 20, "maximum log probabilities per output token", low=-1),
    text("distributed-executor-backend", None, "mp, ray, uni"),
    text("reasoning-parser", "", "parser that separates reasoning from the answer"),
    text("tool-call-parser", None, "parser of tool calls"),
    pair("enable-auto-tool-choice", False, "let the model call tools"),
    text("limit-mm-per-prompt", None, "maximum multimodal inputs per request, as JSON"),
    texts("lora-modules", "LoRA adapters: NAME=PATH, or JSON"),
    texts("lora-target-modules", "layer types that adapters apply to"),
    texts("logits-processors", "logits processor classes"),
    texts("middleware", "ASGI middleware by import path", several="occurrences"),
    texts("kv-cache-dtype-skip-layers", "layers whose KV cache keeps the model's data type"),
    texts("collect-detailed-traces", "modules to trace in detail"),
    texts("ignore-patterns", "model files to skip"),
    texts("allowed-media-domains", "hosts from which images may be fetched"),
    texts("numa-bind-cpus", "CPUs of each worker, in numactl syntax"),
    sizes("numa-bind-nodes", "NUMA node of each worker", low=0),
)  # fmt: skip

KNOWN = {**CATALOG, **by_name(_SERVICE)}

ARITHMETIC = frozenset(
    name
    for name in CATALOG
    if name.startswith(("spec", "quantization"))
    or name
    in {
        "attention-backend",
        "attention-config",
        "compilation-config",
        "dtype",
        "kernel-config",
        "kv-cache-dtype",
        "linear-backend",
        "load-format",
        "mamba-backend",
        "mamba-cache-dtype",
        "mamba-ssm-cache-dtype",
        "model-impl",
        "moe-backend",
        "optimization-level",
        "performance-mode",
    }
)
"""Flags that choose number formats, kernels or speculative decoding."""

LOADING = frozenset(CATALOG) - {
    "api-server-count",
    "async-scheduling",
    "disable-custom-all-reduce",
    "enable-chunked-prefill",
    "enable-prefix-caching",
    "gpu-memory-utilization",
    "kv-cache-memory-bytes",
    "long-prefill-token-threshold",
    "max-num-active-seqs",
    "num-gpu-blocks-override",
    "numa-bind",
    "prefill-schedule-interval",
    "prefix-caching-hash-algo",
    "renderer-num-workers",
    "scheduler-reserve-full-isl",
    "scheduling-policy",
    "stream-interval",
    "watermark",
}
"""Flags that decide how weights are read, or are part of the key of the compile cache: everything but what the methods
``compute_hash`` in ``vllm/config`` leave out. ``max-num-seqs`` is part of it by the sizes of CUDA graphs. See
https://docs.vllm.ai/en/latest/design/torch_compile/."""
