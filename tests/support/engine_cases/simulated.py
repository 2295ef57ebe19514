"""Cases of the simulated engine: its own checks and log lines, and how it passes on those of the real engines."""

from autotuner.engines.simulated import Simulated, SimulatedSettings
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Hardware
from support.engine_cases import EngineCases, Exited, Refused

_HARDWARE = Hardware(cpus=2, memory_gb=8.0)
_FREE = "ValueError: Free memory on device cuda:0 ({}/79.1 GiB) on startup is less than desired"

SIMULATED_SGLANG = EngineCases(
    engine=Simulated(SimulatedSettings()),
    hardware=_HARDWARE,
    refused=(
        Refused({"tp-size": 2}, "tp-size", ("2 GPUs", "engine.gpu_count")),
        Refused({"tensor_parallel_size": 4}, "tp-size", ("4 GPUs", "engine.gpu_count")),
        Refused({"mem-fraction-static": 1.5}, "mem-fraction-static", ("at most 1",)),
        Refused({"schedule-policy": "best"}, "schedule-policy", ("lpm",)),
        Refused({"model-path": "x"}, "model-path", ("model.path",)),
        Refused({"port": 80}, "port"),
    ),
    accepted=({"attention-backend": "fa3"},),
    exited=(
        Exited(2, "simulator: --speed x: is not a valid float\n", False, FailureCause.INVALID_VALUE, ("--speed x",)),
        Exited(1, "[2026-11-25 01:00:01] simulated: speculative decoding (--speculative-algorithm) is not simulated\n",
               False, FailureCause.UNSUPPORTED_COMBINATION, ("--speculative-algorithm",)),
        Exited(-9, "simulated: model = /models/x: is not a known model shape; known: a, b\n", False,
               FailureCause.MODEL_MISSING, ("/models/x",)),
        Exited(-9, "sglang serve: error: unrecognized arguments: --nope", False,
               FailureCause.INVALID_FLAG, ("--nope",)),
        Exited(-9, "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", False,
               FailureCause.KV_CACHE_TOO_SMALL),
        Exited(-9, "torch.OutOfMemoryError: CUDA out of memory. Tried", False, FailureCause.GPU_OUT_OF_MEMORY_LOADING),
        Exited(-9, "torch.OutOfMemoryError: CUDA out of memory. Tried", True, FailureCause.GPU_OUT_OF_MEMORY_RUNNING),
        Exited(-9, "Capture cuda graph failed: torch.OutOfMemoryError: CUDA out of memory.", False,
               FailureCause.GPU_OUT_OF_MEMORY_RUNNING),
    ),
    gpus=(({}, 0), ({"tp-size": 4}, 0)),
    secrets=("api_key",),
)  # fmt: skip

SIMULATED_VLLM = EngineCases(
    engine=Simulated(SimulatedSettings(flavor="vllm")),
    hardware=_HARDWARE,
    refused=(Refused({"tp": 2}, "tensor-parallel-size", ("2 GPUs", "engine.gpu_count")),),
    exited=(
        Exited(-9, "ValueError: No available memory for the cache blocks.", False, FailureCause.KV_CACHE_TOO_SMALL),
        Exited(-9, _FREE.format("78.6"), False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("gpu-memory-utilization",)),
        Exited(-9, _FREE.format("20.1"), False, FailureCause.GPU_UNAVAILABLE, ("20.1 of 79.1 GiB",)),
    ),
    gpus=(({}, 0), ({"tensor-parallel-size": 4}, 0)),
    secrets=("api-key",),
)  # fmt: skip
