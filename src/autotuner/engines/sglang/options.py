"""SGLang's options as data.

Source of names, choices and defaults: SGLang 0.5.23, ``sglang/srt/arg_groups/fields/*.py``, ``choices.py`` and
``server_args.py``. A default of None is computed at startup. Switches have no off spelling.
"""

from autotuner.engines.shared.catalog import (
    Rows,
    by_name,
    choice,
    integer,
    number,
    numbers,
    pair,
    sizes,
    switch,
    text,
    texts,
)

LOAD_FORMATS = (
    "auto", "pt", "safetensors", "instanttensor", "npcache", "dummy", "sharded_state", "presharded", "gguf",
    "expert_pack", "bitsandbytes", "mistral", "layered", "flash_rl", "remote", "remote_instance", "fastsafetensors",
    "private", "runai_streamer",
)  # fmt: skip
QUANTIZATIONS = (
    "awq", "fp8", "mxfp8", "gptq", "gptq_marlin", "awq_marlin", "bitsandbytes", "gguf", "modelopt", "modelopt_fp8",
    "modelopt_fp4", "nvfp4_online", "modelopt_mixed", "petit_nvfp4", "w8a8_int8", "w8a8_fp8", "moe_wna16", "w4afp8",
    "mxfp4", "auto-round", "auto-round-int8", "compressed-tensors", "modelslim", "mxfp_w4a8", "quark",
    "quark_int4fp8_moe", "quark_mxfp4", "mlx_q4", "mlx_q8", "unquant", "humming",
)  # fmt: skip
ATTENTION = (
    "triton", "torch_native", "flex_attention", "dsa", "nsa", "qsa", "dsv4", "compressed", "fa3", "fa4", "flashinfer",
    "llada2_cfg_flashinfer", "flashmla", "trtllm_mla", "cutedsl_mla", "tokenspeed_mla", "trtllm_mha", "hpc_ops",
    "minicpm_flashattn", "minicpm_flashinfer", "aiter", "wave", "intel_amx", "ascend", "intel_xpu",
)  # fmt: skip
MOE_RUNNERS = (
    "auto", "deep_gemm", "triton", "triton_kernel", "flashinfer_trtllm", "experimental_sgl_trtllm",
    "flashinfer_trtllm_routed", "flashinfer_cutlass", "flashinfer_mxfp4", "flashinfer_cutedsl", "flashinfer_megamoe",
    "cutlass", "aiter", "marlin", "humming", "experimental_sgl_marlin", "lora_cutedsl", "lora_triton", "lora_marlin",
    "hpc_ops", "megamoe", "intel_xpu",
)  # fmt: skip
MOE_ALL_TO_ALL = (
    "none", "deepep", "mooncake", "nixl", "mori", "ascend_fuseep", "flashinfer", "megamoe", "deepep_v2", "pplx",
    "ascend_tp", "flashinfer_megamoe",
)  # fmt: skip
FP8_GEMM = (
    "auto", "deep_gemm", "flashinfer_trtllm", "flashinfer_cutlass", "flashinfer_deepgemm", "flashinfer_cutedsl",
    "cutlass", "triton", "aiter",
)  # fmt: skip
GRAPH_BACKENDS = ("full", "breakable", "disabled")

_PARALLEL: Rows = (
    integer("tp-size", 1, "GPUs that share each layer of the model",
            aliases=("tensor-parallel-size", "tp"), suggested=(1, 2, 4, 8)),
    integer("pp-size", 1, "pipeline stages, each holding part of the layers",
            aliases=("pipeline-parallel-size", "pp"), suggested=(1, 2)),
    integer("dp-size", 1, "replicas of the model behind one address; with enable-dp-attention, attention groups",
            aliases=("data-parallel-size", "dp"), suggested=(1, 2, 4)),
    integer("attn-dp-size", 1, "data-parallel attention groups within the tensor-parallel group",
            aliases=("attention-data-parallel-size",), suggested=(1, 2, 4, 8)),
    switch("enable-dp-attention", "let dp-size count attention groups within tp-size instead of replicas (older form)"),
    integer("ep-size", 1, "GPUs across which MoE experts are distributed",
            aliases=("expert-parallel-size", "ep"), suggested=(1, 2, 4, 8)),
    integer("moe-dp-size", 1, "data-parallel groups of MoE experts", aliases=("moe-data-parallel-size",)),
    integer("attn-cp-size", 1, "GPUs that share the sequence in attention",
            aliases=("attention-context-parallel-size",), suggested=(1, 2)),
    integer("dcp-size", 1, "GPUs that share the KV cache while decoding",
            aliases=("decode-context-parallel-size",), suggested=(1, 2)),
    switch("enable-dp-lm-head", "keep the output layer within an attention group"),
    choice("load-balance-method", "auto",
           ("auto", "round_robin", "follow_bootstrap_room", "total_requests", "total_tokens"),
           "how requests are distributed among replicas or attention groups"),
    integer("pp-max-micro-batch-size", None, "largest pipeline micro-batch"),
    integer("pp-async-batch-depth", 0, "batches in flight between pipeline stages", low=0),
)  # fmt: skip

_MEMORY: Rows = (
    number("mem-fraction-static", None, "share of GPU memory for weights and KV cache; the rest is for activations",
           high=1.0, suggested=(0.8, 0.85, 0.9)),
    integer("max-total-tokens", None, "KV cache size in tokens; default: what mem-fraction-static leaves", low=1),
    integer("page-size", None, "tokens per KV cache page", suggested=(1, 16, 64)),
    choice("kv-cache-dtype", "auto",
           ("auto", "fp8_e5m2", "fp8_e4m3", "mxfp8", "bf16", "bfloat16", "nvfp4", "fp4_mx_block16"),
           "data type of the KV cache; auto: the model's", suggested=("auto", "fp8_e5m2")),
    switch("disable-radix-cache", "disable KV cache reuse of common prefixes"),
    choice("radix-eviction-policy", "lru", ("lru", "lfu", "slru", "priority", "tlru"),
           "which prefixes the cache evicts first"),
    switch("enable-hierarchical-cache", "extend the prefix cache into host memory", aliases=("enable-hicache",)),
    number("hicache-ratio", None, "size of the host cache relative to the GPU cache", suggested=(2.0, 4.0)),
    integer("hicache-size", 0, "size of the host cache in GB; overrides hicache-ratio", low=0),
    choice("hicache-write-policy", "write_through", ("write_back", "write_through", "write_through_selective"),
           "when the cache is copied to host memory"),
    choice("hicache-io-backend", "kernel", ("direct", "kernel", "kernel_ascend"), "how host and GPU cache are synced"),
    choice("hicache-mem-layout", "page_first",
           ("layer_first", "page_first", "page_first_direct", "page_first_kv_split", "page_head"),
           "memory layout of the host cache"),
    choice("hicache-storage-prefetch-policy", "timeout", ("best_effort", "wait_complete", "timeout"),
           "when prefetching from a storage backend stops"),
    integer("cpu-offload-gb", 0, "GB of weights to keep in host memory", low=0),
    number("swa-full-tokens-ratio", None, "KV tokens of sliding-window layers relative to full layers", high=1.0),
    integer("max-mamba-cache-size", None, "Mamba states to keep for hybrid models"),
    number("mamba-full-memory-ratio", None, "memory for Mamba states relative to the KV cache, for hybrid models"),
)  # fmt: skip

_SCHEDULING: Rows = (
    integer("max-running-requests", None, "maximum number of running requests", suggested=(64, 128, 256, 512)),
    integer("max-queued-requests", None, "maximum number of queued requests; more are refused"),
    integer("chunked-prefill-size", None, "largest prompt chunk in tokens; -1: no chunking",
            low=-1, suggested=(2048, 4096, 8192, 16384)),
    integer("max-prefill-tokens", 16384, "maximum prompt tokens per prefill batch", suggested=(8192, 16384, 32768)),
    integer("prefill-max-requests", None, "maximum requests per prefill batch"),
    integer("prefill-decode-interval", None, "decode steps between two prefill batches; 0: no wait", low=0),
    choice("schedule-policy", "fcfs",
           ("lpm", "random", "fcfs", "dfs-weight", "lof", "priority", "routing-key", "hrrn", "shortest-prefill-first"),
           "which waiting request is scheduled next", suggested=("fcfs", "lpm")),
    number("schedule-conservativeness", 1.0, "how conservatively requests are admitted; higher avoids retractions",
           suggested=(0.3, 1.0, 1.3)),
    switch("enable-mixed-chunk", "mix prompt chunks and decoding in one batch"),
    switch("enable-dynamic-chunking", "adapt the chunk size to a constant step time, with pipeline parallelism"),
    integer("num-continuous-decode-steps", 1, "decode steps between two checks of the queue", suggested=(1, 2, 4, 8)),
    integer("stream-interval", 1, "tokens per streamed chunk", suggested=(1, 4, 8)),
    integer("scheduler-recv-interval", 1, "scheduler steps between two polls for new requests", suggested=(1, 4)),
    switch("disable-overlap-schedule", "disable overlap of scheduling and GPU computation"),
    switch("enable-two-batch-overlap", "overlap communication and computation of two half batches"),
    switch("enable-single-batch-overlap", "overlap communication and computation inside a batch"),
    choice("retraction-policy", "length", ("length", "priority"), "which request to retract when the KV cache is full"),
    switch("enable-priority-scheduling", "honor request priorities"),
    integer("tokenizer-worker-num", 1, "tokenizer processes", suggested=(1, 4)),
    integer("detokenizer-worker-num", 1, "detokenizer processes", suggested=(1, 4)),
    switch("enable-tokenizer-batch-encode", "tokenize several texts at once"),
    switch("enable-prefill-delayer", "delay prefill until all attention groups have prompts"),
    integer("context-length", None, "maximum request length in tokens; default: the model's", suggested=(8192, 32768)),
)  # fmt: skip

_KERNELS: Rows = (
    choice("attention-backend", None, ATTENTION, "attention kernels", suggested=("flashinfer", "fa3", "triton")),
    choice("prefill-attention-backend", None, ATTENTION, "attention kernels for prefill"),
    choice("decode-attention-backend", None, ATTENTION, "attention kernels for decoding"),
    choice("sampling-backend", None, ("flashinfer", "pytorch", "ascend", "intel_xpu"), "sampling kernels",
           suggested=("flashinfer", "pytorch")),
    choice("grammar-backend", None, ("xgrammar", "outlines", "llguidance", "none"), "library for structured output"),
    choice("fp8-gemm-backend", "auto", FP8_GEMM, "kernels for block-wise FP8 matrix products",
           aliases=("fp8-gemm-runner-backend",)),
    choice("fp4-gemm-backend", "auto",
           ("auto", "flashinfer_cudnn", "flashinfer_cutedsl", "flashinfer_cutlass", "flashinfer_trtllm", "marlin"),
           "kernels for FP4 matrix products", aliases=("fp4-gemm-runner-backend",)),
    choice("moe-runner-backend", "auto", MOE_RUNNERS, "MoE kernels",
           suggested=("auto", "triton", "flashinfer_cutlass")),
    choice("moe-a2a-backend", "none", MOE_ALL_TO_ALL, "all-to-all communication between MoE experts",
           suggested=("none", "deepep")),
    choice("deepep-mode", "auto", ("auto", "normal", "low_latency"), "DeepEP mode; auto: normal for prefill only"),
    integer("ep-num-redundant-experts", 0, "redundant copies of frequently used experts", low=0),
    switch("enable-eplb", "rebalance experts between GPUs by load"),
    integer("moe-dense-tp-size", None, "tensor-parallel size of the dense layers of MoE models"),
    switch("disable-shared-experts-fusion", "disable fusion of shared experts"),
    choice("linear-attn-backend", "triton",
           ("triton", "cutedsl", "flashinfer", "flashkda", "nvidia_kda", "ptx_kda", "helion", "intel_xpu"),
           "linear attention kernels"),
    choice("mamba-backend", "triton", ("triton", "flashinfer"), "Mamba kernels"),
    integer("triton-attention-num-kv-splits", 8, "splits of the KV cache in Triton attention",
            suggested=(4, 8, 16)),
    switch("disable-custom-all-reduce", "use NCCL instead of the custom all-reduce kernel"),
    choice("flashinfer-allreduce-fusion-backend", None, ("auto", "trtllm", "mnnvl", "cutedsl"),
           "FlashInfer backend that fuses all-reduce and normalization"),
    switch("enable-mscclpp", "use MSCCL++ for small all-reduces"),
    switch("enable-symm-mem", "use NCCL's symmetric memory"),
    switch("enable-torch-symm-mem", "use PyTorch's symmetric memory for all-reduce"),
    switch("enable-nccl-nvls", "use NVLink SHARP for prefill"),
    pair("enable-fused-qk-norm-rope", None, "fuse normalization and rotary embedding of queries and keys"),
)  # fmt: skip

_GRAPHS: Rows = (
    integer("cuda-graph-max-bs-decode", None, "largest decode batch with a CUDA graph",
            aliases=("cuda-graph-max-bs",), suggested=(32, 64, 160, 256)),
    integer("cuda-graph-max-bs-prefill", None, "largest prefill in tokens with a CUDA graph"),
    sizes("cuda-graph-bs-decode", "decode batch sizes with a CUDA graph", aliases=("cuda-graph-bs",)),
    sizes("cuda-graph-bs-prefill", "prefill sizes in tokens with a CUDA graph"),
    choice("cuda-graph-backend-decode", None, GRAPH_BACKENDS, "kind of CUDA graph for decoding"),
    choice("cuda-graph-backend-prefill", None, GRAPH_BACKENDS, "kind of CUDA graph for prefill"),
    text("cuda-graph-config", None, "CUDA graphs by phase, as JSON; overrides the other graph flags"),
    switch("disable-cuda-graph", "disable all CUDA graphs (older form)"),
    switch("disable-prefill-cuda-graph", "disable CUDA graphs for prefill"),
    switch("disable-decode-cuda-graph", "disable CUDA graphs for decoding"),
    switch("disable-cuda-graph-padding", "disable padding of batches to the next CUDA graph size"),
    switch("enable-torch-compile", "compile the model with torch.compile"),
    integer("torch-compile-max-bs", 32, "largest batch compiled with torch.compile", suggested=(8, 32)),
)  # fmt: skip

_MODEL: Rows = (
    choice("dtype", "auto", ("auto", "half", "float16", "bfloat16", "float", "float32"),
           "data type of weights and activations"),
    choice("quantization", None, QUANTIZATIONS, "quantization method of the weights", suggested=("fp8",)),
    choice("load-format", "auto", LOAD_FORMATS, "how weights are loaded; dummy: random weights"),
    text("model-impl", "auto", "model implementation: auto, sglang, transformers"),
    switch("enable-fp32-lm-head", "compute logits in FP32"),
)  # fmt: skip

_SPECULATIVE: Rows = (
    text("speculative-algorithm", None, "speculative decoding method: EAGLE, EAGLE3, NEXTN, STANDALONE, NGRAM, ...",
         suggested=("NGRAM", "EAGLE3")),
    text("speculative-draft-model-path", None, "draft model", aliases=("speculative-draft-model",)),
    integer("speculative-num-steps", None, "draft steps", suggested=(1, 3, 5)),
    integer("speculative-eagle-topk", None, "draft tokens kept in each step", suggested=(1, 4)),
    integer("speculative-num-draft-tokens", None, "draft tokens verified at once", suggested=(4, 8)),
    number("speculative-accept-threshold-single", 1.0, "probability from which a draft token is accepted", high=1.0),
    number("speculative-accept-threshold-acc", 1.0, "divisor that raises the probability of draft tokens", high=1.0),
    choice("speculative-attention-mode", "prefill", ("prefill", "decode"), "attention kernels for verification"),
    text("speculative-draft-attention-backend", None, "attention kernels of the draft model"),
    choice("speculative-draft-model-quantization", None, QUANTIZATIONS, "quantization of the draft model"),
    choice("speculative-moe-runner-backend", None, MOE_RUNNERS, "MoE kernels of the draft model"),
    switch("speculative-adaptive", "adapt the number of draft steps to the acceptance rate"),
    integer("speculative-ngram-max-bfs-breadth", 10, "search breadth in the n-gram tree"),
    integer("speculative-ngram-max-trie-depth", 18, "depth of the n-gram tree"),
)  # fmt: skip

CATALOG = by_name(_PARALLEL, _MEMORY, _SCHEDULING, _KERNELS, _GRAPHS, _MODEL, _SPECULATIVE)

_SERVICE: Rows = (
    text("model-path", None, "model path or hub id", aliases=("model",)),
    text("served-model-name", None, "model name in requests"),
    text("host", "127.0.0.1", "address to listen on"),
    integer("port", 30000, "port to listen on"),
    switch("enable-metrics", "serve /metrics"),
    switch("trust-remote-code", "execute code that comes with the model"),
    text("tokenizer-path", None, "tokenizer, if not the model's"),
    text("chat-template", None, "built-in chat template, or a file"),
    text("revision", None, "model revision on the hub"),
    text("device", None, "cuda, cpu, ...; default: detected"),
    integer("random-seed", None, "sampling seed", low=0),
    text("log-level", "info", "minimum log level"),
    integer("decode-log-interval", 40, "decode steps between two log lines"),
    number("watchdog-timeout", 300.0, "seconds after which a stuck batch terminates the server"),
    switch("skip-server-warmup", "skip the warmup request at startup"),
    text("reasoning-parser", None, "parser that separates reasoning from the answer"),
    text("tool-call-parser", None, "parser of tool calls"),
    text("json-model-override-args", "{}", "overrides of the model configuration, as JSON"),
    texts("lora-paths", "LoRA adapters: PATH, NAME=PATH, or JSON"),
    texts("lora-target-modules", "layer types that adapters apply to"),
    texts("custom-weight-loader", "weight loading functions, by import path"),
    texts("flashinfer-autotune-skip-ops", "operations that FlashInfer does not autotune"),
    texts("allowed-media-domains", "hosts from which images may be fetched"),
    texts("log-requests-target", "where requests are logged: stdout or folders"),
    sizes("numa-node", "NUMA node of each worker", low=0),
    sizes("gc-threshold", "thresholds of the Python garbage collector", low=0),
    numbers("bucket-time-to-first-token", "histogram buckets in seconds"),
    numbers("bucket-inter-token-latency", "histogram buckets in seconds"),
    numbers("bucket-e2e-request-latency", "histogram buckets in seconds"),
    texts("prompt-tokens-buckets", "histogram buckets: a rule and its numbers"),
    texts("generation-tokens-buckets", "histogram buckets: a rule and its numbers"),
)  # fmt: skip

KNOWN = {**CATALOG, **by_name(_SERVICE)}

ARITHMETIC = frozenset(
    name
    for name in CATALOG
    if name.startswith(("speculative-", "quantization"))
    or name
    in {
        "attention-backend",
        "decode-attention-backend",
        "dtype",
        "enable-fp32-lm-head",
        "enable-fused-qk-norm-rope",
        "enable-torch-compile",
        "fp4-gemm-backend",
        "fp8-gemm-backend",
        "kv-cache-dtype",
        "linear-attn-backend",
        "load-format",
        "mamba-backend",
        "model-impl",
        "moe-a2a-backend",
        "moe-runner-backend",
        "prefill-attention-backend",
        "sampling-backend",
        "triton-attention-num-kv-splits",
    }
)
"""Flags that choose number formats, kernels or speculative decoding."""

LOADING = frozenset(row.name for row in (*_PARALLEL, *_KERNELS, *_GRAPHS, *_MODEL, *_SPECULATIVE)) - {
    "grammar-backend",
    "load-balance-method",
    "pp-async-batch-depth",
    "pp-max-micro-batch-size",
    "speculative-accept-threshold-acc",
    "speculative-accept-threshold-single",
    "speculative-adaptive",
    "speculative-ngram-max-bfs-breadth",
    "speculative-ngram-max-trie-depth",
} | {"chunked-prefill-size", "cpu-offload-gb", "kv-cache-dtype", "page-size"}
"""Flags that decide which weights are read, or which code is compiled and kept in ``~/.cache``: by ``torch.compile``,
and kernels for the shapes that parallelism gives the layers, for the formats of weights and cache, and for batches of
up to ``chunked-prefill-size`` tokens (``update_deep_gemm_config`` in
``sglang/srt/layers/deep_gemm_wrapper/compile_utils.py``). See
https://docs.sglang.io/references/torch_compile_cache.html."""
