"""Parts of several sections of the study file: values, and domains of parameters."""

import math
import re
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.plain_text import shortened
from autotuner.scoring.cost import ANY, same_kind
from autotuner.study.base import Value
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.environment import name_problem, variable_text
from autotuner.study.parameters.parameter import Choices, FloatRange, IntRange
from autotuner.study.text.forms import parse_duration, parse_ratio
from autotuner.study.text.labels import checked_labels, parse_labels

MAX_GRID = 100_000
"""Maximum number of values of one parameter."""
MAX_COMBINATIONS = 1000
_COMBINATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class FileForm(BaseModel):
    """A section of the study file: no unknown keys, no conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


def mapped(value: Any, *, remedy: str) -> Any:
    """The value, which must be a mapping."""
    if not isinstance(value, Mapping):
        raise InvalidValueError("must be a string or a mapping", remedy=remedy)
    return value


def short(key: str, example: str) -> BeforeValidator:
    """Expands a bare string, such as the example, into a mapping with this one key."""
    remedy = f"write e.g. {example}, or {{{key}: {example}, ..}}"
    return BeforeValidator(
        lambda v: {key: v} if isinstance(v, str) else mapped(v, remedy=remedy), json_schema_input_type=Any
    )


def listed(value: Any) -> Any:
    """The value as a list; a single value may be written without brackets."""
    return value if isinstance(value, list) else [value]


ListOf = BeforeValidator(listed, json_schema_input_type=Any)


def parsed_by(parse: Callable[[Any], Any], kind: type, schema: Any) -> BeforeValidator:
    """Parses a text form; ``parse`` also rejects values that are not text."""

    def read(value: Any) -> Any:
        return value if isinstance(value, kind) else parse(value)

    return BeforeValidator(read, json_schema_input_type=schema)


Duration = Annotated[float, parsed_by(parse_duration, type(None), float | str)]
Ratio = Annotated[float, parsed_by(parse_ratio, type(None), float | str)]


class TraceForm(FileForm):
    """The long form of a trace, for editors; :mod:`autotuner.study.text.traces` reads it."""

    trace: str = Field(description="File of the trace; its format is detected.")
    begin: float | str | None = Field(default=None, alias="from", description="Start of the range, e.g. 10m.")
    to: float | str | None = Field(default=None, description="End of the range, e.g. 40m.")
    sample: float | str | None = Field(default=None, description="Share of the requests, e.g. 10%.")


class DatasetForm(FileForm):
    """The long form of a dataset, for editors; :mod:`autotuner.study.text.datasets` reads it."""

    dataset: str = Field(description="File of prompts or conversations.")
    turns: Literal["all"] | None = Field(
        default=None, description="all: send every turn of a row's conversation, with the server's own answers."
    )
    think: float | str | None = Field(default=None, description="Pause between turns, e.g. U(2s,8s); 0 by default.")


class LengthsForm(FileForm):
    """The long form of a scenario with options, for editors; :mod:`autotuner.study.text.prefixes` and
    :mod:`autotuner.study.text.documents` read it."""

    lengths: str = Field(
        description="D(in,out), N(mean,std)/(mean,std) or U(..)/(..), on top of which prefixes come; E(..) or R(..)."
    )
    documents: int | None = Field(default=None, ge=1, le=10_000, description="E and R: texts per request.")
    input: int | None = Field(default=None, ge=1, le=10**8, description="I: tokens of the text beside the images.")
    output: int | None = Field(default=None, ge=1, le=10**8, description="I: tokens of the answer.")
    prefixes: int | None = Field(
        default=None, ge=1, le=100_000, description="Number of prefixes, one of which begins each prompt."
    )
    prefix_tokens: int | None = Field(default=None, ge=16, le=10**8, description="Length of each prefix in tokens.")
    zipf: float | None = Field(default=None, ge=0, le=10, description="Exponent of the popularity; 1 by default.")
    turns: int | str | None = Field(default=None, description="Turns of a conversation, e.g. U(2,6).")
    think: float | str | None = Field(default=None, description="Pause between turns, e.g. U(2s,8s); 0 by default.")
    later: int | str | None = Field(default=None, description="Length of later turns, e.g. N(64,16).")
    model: str | None = Field(default=None, description="Model name in requests, e.g. that of a LoRA adapter.")


class MixPartForm(FileForm):
    """One kind of request in a mix."""

    weight: float | str = Field(default=1, description="Share of the requests, relative to the other weights.")
    scenario: str | LengthsForm | DatasetForm = Field(
        description="D(in,out), N(mean,std)/(mean,std) or U(..)/(..), with options; or dataset:FILE."
    )
    name: str | None = Field(default=None, description="What SLOs on this part call it, e.g. chat.")


class MixForm(FileForm):
    """The long form of a mix, for editors; :mod:`autotuner.study.text.mixes` reads it."""

    mix: str | list[str | MixPartForm] = Field(description="Kinds of requests that are sent side by side.")


class StageForm(FileForm):
    """A part of a window with a rate of its own."""

    rate: float | None = Field(default=None, ge=0, description="Requests per second; for a ramp, from and to instead.")
    begin: float | None = Field(default=None, alias="from", ge=0, description="Rate at the start of a ramp.")
    to: float | None = Field(default=None, ge=0, description="Rate at its end.")
    duration: float | str = Field(alias="for", description="Length of the stage, e.g. 30s.")


class StagesForm(FileForm):
    """The long form of a load whose rate changes, for editors; :mod:`autotuner.study.text.stages` reads it."""

    stages: str | list[str | StageForm] = Field(description="Stages in order, e.g. 2/s:10s,2..10/s:30s.")
    arrivals: str = Field(default="poisson", description="constant, poisson or gamma.")
    burstiness: float | None = Field(default=None, gt=0, description="Shape of gamma arrivals.")


MAX_SEVERAL = 1000
"""Maximum number of values of a flag that takes several."""


def file_value(value: Any) -> Any:
    """A value as the domain model has it: a list becomes a tuple. Raises ``ValueError`` for anything else."""
    if isinstance(value, Mapping):
        raise InvalidValueError(
            "must be a single value or a list", remedy="write JSON in quotes; it reaches the engine as one argument"
        )
    if not isinstance(value, list | tuple):
        return value
    if not value:
        raise InvalidValueError("the list is empty", remedy="give at least one value, or null to leave the flag out")
    if len(value) > MAX_SEVERAL:
        raise InvalidValueError(f"more than {MAX_SEVERAL} values for one flag", remedy="shorten the list")
    if any(item is None or isinstance(item, list | tuple | Mapping) for item in value):
        raise InvalidValueError("the values of one flag must be numbers or text", remedy="write e.g. [1, 2, 4]")
    return tuple(value)


FileValue = Annotated[Value, BeforeValidator(file_value, json_schema_input_type=Value)]
"""A value as written in the file; a list is one value of a flag that takes several arguments."""


def _condition(text: Any) -> str:
    if not isinstance(text, str):
        remedy = 'write a condition, e.g. "schedule-policy == lpm", or remove when'
        raise InvalidValueError("must be text", remedy=remedy)
    Constraint.parse(text)
    return text


class ParameterForm(FileForm):
    """Domain of a parameter: a list of choices, a range, or named combinations of flags."""

    choices: list[FileValue] | None = Field(default=None, description="Values to try; null omits the flag.")
    low: int | float | None = Field(default=None, description="Smallest value; two integers define an integer range.")
    high: int | float | None = Field(default=None, description="Largest value, inclusive.")
    step: int | float | None = Field(default=None, gt=0, description="Step size, starting at low.")
    log: bool = Field(default=False, description="Integer range: low, doubling up to high. Else log-uniform.")
    combinations: dict[str, dict[str, FileValue]] | None = Field(
        default=None, description="Flags by the name of a combination; the parameter's values are these names."
    )
    when: Annotated[str, BeforeValidator(_condition, json_schema_input_type=str)] | None = Field(
        default=None, description='Condition under which the parameter is set, e.g. "speculative-algorithm != null".'
    )

    @model_validator(mode="before")
    @classmethod
    def _forms(cls, data: Any) -> Any:
        if isinstance(data, list):
            return {"choices": data}
        if not isinstance(data, Mapping):
            raise InvalidValueError(
                "must be a list or a range", remedy="write [a, b], or put a fixed value under engine.args"
            )
        return data

    @model_validator(mode="after")
    def _consistent(self) -> "ParameterForm":
        listed = "choices" if self.combinations is None else "combinations"
        if self.choices is not None and self.combinations is not None:
            raise InvalidValueError("has both choices and combinations", remedy="keep one of them")
        if self.choices is not None or self.combinations is not None:
            if self.low is not None or self.high is not None or self.step is not None or self.log:
                raise InvalidValueError(f"has both {listed} and a range", remedy="keep one of them")
            if self.choices is not None:
                _check_choices(self.choices)
            else:
                _check_names(list(self.combinations or ()))
            return self
        if self.low is None or self.high is None:
            raise InvalidValueError("a range needs low and high", remedy="or write a list of values")
        if self.low > self.high:
            raise InvalidValueError(f"low {self.low} is above high {self.high}", remedy="swap them")
        if self.step is not None and self.step > self.high - self.low:
            raise InvalidValueError(f"step {self.step} is wider than the range", remedy="make it smaller")
        if self.log and (self.low <= 0 or self.step is not None):
            raise InvalidValueError("log needs low above 0 and no step", remedy="leave one of them out")
        if self.step is not None or self.whole:
            count = 0 if self.log else (self.high - self.low) / (self.step or 1)
            if count > MAX_GRID:
                raise InvalidValueError(f"more than {MAX_GRID} values", remedy="use a larger step")
        return self

    @property
    def whole(self) -> bool:
        """Whether all bounds are integers."""
        return all(isinstance(n, int) for n in (self.low, self.high, self.step) if n is not None)

    def domain(self) -> Choices | IntRange | FloatRange:
        """The domain."""
        if self.combinations is not None:
            return Choices(values=tuple(self.combinations))
        if self.choices is not None:
            return Choices(values=tuple(self.choices))
        low = self.low or 0
        high = self.high or 0
        if self.whole:
            return IntRange(low=int(low), high=int(high), step=int(self.step or 1), log=self.log)
        return FloatRange(low=float(low), high=float(high), step=float(self.step) if self.step else None, log=self.log)


def _check_choices(values: list[Value]) -> None:
    if not values:
        raise InvalidValueError("the list is empty", remedy="give at least one value")
    if len(values) > MAX_GRID:
        raise InvalidValueError(f"more than {MAX_GRID} values", remedy="use a range")
    seen: set[object] = set()
    for value in values:
        items = value if isinstance(value, tuple) else (value,)
        exact = (type(value), *((type(item), item) for item in items))
        if exact in seen:
            shown = list(value) if isinstance(value, tuple) else value
            raise InvalidValueError(f"{shown!r} is in the list twice", remedy="remove one")
        seen.add(exact)


def _check_names(names: list[str]) -> None:
    if not names:
        raise InvalidValueError("has no combinations", remedy="write NAME: {flag: value} for each")
    if len(names) > MAX_COMBINATIONS:
        raise InvalidValueError(f"more than {MAX_COMBINATIONS} combinations", remedy="tune the flags one by one")
    for name in names:
        if not _COMBINATION.fullmatch(name):
            remedy = "use letters, digits, dots, underscores and hyphens, at most 63"
            raise InvalidValueError(f'"{shortened(name, 40)}" is not a valid name', remedy=remedy)


def _shape(value: Any) -> str:
    return "tuned" if isinstance(value, list | Mapping | ParameterForm) else "fixed"


Setting = Annotated[Annotated[ParameterForm, Tag("tuned")] | Annotated[FileValue, Tag("fixed")], Discriminator(_shape)]
"""A portable setting: fixed if it is a single value, tuned if it is a list or a range."""


Price = Annotated[float, Field(gt=0)]
"""Schema of a price in USD per hour, for editors."""


def price(value: Any) -> float:
    """A price. Raises ``ValueError``."""
    if not _is_price(value):
        raise InvalidValueError("must be USD per GPU-hour, a number above 0", remedy="write e.g. 2.49")
    return float(value)


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def priced(value: Any) -> Any:
    """Raises ``ValueError`` for a price that is not that of a kind of GPU."""
    if not isinstance(value, Mapping):
        remedy = f"write {{H100: {price(value)}}}" if _is_price(value) else "write e.g. {H100: 2.49}"
        raise InvalidValueError("must be prices by kind of GPU", remedy=remedy)
    return value


def checked_kinds(prices: dict[str, float]) -> dict[str, float]:
    """Raises ``ValueError`` for a key that names no kind of GPU, and for two that name the same."""
    for kind in prices:
        if kind != ANY and not any(character.isalnum() for character in kind):
            raise InvalidValueError(f'"{shortened(kind, 40)}" names no GPU', remedy='write e.g. H100, "*" or host')
    for one, other in combinations(prices, 2):
        if same_kind(one, other):
            both = f"{shortened(one, 40)} and {shortened(other, 40)}"
            raise InvalidValueError(f"{both} name the same GPUs", remedy="remove one of them")
    return prices


def env_value(value: Any) -> Any:
    """The value of an environment variable as text. Raises ``ValueError``."""
    if isinstance(value, list):
        raise InvalidValueError(
            "has several values", remedy="to tune the variable, write env.NAME: [..] under parameters"
        )
    if value is None:
        raise InvalidValueError("has no value", remedy="leave the variable out, or write an empty text in quotes")
    if isinstance(value, Mapping):
        raise InvalidValueError("must be text", remedy="put it in quotes")
    return variable_text(value)


def checked_variables(value: dict[str, str]) -> dict[str, str]:
    """Raises ``ValueError`` if a name cannot be that of a variable."""
    for name in value:
        if problem := name_problem(name):
            why, remedy = problem
            raise InvalidValueError(f"{name}: {why}", remedy=remedy)
    return value


def _labels(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: str(text) if isinstance(text, int) and not isinstance(text, bool) else text
            for name, text in value.items()
        }
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must be labels: gpu=h100, or {gpu: h100}")
    return parse_labels(texts)


Labels = Annotated[
    dict[str, str],
    AfterValidator(checked_labels),
    BeforeValidator(_labels, json_schema_input_type=str | list[str] | dict[str, str | int]),
]
