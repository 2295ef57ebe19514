"""Startup decisions that both engines share: model shape, storage of weights and KV cache, limits of the GPU.

The error messages are those of the engines.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotuner.errors import UsageError
from autotuner.predict import formats
from autotuner.predict.gpus import GpuModel, gpu_named
from autotuner.predict.models import ModelShape, shape_from_config, shape_named
from autotuner.predict.roofline import Replica, WeightFormat
from autotuner.simulator.options import Simulation

LEAST_CAPABILITY: Mapping[str, int] = {
    "fp8": 75,
    "w8a8_fp8": 89,
    "modelopt_fp8": 89,
    "fbgemm_fp8": 80,
    "fp8_per_tensor": 75,
    "w8a8_int8": 75,
    "experts_int8": 80,
    "awq": 75,
    "awq_marlin": 80,
    "gptq": 60,
    "gptq_marlin": 80,
    "moe_wna16": 70,
    "mxfp4": 80,
    "modelopt_fp4": 100,
}
"""Minimum compute capability of the modeled methods (``get_min_capability`` in the engines)."""
FP8_KV_E5M2 = {"fp8_e5m2"}


SECRETS = frozenset({"api_key", "admin_api_key", "hf_token", "watermark_config", "ssl_keyfile_password"})


class RefusedError(Exception):
    """The engine fails to start, with this exception message."""


def model_shape(path: str, simulation: Simulation) -> ModelShape:
    """The model shape: from the setting, else from ``config.json``, else by the model's name."""
    try:
        if simulation.shape:
            return shape_named(simulation.shape)
        config = Path(path) / "config.json"
        if config.is_file():
            return shape_from_config(path, json.loads(config.read_text(encoding="utf-8")))
        return shape_named(path)
    except (UsageError, ValueError) as error:
        raise RefusedError(f"simulated: {error}") from None


def gpu_of(simulation: Simulation) -> GpuModel:
    """The simulated GPU."""
    try:
        return gpu_named(simulation.gpu)
    except UsageError as error:
        raise RefusedError(f"simulated: {error}") from None


def weight_format(method: str | None, shape: ModelShape, gpu: GpuModel) -> WeightFormat:
    """The storage format of the weights; raises the engines' error for a GPU that is too old."""
    least = LEAST_CAPABILITY.get(method or "", 0)
    if gpu.capability < least:
        raise RefusedError(
            f"ValueError: The quantization method {method} is not supported for the current GPU. Minimum capability: "
            f"{least}. Current capability: {gpu.capability}."
        )
    return formats.weight_format(method or "", shape) or formats.published(shape)


def kv_element_bytes(dtype: str, gpu: GpuModel) -> float:
    """Bytes per KV cache element; raises the kernel compiler's error on a GPU without FP8."""
    if not dtype.startswith("fp8"):
        return 2.0
    if not gpu.fp8 and dtype not in FP8_KV_E5M2:
        raise RefusedError(
            "ValueError: type fp8e4nv not supported in this architecture. The supported fp8 dtypes are "
            "('fp8e4b15', 'fp8e5')"
        )
    return 1.0


def make_replica(
    shape: ModelShape, gpu: GpuModel, tp: int, pp: int, quantization: str | None, kv_dtype: str
) -> Replica:
    """The replica that these flags describe."""
    return Replica(
        model=shape,
        gpu=gpu,
        tp=tp,
        pp=pp,
        weights=weight_format(quantization, shape, gpu),
        kv_bytes=kv_element_bytes(kv_dtype, gpu),
    )


def without_secrets(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags with secret values masked, for the log."""
    return {k: "***" if k in SECRETS else v for k, v in given.items()}
