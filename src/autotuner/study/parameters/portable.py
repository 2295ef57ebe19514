"""Portable settings, which several engines share: names, values and presets.

They have two sections in a study file; elsewhere they are parameters like others, named ``parallelism.tp`` or
``quantization.kv-cache``. Each engine translates them into its flags (:meth:`Engine.expand`); this module holds what
does not depend on the engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.errors import Problem, did_you_mean
from autotuner.study.base import Value
from autotuner.study.parameters.parameter import Domain

PRESET = "preset"
"""The key for a named set of values in every section."""

SPELLINGS: Mapping[str, str] = {
    "fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32",
}  # fmt: skip
"""Other names of number formats."""


@dataclass(frozen=True)
class Section:
    """A section of portable settings."""

    keys: Mapping[str, tuple[str, ...] | None]
    """Values that at least one engine supports, by key; None: integers from 1."""
    presets: tuple[str, ...]
    default: Value
    """Value that is equivalent to leaving a key out."""
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
    """Whether a name belongs to a section, even if the section does not know it."""
    section, dot, _ = name.partition(".")
    return bool(dot) and section in SECTIONS


def split(name: str) -> tuple[str, str]:
    """Section and key of a portable name."""
    section, _, key = name.partition(".")
    return section, key


def file_path(name: str) -> str:
    """The name's path in a study file: ``quantization.kv_cache``."""
    section, key = split(name)
    return f"{section}.{key.replace('-', '_')}"


def plain(value: Value) -> Value:
    """The canonical spelling of a value: ``bfloat16`` for ``bf16``."""
    return SPELLINGS.get(value, value) if isinstance(value, str) else value


def is_left_out(value: Value) -> bool:
    """Whether a value leaves the decision to the engine."""
    return value is None or value == "auto"


def vocabulary_problem(name: str, value: Value) -> Problem | None:
    """The problem of a key or value that no engine supports; None if at least one does."""
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
    """The value that is equivalent to not setting ``name``; None if ``domain`` does not contain it."""
    section, key = split(name)
    value = SECTIONS[section].default_preset if key == PRESET else SECTIONS[section].default
    if domain is None or domain.contains(value):
        return value
    return None


def _text(value: Value) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
