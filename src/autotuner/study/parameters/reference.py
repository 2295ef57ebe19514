"""What configurations are compared with: the baseline that a study states, or the engine's default."""

from collections.abc import Mapping
from typing import Literal

from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.engines import ENGINE

ReferenceWord = Literal["default", "baseline"]


def reference_word(values: Mapping[str, Value]) -> ReferenceWord:
    """What to call a configuration with these values that others are compared with: ``baseline`` if it states the value
    of a parameter, otherwise ``default``, because the engine decides everything."""
    return "baseline" if any(name != ENGINE for name in values) else "default"


def reference_text(configuration: Configuration) -> str:
    """Such a configuration for display: ``(default)``, ``default: engine=vllm`` or ``baseline: threads=2``. The word
    comes first, because the end of a long text may be cut off."""
    values = configuration.values
    return f"{reference_word(values)}: {configuration.text}" if values else configuration.text
