"""Form of the section ``confirm``: how a winner is proven."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.scoring import LAUNCH_NOISE
from autotuner.study_file.form_fields import FileForm, Ratio


class ConfirmForm(FileForm):
    """The proof of the winner."""

    at_most: int = Field(
        default=12, ge=2, le=1000, description="Most blocks; each launches the default and every challenger once."
    )
    margin: Ratio | None = Field(
        default=None,
        lt=1,
        description="Difference within which two configurations count as equally good, at least 0.5%; 2% by default.",
    )
    confidence: Ratio = Field(
        default=0.95, ge=0.8, le=0.9999, description="Confidence of all intervals of the proof together."
    )
    challengers: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="Number of best configurations to measure again alongside the default.",
    )
    repeats: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Fixed number of repeats instead of as many blocks as the decision takes; 0 skips the proof.",
    )

    @field_validator("margin")
    @classmethod
    def _above_noise(cls, margin: float | None) -> float | None:
        if margin is not None and margin < LAUNCH_NOISE:
            why = "launches of one server differ by more than that"
            raise InvalidValueError(why, remedy=f"write at least {LAUNCH_NOISE * 100:g}%")
        return margin

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise InvalidValueError("must be a mapping", remedy="write e.g. {at_most: 6}; {repeats: 0} skips the proof")
        if data.get("repeats") is not None and "at_most" in data:
            raise InvalidValueError("repeats fixes the number of launches", remedy="remove repeats or at_most")
        return data
