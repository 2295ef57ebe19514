"""trtllm-serve's options as data: its few flags, and the options that it reads from YAML only.

Source: repository NVIDIA/TensorRT-LLM, ``tensorrt_llm/commands/serve.py`` and ``tensorrt_llm/llmapi/llm_args.py``. The
flags are those that releases 1.1 and 1.2 and the main branch of 2026 have in common; names are written with
underscores there. Release 1.2 reads everything that is not a flag from a file (``--extra_llm_api_options``); newer
ones also from ``--set PATH=VALUE``.
"""

from autotuner.engines.shared.catalog import Rows, by_name, choice, integer, number, switch, text

_YES_NO = ("true", "false")

_FLAGS: Rows = (
    integer("tp-size", 1, "GPUs that share each layer of the model",
            aliases=("tensor-parallel-size", "tp"), suggested=(1, 2, 4, 8)),
    integer("pp-size", 1, "groups of GPUs that each hold a part of the layers",
            aliases=("pipeline-parallel-size", "pp"), suggested=(1, 2)),
    integer("cp-size", 1, "GPUs that share the sequence", aliases=("context-parallel-size", "cp"), suggested=(1, 2)),
    integer("ep-size", None, "GPUs over which a mixture's experts are spread",
            aliases=("moe-expert-parallel-size", "ep"), suggested=(1, 2, 4, 8)),
    integer("cluster-size", None, "clusters of experts", aliases=("moe-cluster-parallel-size",)),
    choice("backend", "pytorch", ("pytorch", "tensorrt", "_autodeploy"), "what executes the model",
           suggested=("pytorch",)),
    integer("max-batch-size", 2048, "requests that are computed at a time", suggested=(64, 128, 256, 512)),
    integer("max-num-tokens", 8192, "tokens computed in one step", suggested=(2048, 4096, 8192, 16384)),
    integer("max-seq-len", None, "longest request in tokens, answer included; default: the model's",
            suggested=(8192, 32768)),
    integer("max-beam-width", 1, "beams of a beam search"),
    number("kv-cache-free-gpu-memory-fraction", 0.9, "share of the GPU memory left by the weights for the KV cache",
           high=1.0, aliases=("free-gpu-memory-fraction",), suggested=(0.8, 0.9, 0.95)),
    switch("enable-chunked-prefill", "compute prompts in pieces, beside decoding"),
    integer("num-postprocess-workers", 0, "processes that turn tokens into text; 0: none of their own", low=0,
            suggested=(0, 2, 4)),
)  # fmt: skip

_YAML: Rows = (
    choice("kv-cache-config.enable-block-reuse", "true", _YES_NO, "reuse the KV cache of equal prefixes"),
    choice("kv-cache-config.enable-partial-reuse", "true", _YES_NO, "reuse blocks that match in part"),
    choice("kv-cache-config.dtype", "auto", ("auto", "float16", "bfloat16", "float32", "fp8", "fp8_ds_mla", "nvfp4"),
           "number format of the KV cache; auto: the checkpoint's", suggested=("auto", "fp8")),
    integer("kv-cache-config.tokens-per-block", 32, "tokens in a block of the KV cache", suggested=(32, 64)),
    integer("kv-cache-config.max-tokens", None, "tokens of the KV cache at most"),
    integer("kv-cache-config.host-cache-size", None, "bytes of host memory that the KV cache may spill to", low=0),
    choice("scheduler-config.capacity-scheduler-policy", "GUARANTEED_NO_EVICT",
           ("GUARANTEED_NO_EVICT", "MAX_UTILIZATION", "STATIC_BATCH"), "when a waiting request is admitted",
           suggested=("GUARANTEED_NO_EVICT", "MAX_UTILIZATION")),
    integer("cuda-graph-config.max-batch-size", None, "largest batch with a CUDA graph", low=0,
            suggested=(64, 128, 256)),
    choice("cuda-graph-config.enable-padding", "false", _YES_NO, "pad batches to the next size with a CUDA graph"),
    choice("disable-overlap-scheduler", "false", _YES_NO, "do not prepare the next step while the GPU computes"),
    choice("enable-attention-dp", "false", _YES_NO, "every GPU computes attention of its own requests"),
    choice("attn-backend", "TRTLLM", ("TRTLLM", "FLASHINFER", "VANILLA"), "kernels of attention"),
    choice("allreduce-strategy", "AUTO",
           ("AUTO", "NCCL", "UB", "MINLATENCY", "ONESHOT", "TWOSHOT", "LOWPRECISION", "MNNVL", "NCCL_SYMMETRIC"),
           "how results of GPUs are summed up"),
    text("moe-config.backend", None, "kernels of experts: AUTO, CUTLASS, TRTLLM, ...", suggested=("CUTLASS", "TRTLLM")),
    integer("stream-interval", 1, "steps between two sendings of a stream", suggested=(1, 4, 8)),
    number("batch-wait-timeout-ms", 0.0, "milliseconds that the queue waits for a full batch"),
    integer("batch-wait-timeout-iters", 0, "steps that the queue waits for more requests", low=0),
)  # fmt: skip

CATALOG = by_name(_FLAGS, _YAML)
YAML_ONLY = frozenset(row.name for row in _YAML)

_SERVICE: Rows = (
    text("host", "localhost", "address to listen on"),
    integer("port", 8000, "port to listen on"),
    text("served-model-name", None, "its name in requests"),
    switch("trust-remote-code", "execute code that comes with the model"),
    text("tokenizer", None, "the tokenizer, where it is not the model's"),
    text("extra-llm-api-options", None, "a YAML file with options that are no flags", aliases=("config",)),
    text("chat-template", None, "a chat template: a file, or one line"),
    text("log-level", "info", "least level of log lines"),
    integer("gpus-per-node", None, "GPUs of the machine; default: those that are seen"),
    text("reasoning-parser", None, "how thoughts are told from answers"),
    switch("fail-fast-on-attention-window-too-large", "end when one request does not fit in the KV cache"),
)  # fmt: skip

KNOWN = {**CATALOG, **by_name(_SERVICE)}
