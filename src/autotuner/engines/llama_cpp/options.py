"""llama-server's options as data: one table for the catalog (what may be tuned) and for the launcher (which attribute
of ``xllamacpp.CommonParams`` an option sets), so that the two cannot disagree.

Standard library only: the launcher imports it and must start as fast as the server itself.
Source of names, defaults and meanings: llama.cpp, ``tools/server/README.md`` (options of October 2026).
"""

from typing import Any, Literal, NamedTuple

Kind = Literal["int", "float", "bool", "string", "choice"]

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
QUANTIZED_CACHE_TYPES = CACHE_TYPES[3:]
SWITCH = ("on", "off", "auto")


class Option(NamedTuple):
    """One option of llama-server."""

    name: str
    """Canonical long name without dashes."""
    kind: Kind
    target: str
    """Attribute path in ``CommonParams``. A leading ``!`` means that the attribute is the option's negation; an empty
    path that the launcher handles the option itself."""
    meaning: str
    default: Any = None
    aliases: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    """Flags that turn a boolean off; the first one is canonical."""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    """Accepted values of a choice; for a number, words that are accepted as well."""
    suggested: tuple[Any, ...] = ()
    tunable: bool = True
    """Listed in the catalog."""
    repeated: bool = False
    """May be given several times; each occurrence adds a value."""


def _fixed(name: str, kind: Kind, target: str, meaning: str, **fields: Any) -> Option:
    """An option that a study sets and does not tune."""
    return Option(name, kind, target, meaning, tunable=False, **fields)


Rows = tuple[Option, ...]

_THREADS: Rows = (
    Option("threads", "int", "cpuparams.n_threads", "threads for token generation; default: one per core",
           aliases=("t", "n-threads"), low=-1, high=512, suggested=(1, 2, 4, 8)),
    Option("threads-batch", "int", "cpuparams_batch.n_threads", "threads for prompt processing; default: threads",
           aliases=("tb", "n-threads-batch"), low=-1, high=512, suggested=(1, 2, 4, 8)),
    Option("threads-http", "int", "n_threads_http", "threads for HTTP requests; -1: chosen by the server", -1, low=-1,
           high=1024),
    Option("poll", "int", "cpuparams.poll", "polling level of idle threads; 0 sleeps, 100 never sleeps", 50, low=0,
           high=100, suggested=(0, 50, 100)),
    Option("poll-batch", "int", "cpuparams_batch.poll", "poll during prompt processing; default: poll", low=0, high=1),
    Option("prio", "int", "cpuparams.priority", "scheduling priority, from -1 (low) to 3 (realtime)", 0, low=-1,
           high=3),
    Option("prio-batch", "int", "cpuparams_batch.priority", "prio during prompt processing", 0, low=0, high=3),
    Option("cpu-strict", "int", "cpuparams.strict_cpu", "1 pins each thread to one CPU", 0, low=0, high=1),
    Option("cpu-strict-batch", "int", "cpuparams_batch.strict_cpu", "cpu-strict during prompt processing", low=0,
           high=1),
    Option("numa", "choice", "numa", "thread placement on NUMA machines",
           choices=("distribute", "isolate", "numactl")),
)  # fmt: skip

_BATCHING: Rows = (
    Option("parallel", "int", "n_parallel", "slots, i.e. requests decoded concurrently; default: 4, one cache",
           aliases=("np", "n-parallel"), low=-1, high=256, suggested=(1, 2, 4, 8)),
    Option("batch-size", "int", "n_batch", "tokens gathered into one logical batch", 2048, aliases=("b", "n-batch"),
           low=1, high=65536, suggested=(256, 512, 1024, 2048)),
    Option("ubatch-size", "int", "n_ubatch", "tokens per compute pass; at most batch-size", 512,
           aliases=("ub", "n-ubatch"), low=1, high=65536, suggested=(32, 128, 256, 512)),
    Option("cont-batching", "bool", "cont_batching", "admit new requests while others are being decoded", True,
           aliases=("cb",), off=("no-cont-batching", "nocb")),
    Option("warmup", "bool", "warmup", "run an empty batch at startup", True, off=("no-warmup",)),
)  # fmt: skip

_CACHE: Rows = (
    Option("ctx-size", "int", "n_ctx", "KV cache size in tokens, shared by all slots; 0: context length of the model",
           0, aliases=("c", "n-ctx"), low=0, high=2**24, suggested=(4096, 8192)),
    Option("flash-attn", "choice", "flash_attn_type", "fused attention; required for a quantized V cache", "auto",
           aliases=("fa",), choices=SWITCH, suggested=("on", "off")),
    Option("cache-type-k", "choice", "cache_type_k", "data type of the K cache", "f16", aliases=("ctk",),
           choices=CACHE_TYPES, suggested=("f16", "q8_0")),
    Option("cache-type-v", "choice", "cache_type_v", "data type of the V cache", "f16", aliases=("ctv",),
           choices=CACHE_TYPES, suggested=("f16", "q8_0")),
    Option("cache-prompt", "bool", "cache_prompt", "reuse the KV cache of a common prompt prefix", True,
           off=("no-cache-prompt",)),
    Option("cache-reuse", "int", "n_cache_reuse", "smallest chunk in tokens to reuse by shifting; 0: never", 0, low=0,
           suggested=(0, 64, 256)),
    Option("cache-ram", "int", "cache_ram_mib", "MiB of memory for prompt caches; -1: no limit, 0: none", 8192,
           aliases=("cram",), low=-1),
    Option("cache-idle-slots", "bool", "cache_idle_slots", "save idle slots to the prompt cache; requires cache-ram",
           True, off=("no-cache-idle-slots",)),
    Option("kv-unified", "bool", "kv_unified", "one KV cache shared by all slots; default: on if parallel is unset",
           aliases=("kvu",), off=("no-kv-unified", "no-kvu")),
    Option("kv-unified-per-slot", "int", "kv_unified_per_slot", "context limit of a slot; 0: unset", 0, low=0),
    Option("kv-offload", "bool", "!no_kv_offload", "keep the KV cache on the GPU", True, aliases=("kvo",),
           off=("no-kv-offload", "nkvo")),
    Option("swa-full", "bool", "swa_full", "full-size cache for sliding-window attention", False),
    Option("ctx-checkpoints", "int", "n_ctx_checkpoints", "context checkpoints kept per slot", 32,
           aliases=("ctxcp", "swa-checkpoints"), low=0),
    Option("checkpoint-min-step", "int", "checkpoint_min_step", "minimum number of tokens between checkpoints", 8192,
           aliases=("cms",), low=0),
    Option("context-shift", "bool", "ctx_shift", "drop old tokens instead of stopping when the context is full", False,
           off=("no-context-shift",)),
    Option("slot-prompt-similarity", "float", "slot_prompt_similarity",
           "share of a prompt that must match a slot to reuse that slot; 0: never", 0.1, aliases=("sps",), low=0,
           high=1),
)  # fmt: skip

_PLACEMENT: Rows = (
    Option("n-gpu-layers", "int", "n_gpu_layers", "layers on the GPU; -1 (auto): as many as fit, -2: all", -1,
           aliases=("ngl", "gpu-layers"), low=-2, choices=("auto", "all")),
    Option("split-mode", "choice", "split_mode", "how the model is split across GPUs", "layer", aliases=("sm",),
           choices=("none", "layer", "row", "tensor")),
    Option("main-gpu", "int", "main_gpu", "GPU to use when the model is not split", 0, aliases=("mg",), low=0),
    Option("load-mode", "choice", "load_mode", "how the model file is read", "auto", aliases=("lm",),
           choices=("auto", "none", "mmap", "mlock", "mmap+mlock", "dio")),
    Option("lazy-mode", "choice", "lazy_mode", "read rarely used tensors from disk on demand", "auto", aliases=("lzm",),
           choices=SWITCH),
    Option("repack", "bool", "!no_extra_bufts", "rearrange weights for the CPU's instructions while loading", True,
           off=("no-repack", "nr")),
    Option("no-host", "bool", "no_host", "bypass the host buffer, allowing extra buffers", False),
    Option("op-offload", "bool", "!no_op_offload", "compute large host tensors on the GPU", True,
           off=("no-op-offload",)),
    Option("fit", "choice", "fit_params", "adjust unset arguments to fit in memory", "on", choices=("on", "off")),
    Option("fit-ctx", "int", "fit_params_min_ctx", "smallest context that fit may choose", 4096, aliases=("fitc",),
           low=0),
    Option("perf", "bool", "!no_perf", "collect internal timings", off=("no-perf",)),
)  # fmt: skip

_SERVICE: Rows = (
    _fixed("lora", "string", "lora_adapters", "GGUF file of a LoRA adapter; repeatable", repeated=True),
    _fixed("reverse-prompt", "string", "antiprompt", "text at which generation stops; repeatable", aliases=("r",),
           repeated=True),
    _fixed("model", "string", "model.path", "model file", aliases=("m",)),
    _fixed("alias", "string", "", "served model names, separated by commas", aliases=("a",)),
    _fixed("host", "string", "", "addresses to listen on, separated by commas"),
    _fixed("port", "int", "port", "port to listen on"),
    _fixed("api-prefix", "string", "api_prefix", "prefix of all routes"),
    _fixed("timeout", "int", "", "read and write timeout in seconds", aliases=("to",)),
    _fixed("sse-ping-interval", "int", "sse_ping_interval", "seconds between keep-alive events; -1: none"),
    _fixed("predict", "int", "n_predict", "maximum output tokens; -1: no limit", aliases=("n", "n-predict")),
    _fixed("keep", "int", "n_keep", "prompt tokens kept by a context shift"),
    _fixed("seed", "int", "sampling.seed", "sampling seed; -1: random", aliases=("s",)),
    _fixed("temp", "float", "sampling.temp", "sampling temperature", aliases=("temperature",)),
    _fixed("top-k", "int", "sampling.top_k", "sample from the k most likely tokens"),
    _fixed("top-p", "float", "sampling.top_p", "sample from the most likely tokens with this total probability"),
    _fixed("min-p", "float", "sampling.min_p", "minimum probability relative to the most likely token"),
    _fixed("chat-template", "string", "chat_template", "Jinja template, or the name of a built-in one"),
    _fixed("rope-freq-base", "float", "rope_freq_base", "base frequency of rotary position embeddings"),
    _fixed("rope-freq-scale", "float", "rope_freq_scale", "frequency scale of rotary position embeddings"),
    _fixed("log-verbosity", "int", "verbosity", "0 output, 1 errors, 2 warnings, 3 information, 4 trace, 5 debug",
           aliases=("lv", "verbosity")),
    _fixed("metrics", "bool", "endpoint_metrics", "serve /metrics"),
    _fixed("props", "bool", "endpoint_props", "allow changes by POST /props"),
    _fixed("slots", "bool", "endpoint_slots", "serve /slots", off=("no-slots",)),
    _fixed("jinja", "bool", "use_jinja", "use the model's chat template", off=("no-jinja",)),
    _fixed("ui", "bool", "ui", "serve the web UI", off=("no-ui", "no-webui")),
    _fixed("embedding", "bool", "embedding", "serve embeddings only", aliases=("embeddings",)),
    _fixed("reranking", "bool", "", "serve rankings only", aliases=("rerank",)),
    _fixed("pooling", "choice", "pooling_type", "how token embeddings become one; default: as the model says",
           choices=("none", "mean", "cls", "last", "rank")),
    _fixed("check-tensors", "bool", "check_tensors", "check weights for invalid values while loading"),
    _fixed("offline", "bool", "offline", "never use the network"),
    _fixed("ignore-eos", "bool", "sampling.ignore_eos", "keep generating past the end-of-sequence token"),
    _fixed("special", "bool", "special", "output special tokens"),
)  # fmt: skip

OPTIONS: Rows = (*_THREADS, *_BATCHING, *_CACHE, *_PLACEMENT, *_SERVICE)

REPLACED = {
    "mlock": "write load-mode: mlock",
    "no-mmap": "write load-mode: none",
    "mmap": "write load-mode: mmap",
    "direct-io": "write load-mode: dio",
    "defrag-thold": "leave it out: defragmentation is automatic now",
    "reuse-port": "leave it out: another server could answer on a shared port",
}
"""Options of other llama.cpp versions, each with the remedy."""
