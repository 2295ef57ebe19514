"""Forms of the study file: strict models of what may be written under each key.

Validators expand short forms into long ones before the fields are validated, so that each key is described once: here,
for the parser, for editors (JSON Schema) and for the reference.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.forms import (
    checked_speed,
    parse_long_scenario,
    parse_ratio,
    parse_scenario,
    parse_share,
    parse_stages,
)
from autotuner.study.text.options import path_text
from autotuner.study.workload import Api, LoadUnit, RequestRate, Scenario, Stages
from autotuner.study_file.endpoints import check_endpoint_scenarios, check_endpoint_settings, check_token_ids
from autotuner.study_file.engines.forms import (
    MAX_ENGINES,
    MAX_PARAMETERS,
    Baseline,
    Constraints,
    EngineForm,
    Engines,
    PluginForm,
)
from autotuner.study_file.form_fields import (
    DatasetForm,
    Duration,
    FileForm,
    Labels,
    LengthsForm,
    ListOf,
    MixForm,
    ParameterForm,
    Price,
    Ratio,
    Setting,
    StageForm,
    StagesForm,
    TraceForm,
    checked_kinds,
    listed,
    parsed_by,
    price,
    priced,
    short,
)
from autotuner.study_file.goal_forms import ObjectiveForm, SloForm, long_objective, long_slo
from autotuner.study_file.proof.confirm_form import ConfirmForm
from autotuner.study_file.proof.quality_form import QualityForm


class ModelForm(FileForm):
    """The served model."""

    path: Annotated[str, AfterValidator(path_text)] = Field(
        min_length=1, description="File, folder or Hub ID that the engine accepts."
    )
    name: str | None = Field(default=None, description="Model name in requests; default: chosen by the engine.")


def _read_scenario(value: Any) -> Any:
    if isinstance(value, Scenario):
        return value
    if isinstance(value, Mapping):
        return parse_long_scenario(value)
    if not isinstance(value, str):
        raise InvalidValueError("must be text", remedy="write e.g. D(128,48)")
    return parse_scenario(value)


def _rate(value: Any) -> Any:
    if isinstance(value, Mapping):
        arrivals = value.get("arrivals", "poisson")
        if "burstiness" in value and arrivals != "gamma":
            raise InvalidValueError("burstiness is the shape of gamma arrivals", remedy="add arrivals: gamma")
        return {k: v for k, v in value.items() if k != "kind"} | ({"kind": "?"} if "kind" in value else {})
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number of requests per second, or {rate, arrivals, burstiness}")
    return {"rate": value}


def _stage_lists(value: Any) -> Any:
    """A list of loads. A list of mappings is one load, stage by stage."""
    if isinstance(value, list) and value and all(isinstance(v, Mapping) and "stages" not in v for v in value):
        return [value]
    return listed(value)


_OF_CAPACITY = frozenset({"unit", "precision", "confidence", "low", "high", "max_requests"})
_OF_LEVELS = ("concurrency", "rates", "stages", "users", "speeds", "duration", "min_requests", "requests")


def _check_load(form: "WorkloadForm") -> None:
    """A capacity search chooses its own levels, and ends each as soon as it is decided."""
    if form.load is None:
        if foreign := sorted(_OF_CAPACITY & form.model_fields_set):
            raise InvalidValueError(f"has {foreign[0]}, which only a capacity search uses", remedy="add load: capacity")
        return
    if foreign := [name for name in _OF_LEVELS if name in form.model_fields_set]:
        raise InvalidValueError(f"a capacity search does not use {foreign[0]}", remedy=f"remove {foreign[0]}")
    _check_unit(form, traces=sum(scenario.trace is not None for scenario in form.scenarios))
    if any(scenario.conversations for scenario in form.scenarios):
        why = "a capacity search cannot hold conversations"
        raise InvalidValueError(why, remedy="use users instead of load: capacity")
    if form.low is not None and form.high is not None and form.low > form.high:
        raise InvalidValueError("low is above high", remedy="swap them")


def _check_unit(form: "WorkloadForm", *, traces: int) -> None:
    """The capacity of a trace is a speed, and nothing else is."""
    if 0 < traces < len(form.scenarios):
        raise InvalidValueError("mixes a trace with other scenarios", remedy="measure them in a separate study")
    if traces and form.unit not in (None, LoadUnit.SPEED):
        why = f"a trace has its own arrivals, so its capacity is a speed, not a {form.unit.value}"
        raise InvalidValueError(why, remedy="remove unit")
    if traces and "confidence" in form.model_fields_set:
        why = "a replay counts every request of the trace, so its capacity has no confidence"
        raise InvalidValueError(why, remedy="remove confidence")
    if not traces and form.unit is LoadUnit.SPEED:
        raise InvalidValueError("has unit: speed but no trace", remedy="use rate or concurrency, or add trace:FILE")


def _check_kinds(form: "WorkloadForm") -> None:
    """Traces have arrival times of their own, so they are replayed at a speed; conversations need users."""
    traces = [scenario for scenario in form.scenarios if scenario.trace]
    if form.load is not None:
        return
    others = form.concurrency or form.rates or form.stages
    if traces:
        if len(traces) < len(form.scenarios):
            raise InvalidValueError("mixes a trace with other scenarios", remedy="measure them in a separate study")
        if others or form.users:
            remedy = "use speeds instead of concurrency, rates, stages and users"
            raise InvalidValueError("a trace has its own arrivals", remedy=remedy)
        return
    if form.speeds:
        raise InvalidValueError("has speeds but no trace", remedy="use concurrency or rates, or add trace:FILE")
    conversations = [scenario for scenario in form.scenarios if scenario.conversations]
    if conversations:
        if len(conversations) < len(form.scenarios):
            why = "mixes conversations with other scenarios"
            raise InvalidValueError(why, remedy="measure them in a separate study")
        if others:
            remedy = "use users instead of concurrency, rates and stages"
            raise InvalidValueError("users decide when the turns of a conversation are sent", remedy=remedy)
        if not form.users:
            raise InvalidValueError("conversations need users", remedy="add users, e.g. [4, 16]")
    elif form.users:
        raise InvalidValueError("has users but no conversations", remedy="add turns to the scenario, e.g. turns=U(2,6)")
    elif not others:
        raise InvalidValueError("has no load level", remedy="add concurrency, e.g. [1, 8], or rates")


_ScenarioInput = str | TraceForm | DatasetForm | LengthsForm | MixForm
_StagesInput = str | StagesForm | list[StageForm]


class WorkloadForm(FileForm):
    """The load."""

    api: Annotated[Api, Field(strict=False)] = Field(
        default=Api.CHAT, description="chat, completions, embeddings or rerank."
    )
    scenarios: Annotated[
        list[Annotated[Scenario, BeforeValidator(_read_scenario, json_schema_input_type=str)]],
        BeforeValidator(listed, json_schema_input_type=_ScenarioInput | list[_ScenarioInput]),
    ] = Field(
        min_length=1,
        description="What is sent: D(in,out), N(mean,std)/(mean,std), U(..)/(..), dataset:FILE, trace:FILE, "
        "E(tokens), R(document,query).",
    )
    concurrency: Annotated[
        list[Annotated[int, Field(ge=1, le=100_000)]],
        BeforeValidator(listed, json_schema_input_type=int | list[int]),
    ] = Field(default_factory=list, description="Closed loop: requests in flight; one load level each.")
    rates: Annotated[
        list[Annotated[RequestRate, Field(strict=False), BeforeValidator(_rate, json_schema_input_type=Any)]],
        BeforeValidator(listed, json_schema_input_type=Any),
    ] = Field(default_factory=list, description="Open loop: requests per second, or {rate, arrivals, burstiness}.")
    stages: Annotated[
        list[Annotated[Stages, BeforeValidator(parse_stages, json_schema_input_type=_StagesInput)]],
        BeforeValidator(_stage_lists, json_schema_input_type=_StagesInput | list[_StagesInput]),
    ] = Field(
        default_factory=list, description="Open loop: a rate that changes over the window, e.g. 2/s:10s,2..10/s:30s."
    )
    speeds: Annotated[
        list[Annotated[float, BeforeValidator(checked_speed, json_schema_input_type=int | float)]],
        BeforeValidator(listed, json_schema_input_type=float | list[float]),
    ] = Field(default_factory=list, description="Traces: how many times as fast to replay them; 1 by default.")
    users: Annotated[
        list[Annotated[int, Field(ge=1, le=100_000)]],
        BeforeValidator(listed, json_schema_input_type=int | list[int]),
    ] = Field(default_factory=list, description="Conversations: users who hold one after the other.")
    load: Literal["capacity"] | None = Field(
        default=None, description="capacity: find the highest load within the hard SLOs, instead of fixed levels."
    )
    unit: Annotated[LoadUnit, Field(strict=False)] | None = Field(
        default=None,
        description="Of a capacity: rate (requests per second, Poisson; default), concurrency, or speed of a trace.",
    )
    precision: Annotated[float, parsed_by(parse_share, type(None), float | str)] = Field(
        default=0.1, gt=0, le=1, description="Largest distance of the refuted load from the certified one."
    )
    confidence: Annotated[float, parsed_by(parse_share, type(None), float | str)] = Field(
        default=0.95, ge=0.5, lt=1, description="Confidence of each end of a capacity."
    )
    low: float | None = Field(default=None, gt=0, le=10**6, description="Lowest load that a capacity search tries.")
    high: float | None = Field(default=None, gt=0, le=10**6, description="Highest load that a capacity search tries.")
    max_requests: int = Field(default=20_000, ge=100, le=10**9, description="Request budget of a capacity search.")
    warmup: Duration = Field(default=2.0, ge=0, description="Load before the window; not measured.")
    duration: Duration = Field(default=30.0, gt=0, description="Measured window; requests may end it early.")
    max_duration: Duration | None = Field(
        default=None,
        gt=0,
        description="Maximum length of a window that is not yet steady, has too few requests or in which the load "
        "generator lagged, three times duration by default; of a capacity search, 30m by default.",
    )
    min_requests: int = Field(
        default=8, ge=0, le=10**9, description="Minimum number of finished requests for a window to be ranked."
    )
    requests: int | None = Field(default=None, ge=1, le=10**9, description="End a window after this many requests.")
    request_timeout: Duration = Field(default=120.0, gt=0, description="Timeout of a single request.")
    seed: int = Field(default=0, description="Random seed for prompts and arrival times.")
    reuse_prompts: bool = Field(
        default=False, description="Send the same prompts in every window; a warm prefix cache then answers them."
    )
    stream: bool = Field(default=True, description="If false, generated answers arrive in one piece: no TTFT, no TPOT.")
    token_ids: bool = Field(default=False, description="Send generated prompts as token IDs; needs api: completions.")
    prefix_tokens: int = Field(
        default=0, ge=0, le=10**8, description="Length in tokens of a system prompt shared by all requests."
    )
    ignore_eos: bool = Field(default=True, description="Request exactly the given output length.")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="JSON object merged into every request body.")
    tokenizer: Annotated[str, AfterValidator(path_text)] | None = Field(
        default=None, description="Local tokenizer.json or folder; never downloaded."
    )

    @model_validator(mode="after")
    def _levels(self) -> "WorkloadForm":
        _check_load(self)
        _check_kinds(self)
        check_endpoint_scenarios(self.api, self.scenarios)
        check_endpoint_settings(self.api, prefix_tokens=self.prefix_tokens)
        if self.token_ids:
            check_token_ids(self.api, self.scenarios)
        levels = [
            *self.concurrency,
            *(rate.text for rate in self.rates),
            *(load.text for load in self.stages),
            *(f"users {count}" for count in self.users),
            *(f"speed {speed}" for speed in self.speeds),
        ]
        if len(set(levels)) < len(levels):
            raise InvalidValueError("has a load level twice", remedy="remove one")
        if len({s.text for s in self.scenarios}) < len(self.scenarios):
            raise InvalidValueError("has a scenario twice", remedy="remove one")
        return self


_STOP = "write e.g. 3%, or {remaining_gain: 3%, confidence: 95%}"


def _stop(value: Any) -> Any:
    """The long form of a gain. Raises ``ValueError`` for anything but a mapping."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Mapping):
        raise InvalidValueError("must be a gain or a mapping", remedy=_STOP)
    return value if isinstance(value, Mapping) else {"remaining_gain": value}


def _gain(value: Any) -> float:
    """A gain between 0 and 100%. Raises ``ValueError``."""
    try:
        found = parse_ratio(value)
    except InvalidValueError:
        found = 0.0
    if not 0 < found < 1:
        raise InvalidValueError("must be above 0 and below 100%", remedy="write e.g. 3%")
    return found


def _studies(value: Any) -> Any:
    """What to learn from. Raises ``ValueError`` for anything but auto, none and a list."""
    if value in ("auto", "none") or isinstance(value, list):
        return value
    example = f"[{value}]" if isinstance(value, str) else "[NAME, ..]"
    raise InvalidValueError("must be auto, none or a list of studies", remedy=f"to learn from a study, write {example}")


class StopForm(FileForm):
    """When the search ends by itself."""

    remaining_gain: Annotated[float, BeforeValidator(_gain, json_schema_input_type=float | str)] = Field(
        gt=0, lt=1, description="End once no configuration can be better than the best one by more than this, e.g. 3%."
    )
    confidence: Ratio = Field(default=0.95, ge=0.8, le=0.99, description="Probability that this holds.")


class SearchForm(FileForm):
    """Search strategy and budget; further keys are settings of the strategy."""

    model_config = ConfigDict(extra="allow")

    strategy: str = Field(
        default="auto", min_length=1, description="auto, calibrated, bayesian, random, grid, or a plugin."
    )
    trials: int = Field(default=20, ge=1, le=10**6, description="Launches of the search, including the default.")
    seed: int = Field(default=0, description="Random seed; equal seeds propose equal configurations.")
    time: Duration | None = Field(default=None, gt=0, description="Wall-clock budget, e.g. 10m.")
    gpu_hours: float | None = Field(default=None, gt=0, le=10**9, description="Budget in GPU hours.")
    parallel: int = Field(default=1, ge=1, le=1000, description="Number of trials to run concurrently.")
    trial_timeout: Duration | None = Field(default=None, gt=0, description="Timeout of a single trial.")
    racing: Literal["auto", "levels", "off"] = Field(
        default="auto",
        description="End a trial once it cannot win: auto (also by a short window first), levels, or off.",
    )
    max_environment_faults: int = Field(default=3, ge=1, le=10**6, description="Stop after so many in a row.")
    warm_start: Annotated[Literal["auto", "none"] | list[str], BeforeValidator(_studies)] = Field(
        default="auto",
        description="Earlier studies that calibrated learns from: auto (all related ones), none, or a list of names.",
    )
    prior: str = Field(
        default="auto",
        min_length=1,
        description="What predicts results before a launch: auto, roofline, aiconfigurator, none, or a plugin.",
    )
    stop: Annotated[StopForm, BeforeValidator(_stop, json_schema_input_type=Any)] | None = Field(
        default=None, description="Also end by the gain that remains: a ratio, or {remaining_gain, confidence}."
    )


_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise InvalidValueError("not a name", remedy="use letters, digits, dots, underscores and hyphens, at most 63")
    return text


class StudyFile(FileForm):
    """A whole study file."""

    name: Annotated[str, AfterValidator(_name)] | None = Field(
        default=None,
        json_schema_extra={"pattern": _NAME.pattern},
        description="Identifies the study in the store; default: from folder and file name.",
    )
    model: Annotated[ModelForm, short("path", "Qwen/Qwen3-8B")] = Field(
        description="The model: a path or Hub ID, or {path, name}."
    )
    engine: Annotated[EngineForm, short("kind", "sglang")] = Field(
        description="The server: a kind, or {kind, args, env, ..}."
    )
    engines: Engines = Field(
        default_factory=list,
        max_length=MAX_ENGINES,
        description="Several servers to choose from: {name, kind, .., deploy, parameters, baseline}.",
    )
    deploy: Annotated[PluginForm, short("kind", "docker")] = Field(
        default=PluginForm(kind="process"),
        description="Where servers run: process, docker, kubernetes, ome, external, or a plugin.",
    )
    benchmark: Annotated[PluginForm, short("kind", "native")] = Field(
        default=PluginForm(kind="native"), description="Load generator: native, genai_bench, ome_job, or a plugin."
    )
    parameters: dict[str, ParameterForm] = Field(
        default_factory=dict, max_length=MAX_PARAMETERS, description="What to tune, by the engine's own flag names."
    )
    quantization: Annotated[dict[str, Setting], short("preset", "dynamic-fp8")] = Field(
        default_factory=dict, description="Number formats, portable across engines, or a preset; a list is tuned."
    )
    parallelism: Annotated[dict[str, Setting], short("preset", "single-gpu")] = Field(
        default_factory=dict, description="Degrees of parallelism, portable across engines, or a preset."
    )
    constraints: Constraints = Field(
        default_factory=list, max_length=100, description="Constraints on parameters, e.g. tp-size * pp-size <= gpus."
    )
    baseline: Baseline = Field(
        default_factory=dict,
        description="Values of tuned parameters that run today, to compare with; default: the engine's default.",
    )
    workload: WorkloadForm = Field(description="The load to measure with.")
    objective: Annotated[
        list[Annotated[ObjectiveForm, BeforeValidator(long_objective, json_schema_input_type=str | ObjectiveForm)]],
        ListOf,
    ] = Field(min_length=1, description="What to optimize, e.g. max output_throughput; several give a Pareto front.")
    slo: Annotated[
        list[Annotated[SloForm, BeforeValidator(long_slo, json_schema_input_type=str | SloForm)]], ListOf
    ] = Field(default_factory=list, description="SLOs to meet, e.g. p99 ttft <= 200ms.")
    min_success_rate: Ratio = Field(default=0.99, ge=0, le=1, description="Minimum success rate of a winner.")
    search: Annotated[SearchForm, short("strategy", "calibrated")] = Field(
        default=SearchForm(), description="Search strategy and budget: a strategy, or {strategy, trials, ..}."
    )
    confirm: ConfirmForm = Field(
        default=ConfirmForm(), description="How the default and its best challengers are measured again, interleaved."
    )
    quality: Annotated[QualityForm, short("parameters", "auto")] | None = Field(
        default=None, description="Whether answers stay as good as the default's: auto, all, or {parameters, kl, ..}."
    )
    prices: Annotated[
        dict[str, Annotated[float, BeforeValidator(price, json_schema_input_type=Price)]],
        BeforeValidator(priced),
        AfterValidator(checked_kinds),
    ] = Field(
        default_factory=dict,
        description='USD per GPU-hour by kind of GPU ("*": any other), or per hour of the host, e.g. {H100: 2.49}.',
    )
    worker: Labels = Field(
        default_factory=dict, description="Labels of the workers that may take it from the queue, e.g. gpu=h100."
    )
