"""vLLM's options as data.

Source of names, choices and defaults: vLLM 0.32.0, ``vllm/engine/arg_utils.py``, ``vllm/config/*.py`` and the text of
``vllm serve --help=all``. A default of None is computed at start. A switch has a flag for each state.
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
    integer("pipeline-parallel-size", 1, "groups of GPUs that each hold a part of the layers",
            aliases=("pp", "pp-size"), suggested=(1, 2)),
    integer("data-parallel-size", 1, "replicas of attention; experts are spread over all of their GPUs",
            aliases=("dp", "dp-size"), suggested=(1, 2, 4)),
    integer("prefill-context-parallel-size", 1, "GPUs that share the sequence of a prompt", aliases=("pcp",)),
    integer("decode-context-parallel-size", 1, "GPUs (of the tensor-parallel ones) that share the KV cache",
            aliases=("dcp",), suggested=(1, 2)),
    pair("enable-expert-parallel", False, "spread whole experts over GPUs instead of splitting each", aliases=("ep",)),
    choice("all2all-backend", "allgather_reducescatter", ALL_TO_ALL, "how tokens reach experts on other GPUs"),
    pair("enable-eplb", False, "move experts between GPUs by how often they are asked for"),
    choice("expert-placement-strategy", "linear", ("linear", "round_robin"), "which GPU holds which expert"),
    pair("enable-dbo", False, "overlap communication and computation of two half batches"),
    integer("dbo-decode-token-threshold", 32, "tokens of a decoding batch from which dual batch overlap is used"),
    integer("dbo-prefill-token-threshold", 512, "tokens of a batch with prompts from which it is used"),
    pair("disable-custom-all-reduce", False, "use NCCL instead of the own all-reduce kernel"),
    pair("numa-bind", False, "keep each worker on the CPUs next to its GPU"),
    integer("api-server-count", None, "processes that serve HTTP; default: data-parallel-size",
            aliases=("asc",), suggested=(1, 2, 4)),
)  # fmt: skip

_MEMORY: Rows = (
    number("gpu-memory-utilization", 0.92, "share of GPU memory that the server may use, weights included",
           high=1.0, aliases=("device-memory-utilization",), suggested=(0.85, 0.9, 0.95)),
    text("kv-cache-memory-bytes", None, "size of the KV cache of each GPU, instead of what the utilization leaves"),
    integer("block-size", None, "tokens in a block of the KV cache", suggested=(16, 32, 64)),
    choice("kv-cache-dtype", "auto", KV_CACHE_DTYPES, "number format of the KV cache; auto: the model's",
           suggested=("auto", "fp8")),
    pair("enable-prefix-caching", None, "reuse the KV cache of equal prefixes"),
    choice("prefix-caching-hash-algo", "sha256", ("sha256", "sha256_cbor", "xxhash", "xxhash_cbor"),
           "how prefixes are told apart"),
    number("cpu-offload-gb", 0.0, "GiB of weights of each GPU that are kept in host memory", suggested=(0.0, 4.0)),
    choice("offload-backend", "auto", ("auto", "prefetch", "uva"), "how weights in host memory reach the GPU"),
    integer("offload-group-size", 0, "layers in a group of which some are kept in host memory; 0: none", low=0),
    number("kv-offloading-size", None, "GiB of host memory that the KV cache may spill to"),
    choice("kv-offloading-backend", "native", ("lmcache", "native"), "what does the spilling"),
    number("watermark", 0.0, "share of the KV cache kept free when requests are admitted", high=1.0),
    integer("num-gpu-blocks-override", None, "blocks of the KV cache, whatever the memory allows"),
    pair("disable-hybrid-kv-cache-manager", None, "one size of KV cache for all kinds of attention layers"),
    choice("mamba-cache-dtype", "auto", ("auto", "bfloat16", "float16", "float32"), "number format of states"),
    choice("mamba-ssm-cache-dtype", "auto", ("auto", "bfloat16", "float16", "float32"),
           "number format of the selective states"),
)  # fmt: skip

_SCHEDULING: Rows = (
    integer("max-num-seqs", None, "requests that are computed at a time", suggested=(64, 128, 256, 512)),
    integer("max-num-batched-tokens", None, "tokens computed in one step", suggested=(2048, 4096, 8192, 16384)),
    integer("max-num-active-seqs", None, "requests admitted at a time; at most max-num-seqs"),
    integer("max-model-len", None, "longest request in tokens; -1 or auto: what fits; default: the model's",
            low=-1, suggested=(8192, 32768), words=("auto",)),
    pair("enable-chunked-prefill", None, "compute prompts in pieces, beside decoding"),
    integer("long-prefill-token-threshold", 0, "tokens of a prompt computed in one step at most; 0: no cap", low=0),
    choice("scheduling-policy", "fcfs", ("fcfs", "priority"), "which waiting request is next"),
    pair("async-scheduling", None, "prepare the next step while the GPU computes"),
    pair("scheduler-reserve-full-isl", True, "admit a request only when its whole prompt fits in the KV cache"),
    integer("prefill-schedule-interval", 1, "steps between two admissions, with data parallelism"),
    integer("stream-interval", 1, "tokens between two sendings of a stream", suggested=(1, 4, 8)),
    integer("renderer-num-workers", 1, "threads that tokenise and apply chat templates", suggested=(1, 4)),
)  # fmt: skip

_KERNELS: Rows = (
    text("attention-backend", None, "kernels of attention", suggested=("FLASH_ATTN", "FLASHINFER", "TRITON_ATTN")),
    text("attention-config", None, "choices of attention, as JSON", aliases=("ac",)),
    choice("linear-backend", "auto", LINEAR_BACKENDS, "kernels of linear layers"),
    choice("moe-backend", "auto", MOE_BACKENDS, "kernels of experts"),
    text("mamba-backend", "TRITON", "kernels of Mamba layers"),
    pair("enable-flashinfer-autotune", None, "let FlashInfer choose its kernels by trying them at start"),
    pair("enforce-eager", False, "compute without CUDA graphs and torch.compile"),
    text("compilation-config", None, "torch.compile and CUDA graphs, as JSON", aliases=("cc",),
         suggested=('{"cudagraph_mode": "FULL_AND_PIECEWISE"}',)),
    integer("max-cudagraph-capture-size", None, "largest batch with a CUDA graph", suggested=(128, 256, 512)),
    sizes("cudagraph-capture-sizes", "sizes of batches with a CUDA graph"),
    integer("optimization-level", 2, "0 starts fastest, 3 runs fastest", low=0, high=3, aliases=("O",),
            suggested=(1, 2, 3)),
    choice("performance-mode", "balanced", ("balanced", "interactivity", "throughput"),
           "what kernels and graphs are chosen for", suggested=("balanced", "interactivity", "throughput")),
    text("kernel-config", None, "choices of kernels, as JSON"),
)  # fmt: skip

_MODEL: Rows = (
    choice("dtype", "auto", ("auto", "bfloat16", "float", "float16", "float32", "half"),
           "number format of weights and activations"),
    text("quantization", None, "number format that weights are brought into", aliases=("q",),
         suggested=("fp8", "fp8_per_block")),
    text("quantization-config", None, "quantization by kind of layer, as JSON"),
    text("load-format", "auto", "how weights are read; dummy makes random ones"),
    choice("model-impl", "auto", ("auto", "terratorch", "transformers", "vllm"), "implementation of the model"),
    pair("language-model-only", False, "leave images, sound and video out"),
)  # fmt: skip

_SPECULATIVE: Rows = (
    text("speculative-config", None, "guessing tokens ahead, as JSON", aliases=("sc",),
         suggested=('{"method": "ngram", "num_speculative_tokens": 4}',)),
    text("spec-method", None, "how tokens are guessed ahead: ngram, eagle3, mtp, draft_model, ..."),
    text("spec-model", None, "model that guesses"),
    integer("spec-tokens", None, "tokens guessed at once", suggested=(2, 4, 8)),
)  # fmt: skip

CATALOG = by_name(_PARALLEL, _MEMORY, _SCHEDULING, _KERNELS, _MODEL, _SPECULATIVE)

_SERVICE: Rows = (
    text("model", None, "the model"),
    text("served-model-name", None, "its name in requests"),
    text("host", None, "address to listen on"),
    integer("port", 8000, "port to listen on"),
    pair("trust-remote-code", False, "execute code that comes with the model"),
    text("tokenizer", None, "the tokenizer, where it is not the model's"),
    text("chat-template", None, "a chat template: a file, or one line"),
    text("revision", None, "the model's revision on the hub"),
    text("hf-overrides", None, "changes of the model's configuration, as JSON"),
    text("generation-config", "auto", "sampling defaults: auto (the model's) or vllm"),
    integer("seed", 0, "seed of sampling", low=None),
    switch("disable-log-stats", "no statistics, neither in the log nor in /metrics"),
    pair("enable-log-requests", False, "log every request"),
    integer("max-logprobs", 20, "most log probabilities of a token in an answer", low=-1),
    text("distributed-executor-backend", None, "mp, ray, uni"),
    text("reasoning-parser", "", "how thoughts are told from answers"),
    text("tool-call-parser", None, "how calls of tools are read"),
    pair("enable-auto-tool-choice", False, "let the model call tools"),
    text("limit-mm-per-prompt", None, "images and the like in a request, as JSON"),
    texts("lora-modules", "LoRA adapters: NAME=PATH, or JSON"),
    texts("lora-target-modules", "kinds of layer that adapters apply to"),
    texts("logits-processors", "classes that change logits"),
    texts("middleware", "ASGI middleware by import path", several="occurrences"),
    texts("kv-cache-dtype-skip-layers", "layers whose KV cache keeps the model's number format"),
    texts("collect-detailed-traces", "parts of the server that are traced"),
    texts("ignore-patterns", "files of the model that are not loaded"),
    texts("allowed-media-domains", "hosts from which images may be fetched"),
    texts("numa-bind-cpus", "CPUs of each worker, as numactl takes them"),
    sizes("numa-bind-nodes", "memory node of each worker", low=0),
)  # fmt: skip

KNOWN = {**CATALOG, **by_name(_SERVICE)}
