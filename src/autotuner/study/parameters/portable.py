"""Settings that are written alike for several engines: their names, and the words their values are made of.

A study file has them in two sections; everywhere else they are parameters like others, named ``parallelism.tp`` or
``quantization.kv-cache``. What an engine makes of them is the engine's knowledge (:meth:`Engine.expand`); here is only
what can be said without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.errors import Problem, did_you_mean
from autotuner.study.base import Value
from autotuner.study.parameters.parameter import Domain

PRESET = "preset"
"""The key of every section that names a set of values."""

SPELLINGS: Mapping[str, str] = {
    "fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32",
}  # fmt: skip
"""Other names of the same number format."""


@dataclass(frozen=True)
class Section:
    """One section: its keys with the values that any engine has for them (None: whole numbers from 1), its presets."""

    keys: Mapping[str, tuple[str, ...] | None]
    presets: tuple[str, ...]
    default: Value
    """What leaving a key out amounts to."""
    default_preset: str


SECTIONS: Mapping[str, Section] = {
    "quantization": Section(
        keys={
            "gemm": ("auto", "float16", "bfloat16", "float32", "fp8", "mxfp8", "mxfp4", "int8"),
            "kv-cache": (
                "auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "mxfp8", "nvfp4", "int8", "int4",
            ),
            "attention": ("auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_block"),
            "moe": ("auto", "float16", "bfloat16", "fp8", "mxfp8", "mxfp4", "nvfp4", "w4afp8", "int8"),
        },
        presets=("default", "kv-cache-fp8", "dynamic-fp8", "bf16-stable", "aggressive-moe"),
        default="auto",
        default_preset="default",
    ),
    "parallelism": Section(
        keys=dict.fromkeys(("tp", "pp", "dp", "ep", "cp")),
        presets=(
            "single-gpu", "high-throughput", "large-model-tp", "large-model-tp-pp", "moe-optimized", "long-context",
            "balanced",
        ),
        default=1,
        default_preset="single-gpu",
    ),
}  # fmt: skip


def is_portable(name: str) -> bool:
    """Whether a name is one of a section's, known or not."""
    section, dot, _ = name.partition(".")
    return bool(dot) and section in SECTIONS


def split(name: str) -> tuple[str, str]:
    """Section and key of a portable name."""
    section, _, key = name.partition(".")
    return section, key


def file_path(name: str) -> str:
    """Where a portable name stands in the study file: ``quantization.kv_cache``."""
    section, key = split(name)
    return f"{section}.{key.replace('-', '_')}"


def plain(value: Value) -> Value:
    """The one spelling of a value: ``bf16`` is ``bfloat16``."""
    return SPELLINGS.get(value, value) if isinstance(value, str) else value


def is_left_out(value: Value) -> bool:
    """Whether a value leaves the decision to the engine."""
    return value is None or value == "auto"


def vocabulary_problem(name: str, value: Value) -> Problem | None:
    """What is wrong with a key or value on every engine. None: at least one engine has it."""
    section, key = split(name)
    known = SECTIONS[section]
    where = file_path(name)
    if key != PRESET and key not in known.keys:
        keys = [k.replace("-", "_") for k in (*known.keys, PRESET)]
        return Problem(where=where, why="unknown key", remedy=did_you_mean(key.replace("-", "_"), keys))
    if key == PRESET:
        if value in known.presets:
            return None
        remedy = did_you_mean(str(value), known.presets)
        return Problem(where=where, value=_text(value), why="unknown preset", remedy=remedy)
    if value is None:
        return None
    values = known.keys[key]
    if values is None:
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return None if whole else Problem(where=where, value=_text(value), why="must be a whole number, 1 or above")
    if plain(value) in values:
        return None
    return Problem(where=where, value=_text(value), why="unknown value", remedy=did_you_mean(str(value), values))


def default_of(name: str, domain: Domain | None = None) -> Value:
    """The value that stands for "not set"; with ``domain`` the spelling of it that the domain has, else None."""
    section, key = split(name)
    value = SECTIONS[section].default_preset if key == PRESET else SECTIONS[section].default
    if domain is None or domain.contains(value):
        return value
    return None


def _text(value: Value) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
