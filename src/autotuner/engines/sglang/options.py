"""SGLang's options as data.

Source of names, choices and defaults: SGLang 0.5.23, ``sglang/srt/arg_groups/fields/*.py``, ``choices.py`` and
``server_args.py``. A default of None is computed at start. Bare switches have no off spelling.
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
    integer("pp-size", 1, "groups of GPUs that each hold a part of the layers",
            aliases=("pipeline-parallel-size", "pp"), suggested=(1, 2)),
    integer("dp-size", 1, "replicas of the model behind one address; with enable-dp-attention, attention groups",
            aliases=("data-parallel-size", "dp"), suggested=(1, 2, 4)),
    integer("attn-dp-size", 1, "data-parallel attention groups inside the tensor-parallel group",
            aliases=("attention-data-parallel-size",), suggested=(1, 2, 4, 8)),
    switch("enable-dp-attention", "dp-size counts attention groups inside tp-size instead of replicas (older form)"),
    integer("ep-size", 1, "GPUs over which a mixture's experts are spread",
            aliases=("expert-parallel-size", "ep"), suggested=(1, 2, 4, 8)),
    integer("moe-dp-size", 1, "data-parallel groups of the experts", aliases=("moe-data-parallel-size",)),
    integer("attn-cp-size", 1, "GPUs that share the sequence in attention",
            aliases=("attention-context-parallel-size",), suggested=(1, 2)),
    integer("dcp-size", 1, "GPUs that share the KV cache while decoding",
            aliases=("decode-context-parallel-size",), suggested=(1, 2)),
    switch("enable-dp-lm-head", "keep the output layer inside an attention group"),
    choice("load-balance-method", "auto",
           ("auto", "round_robin", "follow_bootstrap_room", "total_requests", "total_tokens"),
           "how requests are shared among replicas or attention groups"),
    integer("pp-max-micro-batch-size", None, "largest micro batch of a pipeline"),
    integer("pp-async-batch-depth", 0, "batches in flight between pipeline stages", low=0),
)  # fmt: skip

_MEMORY: Rows = (
    number("mem-fraction-static", None, "share of GPU memory for weights and KV cache; the rest is for activations",
           high=1.0, suggested=(0.8, 0.85, 0.9)),
    integer("max-total-tokens", None, "tokens of the KV cache; default: what mem-fraction-static leaves", low=1),
    integer("page-size", None, "tokens in a page of the KV cache", suggested=(1, 16, 64)),
    choice("kv-cache-dtype", "auto",
           ("auto", "fp8_e5m2", "fp8_e4m3", "mxfp8", "bf16", "bfloat16", "nvfp4", "fp4_mx_block16"),
           "number format of the KV cache; auto: the model's", suggested=("auto", "fp8_e5m2")),
    switch("disable-radix-cache", "do not reuse the KV cache of equal prefixes"),
    choice("radix-eviction-policy", "lru", ("lru", "lfu", "slru", "priority", "tlru"),
           "what the prefix cache gives up first"),
    switch("enable-hierarchical-cache", "extend the prefix cache into host memory", aliases=("enable-hicache",)),
    number("hicache-ratio", None, "size of the host's cache relative to the GPU's", suggested=(2.0, 4.0)),
    integer("hicache-size", 0, "size of the host's cache in GB; overrides hicache-ratio", low=0),
    choice("hicache-write-policy", "write_through", ("write_back", "write_through", "write_through_selective"),
           "when the cache is copied to host memory"),
    choice("hicache-io-backend", "kernel", ("direct", "kernel", "kernel_ascend"), "how host and GPU cache are copied"),
    choice("hicache-mem-layout", "page_first",
           ("layer_first", "page_first", "page_first_direct", "page_first_kv_split", "page_head"),
           "layout of the host's cache"),
    choice("hicache-storage-prefetch-policy", "timeout", ("best_effort", "wait_complete", "timeout"),
           "when prefetching from a storage backend stops"),
    integer("cpu-offload-gb", 0, "GB of weights kept in host memory", low=0),
    number("swa-full-tokens-ratio", None, "KV tokens of sliding-window layers relative to full ones", high=1.0),
    integer("max-mamba-cache-size", None, "states kept for hybrid models"),
    number("mamba-full-memory-ratio", None, "memory of states relative to the KV cache, for hybrid models"),
)  # fmt: skip

_SCHEDULING: Rows = (
    integer("max-running-requests", None, "requests that are computed at a time", suggested=(64, 128, 256, 512)),
    integer("max-queued-requests", None, "requests that may wait; more are refused"),
    integer("chunked-prefill-size", None, "longest piece of a prompt computed at once; -1: whole prompts",
            low=-1, suggested=(2048, 4096, 8192, 16384)),
    integer("max-prefill-tokens", 16384, "prompt tokens in a batch", suggested=(8192, 16384, 32768)),
    integer("prefill-max-requests", None, "requests in a batch of prompts"),
    integer("prefill-decode-interval", None, "decoding rounds between two batches of prompts; 0: no wait", low=0),
    choice("schedule-policy", "fcfs",
           ("lpm", "random", "fcfs", "dfs-weight", "lof", "priority", "routing-key", "hrrn", "shortest-prefill-first"),
           "which waiting request is next", suggested=("fcfs", "lpm")),
    number("schedule-conservativeness", 1.0, "how careful requests are admitted; larger avoids retractions",
           suggested=(0.3, 1.0, 1.3)),
    switch("enable-mixed-chunk", "compute pieces of prompts and decoding in one batch"),
    switch("enable-dynamic-chunking", "fit the piece of a prompt to a constant time, with pipelines"),
    integer("num-continuous-decode-steps", 1, "decoding steps between two looks at the queue", suggested=(1, 2, 4, 8)),
    integer("stream-interval", 1, "tokens between two sendings of a stream", suggested=(1, 4, 8)),
    integer("scheduler-recv-interval", 1, "scheduling rounds between two looks for new requests", suggested=(1, 4)),
    switch("disable-overlap-schedule", "do not prepare the next batch while the GPU computes"),
    switch("enable-two-batch-overlap", "overlap communication and computation of two half batches"),
    switch("enable-single-batch-overlap", "overlap communication and computation inside a batch"),
    choice("retraction-policy", "length", ("length", "priority"), "which request gives way when the KV cache is full"),
    switch("enable-priority-scheduling", "requests carry a priority"),
    integer("tokenizer-worker-num", 1, "processes that tokenise", suggested=(1, 4)),
    integer("detokenizer-worker-num", 1, "processes that turn tokens into text", suggested=(1, 4)),
    switch("enable-tokenizer-batch-encode", "tokenise several texts at once"),
    switch("enable-prefill-delayer", "hold prompts back until all attention groups have some"),
    integer("context-length", None, "longest request in tokens; default: the model's", suggested=(8192, 32768)),
)  # fmt: skip

_KERNELS: Rows = (
    choice("attention-backend", None, ATTENTION, "kernels of attention", suggested=("flashinfer", "fa3", "triton")),
    choice("prefill-attention-backend", None, ATTENTION, "kernels of attention over prompts"),
    choice("decode-attention-backend", None, ATTENTION, "kernels of attention while decoding"),
    choice("sampling-backend", None, ("flashinfer", "pytorch", "ascend", "intel_xpu"), "kernels of sampling",
           suggested=("flashinfer", "pytorch")),
    choice("grammar-backend", None, ("xgrammar", "outlines", "llguidance", "none"), "library for guided output"),
    choice("fp8-gemm-backend", "auto", FP8_GEMM, "kernels of block-wise FP8 products",
           aliases=("fp8-gemm-runner-backend",)),
    choice("fp4-gemm-backend", "auto",
           ("auto", "flashinfer_cudnn", "flashinfer_cutedsl", "flashinfer_cutlass", "flashinfer_trtllm", "marlin"),
           "kernels of FP4 products", aliases=("fp4-gemm-runner-backend",)),
    choice("moe-runner-backend", "auto", MOE_RUNNERS, "kernels of experts",
           suggested=("auto", "triton", "flashinfer_cutlass")),
    choice("moe-a2a-backend", "none", MOE_ALL_TO_ALL, "how tokens reach experts on other GPUs",
           suggested=("none", "deepep")),
    choice("deepep-mode", "auto", ("auto", "normal", "low_latency"), "mode of DeepEP; auto: normal for prompts only"),
    integer("ep-num-redundant-experts", 0, "copies of experts that are asked for often", low=0),
    switch("enable-eplb", "move experts between GPUs by how often they are asked for"),
    integer("moe-dense-tp-size", None, "tensor-parallel size of a mixture's dense layers"),
    switch("disable-shared-experts-fusion", "compute shared experts apart"),
    choice("linear-attn-backend", "triton",
           ("triton", "cutedsl", "flashinfer", "flashkda", "nvidia_kda", "ptx_kda", "helion", "intel_xpu"),
           "kernels of linear attention"),
    choice("mamba-backend", "triton", ("triton", "flashinfer"), "kernels of Mamba layers"),
    integer("triton-attention-num-kv-splits", 8, "pieces of the KV cache that triton attention works on at once",
            suggested=(4, 8, 16)),
    switch("disable-custom-all-reduce", "use NCCL instead of the own all-reduce kernel"),
    choice("flashinfer-allreduce-fusion-backend", None, ("auto", "trtllm", "mnnvl", "cutedsl"),
           "fuse all-reduce with normalization by FlashInfer"),
    switch("enable-mscclpp", "use MSCCL++ for small all-reduces"),
    switch("enable-symm-mem", "use NCCL's symmetric memory"),
    switch("enable-torch-symm-mem", "use PyTorch's symmetric memory for all-reduce"),
    switch("enable-nccl-nvls", "use NVLink SHARP for prompts"),
    pair("enable-fused-qk-norm-rope", None, "fuse normalization and position encoding of queries and keys"),
)  # fmt: skip

_GRAPHS: Rows = (
    integer("cuda-graph-max-bs-decode", None, "largest batch with a CUDA graph while decoding",
            aliases=("cuda-graph-max-bs",), suggested=(32, 64, 160, 256)),
    integer("cuda-graph-max-bs-prefill", None, "most prompt tokens with a CUDA graph"),
    sizes("cuda-graph-bs-decode", "sizes of batches with a CUDA graph while decoding", aliases=("cuda-graph-bs",)),
    sizes("cuda-graph-bs-prefill", "numbers of prompt tokens with a CUDA graph"),
    choice("cuda-graph-backend-decode", None, GRAPH_BACKENDS, "kind of CUDA graph while decoding"),
    choice("cuda-graph-backend-prefill", None, GRAPH_BACKENDS, "kind of CUDA graph for prompts"),
    text("cuda-graph-config", None, "CUDA graphs by phase, as JSON; it wins over the other graph flags"),
    switch("disable-cuda-graph", "compute without CUDA graphs (older form)"),
    switch("disable-prefill-cuda-graph", "compute prompts without CUDA graphs"),
    switch("disable-decode-cuda-graph", "decode without CUDA graphs"),
    switch("disable-cuda-graph-padding", "use a CUDA graph only for batches of exactly its size"),
    switch("enable-torch-compile", "compile the model with torch.compile"),
    integer("torch-compile-max-bs", 32, "largest batch that torch.compile is used for", suggested=(8, 32)),
)  # fmt: skip

_MODEL: Rows = (
    choice("dtype", "auto", ("auto", "half", "float16", "bfloat16", "float", "float32"),
           "number format of weights and activations"),
    choice("quantization", None, QUANTIZATIONS, "number format that weights are brought into", suggested=("fp8",)),
    choice("load-format", "auto", LOAD_FORMATS, "how weights are read; dummy makes random ones"),
    text("model-impl", "auto", "implementation of the model: auto, sglang, transformers"),
    switch("enable-fp32-lm-head", "compute logits in 32 bits"),
)  # fmt: skip

_SPECULATIVE: Rows = (
    text("speculative-algorithm", None, "how tokens are guessed ahead: EAGLE, EAGLE3, NEXTN, STANDALONE, NGRAM, ...",
         suggested=("NGRAM", "EAGLE3")),
    text("speculative-draft-model-path", None, "model that guesses", aliases=("speculative-draft-model",)),
    integer("speculative-num-steps", None, "steps of guessing", suggested=(1, 3, 5)),
    integer("speculative-eagle-topk", None, "guesses kept in each step", suggested=(1, 4)),
    integer("speculative-num-draft-tokens", None, "guessed tokens that are verified at once", suggested=(4, 8)),
    number("speculative-accept-threshold-single", 1.0, "probability from which a guess is accepted", high=1.0),
    number("speculative-accept-threshold-acc", 1.0, "divisor that raises a guess's probability", high=1.0),
    choice("speculative-attention-mode", "prefill", ("prefill", "decode"), "attention kernels used for verifying"),
    text("speculative-draft-attention-backend", None, "kernels of attention in the model that guesses"),
    choice("speculative-draft-model-quantization", None, QUANTIZATIONS, "quantization of the model that guesses"),
    choice("speculative-moe-runner-backend", None, MOE_RUNNERS, "kernels of experts in the model that guesses"),
    switch("speculative-adaptive", "fit the steps of guessing to how many guesses are accepted"),
    integer("speculative-ngram-max-bfs-breadth", 10, "breadth of the tree of n-grams"),
    integer("speculative-ngram-max-trie-depth", 18, "depth of the tree of n-grams"),
)  # fmt: skip

CATALOG = by_name(_PARALLEL, _MEMORY, _SCHEDULING, _KERNELS, _GRAPHS, _MODEL, _SPECULATIVE)

_SERVICE: Rows = (
    text("model-path", None, "the model", aliases=("model",)),
    text("served-model-name", None, "its name in requests"),
    text("host", "127.0.0.1", "address to listen on"),
    integer("port", 30000, "port to listen on"),
    switch("enable-metrics", "serve /metrics"),
    switch("trust-remote-code", "execute code that comes with the model"),
    text("tokenizer-path", None, "the tokenizer, where it is not the model's"),
    text("chat-template", None, "a built-in chat template, or a file"),
    text("revision", None, "the model's revision on the hub"),
    text("device", None, "cuda, cpu, ...; default: what is there"),
    integer("random-seed", None, "seed of sampling", low=0),
    text("log-level", "info", "least level of log lines"),
    integer("decode-log-interval", 40, "decoding steps between two lines of the log"),
    number("watchdog-timeout", 300.0, "seconds after which a stuck batch ends the server"),
    switch("skip-server-warmup", "answer before a first request was computed"),
    text("reasoning-parser", None, "how thoughts are told from answers"),
    text("tool-call-parser", None, "how calls of tools are read"),
    text("json-model-override-args", "{}", "changes of the model's configuration, as JSON"),
    texts("lora-paths", "LoRA adapters: PATH, NAME=PATH, or JSON"),
    texts("lora-target-modules", "kinds of layer that adapters apply to"),
    texts("custom-weight-loader", "functions that load weights, by import path"),
    texts("flashinfer-autotune-skip-ops", "operations that FlashInfer does not autotune"),
    texts("allowed-media-domains", "hosts from which images may be fetched"),
    texts("log-requests-target", "where requests are logged: stdout, or folders"),
    sizes("numa-node", "memory node of each worker", low=0),
    sizes("gc-threshold", "thresholds of Python's garbage collector", low=0),
    numbers("bucket-time-to-first-token", "buckets of the metric, in seconds"),
    numbers("bucket-inter-token-latency", "buckets of the metric, in seconds"),
    numbers("bucket-e2e-request-latency", "buckets of the metric, in seconds"),
    texts("prompt-tokens-buckets", "buckets of the metric, by a rule and its numbers"),
    texts("generation-tokens-buckets", "buckets of the metric, by a rule and its numbers"),
)  # fmt: skip

KNOWN = {**CATALOG, **by_name(_SERVICE)}
