"""A configuration: a point of the search space."""

import hashlib
import json
from collections.abc import Mapping

from pydantic import Field

from autotuner.study.base import FrozenModel, Value, value_text


class Configuration(FrozenModel):
    """Tuned values by canonical parameter name. The empty configuration is the engine's default."""

    values: Mapping[str, Value] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """Identity of the values, whatever their order; ``1``, ``1.0`` and ``True`` differ. Stored with trials."""
        # Computed once: a search needs those of a thousand candidates for each proposal. Copies and dumps leave names
        # with an underscore out.
        known = self.__dict__.get("_key")
        if known is None:
            parts = {k: [type(v).__name__, v] for k, v in self.values.items()}
            known = self.__dict__["_key"] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        return str(known)

    @property
    def text(self) -> str:
        """The values for display: ``threads=2 parallel=8``, or ``(default)``."""
        return " ".join(f"{k}={value_text(v)}" for k, v in self.values.items()) or "(default)"

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and other.key == self.key


DEFAULT = Configuration()
