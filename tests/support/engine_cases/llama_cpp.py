"""Cases of llama.cpp. The logs are those of real runs."""

from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Hardware
from support.engine_cases import EngineCases, Exited, Refused

_LOADING_ERROR = "0.00.066.694 E srv          init: exiting due to model loading error\n"

LLAMA_CPP = EngineCases(
    engine=LlamaCpp(LlamaCppSettings()),
    hardware=Hardware(cpus=2, memory_gb=8.0),
    refused=(
        Refused({"flash-attn": "off", "cache-type-v": "q8_0"}, "cache-type-v", ("flash-attn to on", "f16")),
        Refused({"fa": "off", "ctv": "q4_0"}, "cache-type-v", ("flash-attn to on", "f16")),
        Refused({"ubatch-size": 4096}, "ubatch-size", ("batch-size (2048)",)),
        Refused({"batch_size": 128, "ub": 512}, "ubatch-size", ("batch-size (128)",)),
        Refused({"n_parallel": 600}, "parallel", ("256",)),
        Refused({"parallel": 2.5}, "parallel", ("whole number",)),
        Refused({"cache-reuse": 64, "cache-prompt": False}, "cache-reuse", ("cache-prompt", "0")),
        Refused({"cache-idle-slots": True, "cache-ram": 0}, "cache-idle-slots", ("cache-ram", "false")),
        Refused({"split-mode": "tensor"}, "split-mode", ("layer",)),
        Refused({"ctx-size": 400_000_000}, "ctx-size", ("16777216",)),
        Refused({"flash-attn": True}, "flash-attn", ("on, off, auto",)),
        Refused({"flash-attn": "yes"}, "flash-attn", ("on, off, auto",)),
        Refused({"cont-batching": "no"}, "cont-batching", ("true or false",)),
        Refused({"no-cont-batching": True}, "no-cont-batching", ("cont-batching: false",)),
        Refused({"threds": 2}, "threds", ('"threads"',)),
        Refused({"mlock": True}, "mlock", ("load-mode: mlock",)),
        Refused({"port": 80}, "port"),
        Refused({"model": "x"}, "model", ("model.path",)),
        Refused({"reuse-port": True}, "reuse-port"),
    ),
    accepted=(
        {"flash-attn": "auto", "cache-type-v": "q8_0"},
        {"flash-attn": "off", "cache-type-v": "bf16", "cache-type-k": "q8_0"},
        {"n-gpu-layers": "all"},
        {"threads": "2"},
        {"ubatch-size": 2048},
        {"batch-size": 128},  # below the default of ubatch-size, which the server then lowers
        {"metrics": False, "temp": 0.5},
    ),
    exited=(
        Exited(1, "error: invalid argument: --foo\n", False, FailureCause.INVALID_FLAG, ("--foo",)),
        Exited(1, 'error while handling argument "--threads": stoi\n', False,
               FailureCause.INVALID_VALUE, ("--threads", "stoi")),
        Exited(1, "error: unknown value for --flash-attn: 'x'\n", False,
               FailureCause.INVALID_VALUE, ("--flash-attn", "'x'")),
        Exited(1, "0.00.1 E llama_init_from_model: quantized V cache requires flash_attn to be enabled\n"
               + _LOADING_ERROR, False, FailureCause.INVALID_VALUE),
        Exited(1, "E llama_init_from_model: failed to initialize the context: n_seq_max must be <= 256\n"
               + _LOADING_ERROR, False, FailureCause.INVALID_VALUE, ("256",)),
        Exited(1, "E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 81\n", False,
               FailureCause.PORT_UNAVAILABLE, ("81", "127.0.0.1")),
        Exited(1, "E gguf_init_from_file: failed to open GGUF file 'x.gguf' (No such file or directory)\n", False,
               FailureCause.MODEL_MISSING, ("x.gguf", "No such file")),
        Exited(1, "data is not within the file bounds, model is corrupted or incomplete\n", False,
               FailureCause.MODEL_MISSING),
        Exited(1, "E gguf_init_from_file: invalid magic characters: 'x'\n", False, FailureCause.MODEL_MISSING),
        Exited(1, "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99\n"
               + _LOADING_ERROR, False, FailureCause.OUT_OF_MEMORY, ("while loading",)),
        Exited(-6, "terminate called after throwing an instance of 'std::bad_alloc'\n", True,
               FailureCause.OUT_OF_MEMORY, ("under load",)),
        Exited(-9, "", True, FailureCause.ENVIRONMENT, ("SIGKILL", "under load")),
        Exited(137, "", False, FailureCause.ENVIRONMENT, ("SIGKILL", "while loading")),
        Exited(-15, "", True, FailureCause.ENVIRONMENT, ("SIGTERM",)),
        Exited(-9, "E ggml_aligned_malloc: failed to allocate 9 MB\n", True,
               FailureCause.OUT_OF_MEMORY, ("under load",)),
        Exited(-11, "", True, FailureCause.CRASH_UNDER_LOAD, ("SIGSEGV",)),
        Exited(-6, "ggml.c:1: GGML_ASSERT(n > 0) failed\n", False,
               FailureCause.CRASH_LOADING, ("GGML_ASSERT(n > 0)",)),
        Exited(-4, "", False, FailureCause.ENVIRONMENT),
        Exited(1, "0.00.1 E srv init: something new\n" + _LOADING_ERROR, False,
               FailureCause.CRASH_LOADING, ("something new",)),
        Exited(1, "error: the xllamacpp wheel cannot be loaded: x\n", False, FailureCause.NO_BINARY),
        Exited(1, "No space left on device\n", False, FailureCause.DISK_FULL),
        # A prompt that is echoed in the log must not decide the cause.
        Exited(-11, "request: error: invalid argument: --foo\n", True, FailureCause.CRASH_UNDER_LOAD, ("SIGSEGV",)),
    ),
    gpus=(({}, 0), ({"ngl": 99}, 0)),
    secrets=("api_key", "hf_token"),
)  # fmt: skip
