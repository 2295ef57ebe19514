"""``quant_config`` and ``parallel_config`` of the older task JSON, as portable sections and flags of the engine.

The meaning of the keys follows novitalabs/inference-autotuner at commit c86a814 (``src/utils``:
``quantization_mapper.py``, ``parallel_mapper.py`` and their ``_integration.py``): a list is a dimension of the grid,
and ``auto`` omits the flag. What that tool ignored silently is an error here, or the engine's table rejects it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.errors import did_you_mean

Path = tuple[str | int, ...]
Fault = Callable[[Path, str, str], None]

_FORMATS = {"gemm_dtype": "gemm", "kvcache_dtype": "kv_cache", "attention_dtype": "attention", "moe_dtype": "moe"}
_DEGREES = ("tp", "pp", "dp", "ep", "cp")
_OWN: Mapping[str, Mapping[str, str]] = {
    "dcp": {"vllm": "decode-context-parallel-size", "sglang": "dcp-size"},
    "enable_expert_parallel": {"vllm": "enable-expert-parallel"},
    "moe_dense_tp": {"sglang": "moe-dense-tp-size"},
    "moe_cluster": {"tensorrt_llm": "cluster-size"},
}
"""Keys that only some engines support: the flag by engine."""
_INSTEAD = {
    "enable_expert_parallel": "write ep, how many GPUs the experts are spread over",
    "moe_tp": "leave it out: it is tp / ep",
    "moe_dense_tp": "leave it out",
    "moe_cluster": "leave it out",
    "dcp": "leave it out, or write cp",
}
_SPARE = ("moe_ep", "moe_tp")
_PRESETS = ("preset", "presets")
QUANT_KEYS = (*_FORMATS, *_PRESETS)
PARALLEL_KEYS = (*_DEGREES, *_OWN, *_SPARE, *_PRESETS)


@dataclass(frozen=True)
class Moved:
    """A value of an older section in its new section."""

    section: str
    """``quantization``, ``parallelism``, ``parameters`` or ``args``."""
    key: str
    value: Any
    """A list is tuned, anything else is fixed."""
    origin: Path
    """Its path in the task."""


class OlderPortable:
    """Reads both sections of a task.

    Args:
        kind: The engine.
        fault: Called with path, reason and remedy of each problem.
    """

    def __init__(self, kind: str, fault: Fault) -> None:
        self.kind = kind
        self._fault = fault
        self.found: list[Moved] = []
        self.notes: list[str] = []

    def quantization(self, config: Any) -> None:
        """Reads ``quant_config``."""
        for key, value in self._entries("quant_config", config, QUANT_KEYS):
            path: Path = ("quant_config", key)
            if key in _PRESETS:
                self._put("quantization", "preset", value, path)
            elif key == "attention_dtype" and self.kind == "sglang" and self._flashinfer(value, path):
                continue
            elif value != "auto":
                self._put("quantization", _FORMATS[key], self._as_run(key, value), path)

    def parallelism(self, config: Any) -> None:
        """Reads ``parallel_config``."""
        entries = self._entries("parallel_config", config, PARALLEL_KEYS)
        given = {key for key, _ in entries}
        for key, value in entries:
            path: Path = ("parallel_config", key)
            if key in _PRESETS:
                self._put("parallelism", "preset", value, path)
            elif key == "moe_ep" and "ep" in given:
                self._fault(path, "the same as ep", "remove one of the two")
            elif key in _DEGREES or key == "moe_ep":
                self._put("parallelism", "ep" if key == "moe_ep" else key, value, path)
            elif flag := _OWN.get(key, {}).get(self.kind):
                self._put("parameters" if isinstance(value, list) else "args", flag, value, path)
            else:
                self._fault(path, f"{self.kind} has no setting for it", _INSTEAD[key])

    def _entries(self, section: str, config: Any, known: tuple[str, ...]) -> list[tuple[str, Any]]:
        """Keys with their values, without empty ones."""
        if config is None:
            return []
        if not isinstance(config, Mapping):
            self._fault((section,), "must be a mapping", f"known: {', '.join(sorted(known))}")
            return []
        found = []
        for key, value in config.items():
            if key not in known:
                self._fault((section, key), "unknown key", did_you_mean(key, known))
            elif value == []:
                self.notes.append(f"{section}.{key} has no values and is not tuned")
            elif value is not None:
                found.append((key, value))
        if all(any(k == preset for k, _ in found) for preset in _PRESETS):
            self._fault((section, "presets"), "the same as preset", "remove one of the two")
        return found

    def _put(self, section: str, key: str, value: Any, origin: Path) -> None:
        self.found.append(Moved(section, key, value, origin))

    def _as_run(self, key: str, value: Any) -> Any:
        """The value that the older tool launched: for SGLang, ``fp8`` of the KV cache was ``fp8_e5m2``."""
        if key != "kvcache_dtype" or self.kind != "sglang":
            return value
        if isinstance(value, list):
            return ["fp8_e5m2" if v == "fp8" else v for v in value]
        return "fp8_e5m2" if value == "fp8" else value

    def _flashinfer(self, value: Any, path: Path) -> bool:
        """Whether fp8 attention becomes ``--attention-backend flashinfer``, as the older tool launched it on SGLang."""
        values = value if isinstance(value, list) else [value]
        if not set(map(str, values)) & {"fp8", "fp8_e4m3", "fp8_e5m2"}:
            return False
        kept = list(dict.fromkeys("flashinfer" if str(v).startswith("fp8") else None for v in values))
        if isinstance(value, list):
            self._put("parameters", "attention-backend", kept, path)
        else:
            self._put("args", "attention-backend", kept[0], path)
        self.notes.append(
            "quant_config.attention_dtype selects the flashinfer kernels on sglang, as before; they compute in the "
            "model's own format: for attention in fp8, write a study with quantization.attention"
        )
        return True
