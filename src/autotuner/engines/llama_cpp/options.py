"""llama-server's options as data: one table for the catalog (what a person may tune) and for the launcher (where each
option goes in ``xllamacpp.CommonParams``), so that the two cannot disagree.

Standard library only: the launcher reads it before anything heavy is loaded.
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
    """Attribute path in ``CommonParams``; ``!`` in front: the attribute is the option's negation; empty: accepted by
    the launcher, and handled there."""
    meaning: str
    default: Any = None
    aliases: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    """Flags that switch a boolean off; the first is the canonical one."""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    """Accepted words; for a number, words accepted beside numbers."""
    suggested: tuple[Any, ...] = ()
    tunable: bool = True
    """Listed in the catalog."""
    repeated: bool = False
    """May be given several times; each time adds a value."""


def _threads() -> tuple[Option, ...]:
    return (
        Option(
            "threads",
            "int",
            "cpuparams.n_threads",
            "threads for token generation; default: one per core",
            aliases=("t", "n-threads"),
            low=-1,
            high=512,
            suggested=(1, 2, 4, 8),
        ),
        Option(
            "threads-batch",
            "int",
            "cpuparams_batch.n_threads",
            "threads for prompt processing; default: threads",
            aliases=("tb", "n-threads-batch"),
            low=-1,
            high=512,
            suggested=(1, 2, 4, 8),
        ),
        Option(
            "threads-http",
            "int",
            "n_threads_http",
            "threads for HTTP requests; -1: chosen by the server",
            -1,
            low=-1,
            high=1024,
        ),
        Option(
            "poll",
            "int",
            "cpuparams.poll",
            "polling level of idle threads; 0 sleeps, 100 never sleeps",
            50,
            low=0,
            high=100,
            suggested=(0, 50, 100),
        ),
        Option(
            "poll-batch",
            "int",
            "cpuparams_batch.poll",
            "poll during prompt processing; default: poll",
            low=0,
            high=1,
        ),
        Option(
            "prio", "int", "cpuparams.priority", "scheduling priority, from -1 (low) to 3 (realtime)", 0, low=-1, high=3
        ),
        Option("prio-batch", "int", "cpuparams_batch.priority", "as prio, while processing prompts", 0, low=0, high=3),
        Option("cpu-strict", "int", "cpuparams.strict_cpu", "1 pins each thread to one CPU", 0, low=0, high=1),
        Option(
            "cpu-strict-batch",
            "int",
            "cpuparams_batch.strict_cpu",
            "as cpu-strict, while processing prompts",
            low=0,
            high=1,
        ),
        Option(
            "numa",
            "choice",
            "numa",
            "placement on machines with several memory nodes",
            choices=("distribute", "isolate", "numactl"),
        ),
    )


def _batching() -> tuple[Option, ...]:
    return (
        Option(
            "parallel",
            "int",
            "n_parallel",
            "slots, i.e. requests decoded concurrently; default: 4, one cache",
            aliases=("np", "n-parallel"),
            low=-1,
            high=256,
            suggested=(1, 2, 4, 8),
        ),
        Option(
            "batch-size",
            "int",
            "n_batch",
            "tokens gathered into one logical batch",
            2048,
            aliases=("b", "n-batch"),
            low=1,
            high=65536,
            suggested=(256, 512, 1024, 2048),
        ),
        Option(
            "ubatch-size",
            "int",
            "n_ubatch",
            "tokens per compute pass; at most batch-size",
            512,
            aliases=("ub", "n-ubatch"),
            low=1,
            high=65536,
            suggested=(32, 128, 256, 512),
        ),
        Option(
            "cont-batching",
            "bool",
            "cont_batching",
            "admit new requests while others are being decoded",
            True,
            aliases=("cb",),
            off=("no-cont-batching", "nocb"),
        ),
        Option("warmup", "bool", "warmup", "run once empty at start", True, off=("no-warmup",)),
    )


def _cache() -> tuple[Option, ...]:
    return (
        Option(
            "ctx-size",
            "int",
            "n_ctx",
            "KV cache size in tokens, shared by all slots; 0: context length of the model",
            0,
            aliases=("c", "n-ctx"),
            low=0,
            high=2**24,
            suggested=(4096, 8192),
        ),
        Option(
            "flash-attn",
            "choice",
            "flash_attn_type",
            "fused attention; required for a quantized V cache",
            "auto",
            aliases=("fa",),
            choices=SWITCH,
            suggested=("on", "off"),
        ),
        Option(
            "cache-type-k",
            "choice",
            "cache_type_k",
            "data type of the K cache",
            "f16",
            aliases=("ctk",),
            choices=CACHE_TYPES,
            suggested=("f16", "q8_0"),
        ),
        Option(
            "cache-type-v",
            "choice",
            "cache_type_v",
            "data type of the V cache",
            "f16",
            aliases=("ctv",),
            choices=CACHE_TYPES,
            suggested=("f16", "q8_0"),
        ),
        Option(
            "cache-prompt",
            "bool",
            "cache_prompt",
            "reuse the cache of a prompt's common beginning",
            True,
            off=("no-cache-prompt",),
        ),
        Option(
            "cache-reuse",
            "int",
            "n_cache_reuse",
            "minimum chunk in tokens to reuse by shifting; 0: never",
            0,
            low=0,
            suggested=(0, 64, 256),
        ),
        Option(
            "cache-ram",
            "int",
            "cache_ram_mib",
            "MiB of memory for prompt caches; -1: no limit, 0: none",
            8192,
            aliases=("cram",),
            low=-1,
        ),
        Option(
            "cache-idle-slots",
            "bool",
            "cache_idle_slots",
            "save idle slots to the prompt cache; requires cache-ram",
            True,
            off=("no-cache-idle-slots",),
        ),
        Option(
            "kv-unified",
            "bool",
            "kv_unified",
            "one KV cache shared by all slots; default: on if parallel is unset",
            aliases=("kvu",),
            off=("no-kv-unified", "no-kvu"),
        ),
        Option("kv-unified-per-slot", "int", "kv_unified_per_slot", "context limit of a slot; 0: unset", 0, low=0),
        Option(
            "kv-offload",
            "bool",
            "!no_kv_offload",
            "keep the KV cache on the GPU",
            True,
            aliases=("kvo",),
            off=("no-kv-offload", "nkvo"),
        ),
        Option("swa-full", "bool", "swa_full", "full-size cache for sliding-window attention", False),
        Option(
            "ctx-checkpoints",
            "int",
            "n_ctx_checkpoints",
            "context checkpoints kept by slot",
            32,
            aliases=("ctxcp", "swa-checkpoints"),
            low=0,
        ),
        Option(
            "checkpoint-min-step",
            "int",
            "checkpoint_min_step",
            "tokens between checkpoints, at least",
            8192,
            aliases=("cms",),
            low=0,
        ),
        Option(
            "context-shift",
            "bool",
            "ctx_shift",
            "drop old tokens instead of stopping when the context is full",
            False,
            off=("no-context-shift",),
        ),
        Option(
            "slot-prompt-similarity",
            "float",
            "slot_prompt_similarity",
            "share of a prompt that must match a slot to prefer that slot; 0: never",
            0.1,
            aliases=("sps",),
            low=0,
            high=1,
        ),
    )


def _placement() -> tuple[Option, ...]:
    return (
        Option(
            "n-gpu-layers",
            "int",
            "n_gpu_layers",
            "layers on the GPU; -1 (auto): as many as fit, -2: all",
            -1,
            aliases=("ngl", "gpu-layers"),
            low=-2,
            choices=("auto", "all"),
        ),
        Option(
            "split-mode",
            "choice",
            "split_mode",
            "how a model is split over several GPUs",
            "layer",
            aliases=("sm",),
            choices=("none", "layer", "row", "tensor"),
        ),
        Option("main-gpu", "int", "main_gpu", "the GPU used when the model is not split", 0, aliases=("mg",), low=0),
        Option(
            "load-mode",
            "choice",
            "load_mode",
            "how the model file is read",
            "auto",
            aliases=("lm",),
            choices=("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"),
        ),
        Option(
            "lazy-mode",
            "choice",
            "lazy_mode",
            "read rarely used tensors from disk on demand",
            "auto",
            aliases=("lzm",),
            choices=SWITCH,
        ),
        Option(
            "repack",
            "bool",
            "!no_extra_bufts",
            "rearrange weights for the CPU's instructions while loading",
            True,
            off=("no-repack", "nr"),
        ),
        Option("no-host", "bool", "no_host", "bypass the host buffer, allowing extra buffers", False),
        Option(
            "op-offload",
            "bool",
            "!no_op_offload",
            "compute large host tensors on the GPU",
            True,
            off=("no-op-offload",),
        ),
        Option("fit", "choice", "fit_params", "adjust unset arguments to the memory", "on", choices=("on", "off")),
        Option(
            "fit-ctx",
            "int",
            "fit_params_min_ctx",
            "smallest context that fit may choose",
            4096,
            aliases=("fitc",),
            low=0,
        ),
        Option("perf", "bool", "!no_perf", "internal timings of the library", off=("no-perf",)),
    )


def _service() -> tuple[Option, ...]:
    """Options that are set, and not tuned."""
    rows = (
        ("model", "string", "model.path", "the model file", ("m",)),
        ("alias", "string", "", "served model names, separated by commas", ("a",)),
        ("host", "string", "", "addresses to listen on, separated by commas", ()),
        ("port", "int", "port", "port to listen on", ()),
        ("api-prefix", "string", "api_prefix", "path before all routes", ()),
        ("timeout", "int", "", "read and write time-out in seconds", ("to",)),
        ("sse-ping-interval", "int", "sse_ping_interval", "seconds between keep-alive events; -1: none", ()),
        ("predict", "int", "n_predict", "maximum output tokens; -1: no limit", ("n", "n-predict")),
        ("keep", "int", "n_keep", "tokens of the prompt kept by a context shift", ()),
        ("seed", "int", "sampling.seed", "sampling seed; -1: random", ("s",)),
        ("temp", "float", "sampling.temp", "sampling temperature", ("temperature",)),
        ("top-k", "int", "sampling.top_k", "sample among the k likeliest tokens", ()),
        ("top-p", "float", "sampling.top_p", "sample among the likeliest tokens of this total probability", ()),
        ("min-p", "float", "sampling.min_p", "smallest probability, relative to the likeliest token's", ()),
        ("chat-template", "string", "chat_template", "a Jinja template, or a built-in one's name", ()),
        ("rope-freq-base", "float", "rope_freq_base", "base frequency of the position encoding", ()),
        ("rope-freq-scale", "float", "rope_freq_scale", "scale of the position encoding", ()),
        (
            "log-verbosity",
            "int",
            "verbosity",
            "0 output, 1 errors, 2 warnings, 3 information, 4 trace, 5 debug",
            ("lv", "verbosity"),
        ),
    )
    switches = (
        ("metrics", "endpoint_metrics", "serve /metrics", ()),
        ("props", "endpoint_props", "allow changes by POST /props", ()),
        ("slots", "endpoint_slots", "serve /slots", ("no-slots",)),
        ("jinja", "use_jinja", "use the model's chat template", ("no-jinja",)),
        ("ui", "ui", "serve the web page", ("no-ui", "no-webui")),
        ("embedding", "embedding", "serve embeddings only", ()),
        ("check-tensors", "check_tensors", "look for invalid weights while loading", ()),
        ("offline", "offline", "never use the network", ()),
        ("ignore-eos", "sampling.ignore_eos", "go on past the end token", ()),
        ("special", "special", "write control tokens out", ()),
    )
    repeated = (
        ("lora", "lora_adapters", "GGUF file of a LoRA adapter; repeatable", ()),
        ("reverse-prompt", "antiprompt", "text at which generation stops; repeatable", ("r",)),
    )
    return (
        *(Option(n, "string", t, m, aliases=a, tunable=False, repeated=True) for n, t, m, a in repeated),
        *(Option(n, k, t, m, aliases=a, tunable=False) for n, k, t, m, a in rows),  # type: ignore[arg-type]
        *(Option(n, "bool", t, m, off=o, tunable=False) for n, t, m, o in switches),
    )


OPTIONS: tuple[Option, ...] = (*_threads(), *_batching(), *_cache(), *_placement(), *_service())

REPLACED = {
    "mlock": "load-mode: mlock",
    "no-mmap": "load-mode: none",
    "mmap": "load-mode: mmap",
    "direct-io": "load-mode: dio",
    "defrag-thold": "nothing: defragmentation is automatic now",
    "reuse-port": "nothing: a shared port would let another server answer for this one",
}
"""Options of other versions, and what to write instead."""
