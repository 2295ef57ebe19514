"""Form of the section ``quality``: whether answers stay as good as the default's."""

from typing import Any, Literal

from pydantic import Field, field_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.study.quality.spec import QualitySpec
from autotuner.study_file.form_fields import Duration, FileForm, Ratio


class QualityForm(FileForm):
    """Comparison of a configuration's answers with the default's."""

    parameters: list[str] | Literal["auto", "all"] = Field(
        default="auto",
        description="Parameters to check: auto (those that change arithmetic), all, or names.",
    )
    prompts: int = Field(default=32, ge=16, le=64, description="Prompts of the built-in set that are asked.")
    tokens: int = Field(default=32, ge=1, le=1024, description="Tokens of each answer.")
    kl: float = Field(
        default=0.05, gt=0, le=100, description="Largest mean KL divergence per token in nats, beyond the control's."
    )
    disagreement: Ratio = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Largest share of tokens unlike the default's, beyond the control's.",
    )
    time_limit: Duration = Field(default=60.0, gt=0, description="Time limit of asking one server all prompts once.")

    @field_validator("parameters", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("auto", "all"):
            raise InvalidValueError("not a choice", remedy="write auto, all, or a list of parameters")
        if value == []:
            raise InvalidValueError("no parameter is checked", remedy="write auto, all, or remove the section")
        return value

    def spec(self) -> QualitySpec:
        """The section as the study keeps it."""
        named = self.parameters if isinstance(self.parameters, str) else tuple(self.parameters)
        return QualitySpec(
            parameters=named,
            prompts=self.prompts,
            tokens=self.tokens,
            kl=self.kl,
            disagreement=self.disagreement,
            time_limit_s=self.time_limit,
        )
