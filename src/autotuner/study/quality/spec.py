"""Check that a configuration answers as well as the default."""

from typing import Literal

from pydantic import Field

from autotuner.study.base import FrozenModel


class QualitySpec(FrozenModel):
    """Which configurations are compared with the default's answers, and how much worse they may be."""

    parameters: tuple[str, ...] | Literal["auto", "all"] = "auto"
    """Parameters whose values are checked; ``auto``: those that change arithmetic, as the engine knows."""
    prompts: int = Field(default=32, ge=16)
    """Prompts of the built-in set that are asked."""
    tokens: int = Field(default=32, ge=1)
    """Tokens of each answer."""
    kl: float = Field(default=0.05, gt=0)
    """Largest mean KL divergence per token, in nats, beyond that of the control."""
    disagreement: float = Field(default=0.1, gt=0, lt=1)
    """Largest share of tokens that are not the default's choice in the same context, beyond that of the control."""
    time_limit_s: float = Field(default=60.0, gt=0)
    """Time limit of asking all prompts once, in seconds."""

    @property
    def asked(self) -> dict[str, object]:
        """The settings that determine what is asked; bounds may change while results are kept."""
        return self.model_dump(mode="json", include={"parameters", "prompts", "tokens"})
