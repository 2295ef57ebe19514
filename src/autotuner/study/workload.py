"""Workloads: kinds of requests (scenarios) at amounts of load (levels)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from autotuner.study.base import FrozenModel, number_text


class TokenLengths(FrozenModel):
    """Distribution of the lengths of prompts or responses, in tokens."""

    kind: Literal["fixed", "normal", "uniform"]
    a: int
    """The length (fixed), the mean (normal) or the lower bound (uniform)."""
    b: int = 0
    """The standard deviation (normal) or the upper bound (uniform)."""

    @property
    def mean(self) -> float:
        """The mean length in tokens."""
        return (self.a + self.b) / 2 if self.kind == "uniform" else float(self.a)


class TracePart(FrozenModel):
    """The part of a trace that is replayed: a time range, and a share of its requests."""

    file: str
    """Path of the trace, resolved against the study file's folder."""
    begin_s: float = Field(default=0.0, ge=0)
    """Seconds after the trace's first request, in the trace's own time."""
    end_s: float | None = None
    """None: to the trace's end."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests; those with a common prefix are kept or left out together."""


class SharedPrefixes(FrozenModel):
    """Beginnings that prompts have in common, such as the system prompts of several applications."""

    count: int = Field(ge=1, le=100_000)
    tokens: int = Field(ge=16, le=100_000_000)
    """Length of each. Prefix caches match blocks of 16 tokens and more."""
    zipf: float = Field(default=1.0, ge=0, le=10)
    """Exponent of the popularity: the k-th prefix is chosen in proportion to ``k ** -zipf``; 0: all equally often."""


class Documents(FrozenModel):
    """Texts of one request to an endpoint that generates nothing. Lengths in tokens."""

    count: int = Field(default=1, ge=1, le=10_000)
    """Texts per request."""
    tokens: int = Field(ge=1, le=100_000_000)
    """Length of each."""
    query_tokens: int | None = Field(default=None, ge=1, le=100_000_000)
    """Length of the query that they are ranked by; None for embeddings."""


class Images(FrozenModel):
    """Images of one request. Sizes in pixels."""

    width: int = Field(ge=1, le=16_384)
    height: int = Field(ge=1, le=16_384)
    count: int = Field(default=1, ge=1, le=64)


class Pauses(FrozenModel):
    """Distribution of the time that a user takes between an answer and the next turn, in seconds."""

    kind: Literal["fixed", "normal", "uniform"] = "fixed"
    a: float = Field(default=0.0, ge=0)
    """The pause (fixed), the mean (normal) or the lower bound (uniform)."""
    b: float = Field(default=0.0, ge=0)
    """The standard deviation (normal) or the upper bound (uniform)."""


class Conversations(FrozenModel):
    """Turns that follow one another: each carries those before it, with the server's answers."""

    turns: TokenLengths | None = None
    """Number of turns of a conversation; None: as many as a dataset's row has."""
    think: Pauses = Pauses()
    later: TokenLengths | None = None
    """Length of the user's text from the second turn on; None: as in the first turn."""


class Scenario(FrozenModel):
    """One kind of request.

    Written in genai-bench's grammar, ``D(i,o)``, ``N(mi,si)/(mo,so)`` or ``U(imin,imax)/(omin,omax)``, if need be with
    options after it, or as ``dataset:FILE`` or ``trace:FILE``; for embeddings and rankings as ``E(tokens)`` and
    ``R(document,query)``.
    """

    text: str
    """Canonical spelling, which identifies the scenario."""
    input: TokenLengths | None = None
    output: TokenLengths | None = None
    prefixes: SharedPrefixes | None = None
    """What the prompts begin with, on top of ``input``."""
    documents: Documents | None = None
    """What is embedded or ranked, instead of ``input`` and ``output``."""
    images: Images | None = None
    """Images beside the text of ``input`` tokens."""
    conversations: Conversations | None = None
    """Several turns, whose first has the length ``input`` or which are those of a row of ``dataset``; the load levels
    are :class:`Users`."""
    dataset: str | None = None
    """Path of a dataset file, resolved against the study file's folder."""
    trace: TracePart | None = None
    """Recorded arrivals and lengths; its load levels are :class:`TraceSpeed`."""
    model: str | None = None
    """Model name in requests, such as that of a LoRA adapter; None: the served model."""
    mix: "tuple[MixPart, ...]" = ()
    """Kinds of requests that are sent side by side, instead of ``input`` and ``output``."""

    @property
    def parts(self) -> "tuple[Scenario, ...]":
        """The scenarios of a mix; of any other scenario, itself."""
        return tuple(part.scenario for part in self.mix) or (self,)


class MixPart(FrozenModel):
    """One kind of request in a mix."""

    weight: float = Field(gt=0, le=1_000_000)
    """Its share of the requests, relative to the other weights."""
    scenario: Scenario
    name: str | None = None
    """What SLOs on it call it; None: by its place."""

    @property
    def text(self) -> str:
        """``0.7 D(128,48) name=chat``."""
        return f"{number_text(self.weight)} {self.scenario.text}{f' name={self.name}' if self.name else ''}"


class Users(FrozenModel):
    """Closed loop: users who each hold one conversation after the other."""

    kind: Literal["users"] = "users"
    count: int = Field(ge=1, le=100_000)

    @property
    def text(self) -> str:
        """``users=16``."""
        return f"users={self.count}"


class Arrivals(StrEnum):
    """Distribution of arrival times in an open loop."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"


class Concurrency(FrozenModel):
    """Closed loop: a fixed number of requests in flight."""

    kind: Literal["concurrency"] = "concurrency"
    in_flight: int = Field(ge=1, le=100_000)

    @property
    def text(self) -> str:
        """``concurrency=8``."""
        return f"concurrency={self.in_flight}"


class RequestRate(FrozenModel):
    """Open loop: requests arrive on an absolute schedule, however slow the server is."""

    kind: Literal["rate"] = "rate"
    rate: float = Field(gt=0, le=1_000_000)
    """Requests per second."""
    arrivals: Arrivals = Arrivals.POISSON
    burstiness: float = Field(default=1.0, gt=0)
    """Shape of the distribution, only for ``gamma``: 1 is Poisson, smaller is burstier."""

    @property
    def text(self) -> str:
        """``rate=4/s poisson``."""
        shape = f" burstiness={number_text(self.burstiness)}" if self.arrivals is Arrivals.GAMMA else ""
        return f"rate={number_text(self.rate)}/s {self.arrivals.value}{shape}"


class TraceSpeed(FrozenModel):
    """Open loop: requests arrive when they did in a trace, ``speed`` times as fast."""

    kind: Literal["trace"] = "trace"
    speed: float = Field(default=1.0, gt=0, le=1_000_000)

    @property
    def text(self) -> str:
        """``speed=2``."""
        return f"speed={number_text(self.speed)}"


class Stage(FrozenModel):
    """A part of a window with a rate of its own."""

    begin: float = Field(ge=0, le=1_000_000)
    """Requests per second at its beginning."""
    end: float = Field(ge=0, le=1_000_000)
    """At its end; in between, the rate changes linearly."""
    span_s: float = Field(gt=0)

    @property
    def requests(self) -> float:
        """Expected number of requests."""
        return (self.begin + self.end) / 2 * self.span_s

    @property
    def text(self) -> str:
        """``2/s:10s``, or ``2..10/s:30s`` for a ramp."""
        ramp = "" if self.begin == self.end else f"..{number_text(self.end)}"
        return f"{number_text(self.begin)}{ramp}/s:{number_text(self.span_s)}s"


class Stages(FrozenModel):
    """Open loop: requests arrive on a schedule whose rate changes over the window."""

    kind: Literal["stages"] = "stages"
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=1000)
    arrivals: Arrivals = Arrivals.POISSON
    burstiness: float = Field(default=1.0, gt=0)
    """As for :class:`RequestRate`."""

    @property
    def duration_s(self) -> float:
        """Length of the window."""
        return sum(stage.span_s for stage in self.stages)

    @property
    def requests(self) -> int:
        """Number of requests in the window."""
        return round(sum(stage.requests for stage in self.stages))

    @property
    def text(self) -> str:
        """``stages=2/s:10s,8/s:20s``."""
        kind = "" if self.arrivals is Arrivals.POISSON else f" {self.arrivals.value}"
        shape = f" burstiness={number_text(self.burstiness)}" if self.arrivals is Arrivals.GAMMA else ""
        return f"stages={','.join(stage.text for stage in self.stages)}{kind}{shape}"


class LoadUnit(StrEnum):
    """What a capacity counts."""

    RATE = "rate"
    """Requests per second, arriving as a Poisson process."""
    CONCURRENCY = "concurrency"
    """Requests in flight."""
    SPEED = "speed"
    """Times the recorded speed of a trace."""


class CapacityLoad(FrozenModel):
    """The highest load at which all hard SLOs hold, found by a search over load levels on the running server.

    Loads are requests per second, requests in flight, or speeds of a trace.
    """

    kind: Literal["capacity"] = "capacity"
    unit: LoadUnit = LoadUnit.RATE
    precision: float = Field(default=0.1, gt=0, le=1)
    """Largest ratio of refuted to certified load, minus one."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Not used for speeds: a replay counts all its requests."""
    low: float | None = Field(default=None, gt=0)
    """Lowest load that is tried; None: without a limit."""
    high: float | None = Field(default=None, gt=0)
    max_requests: int = Field(default=20_000, ge=100)
    """Request budget of one search."""
    max_duration_s: float = Field(default=1_800.0, gt=0)
    """Time budget of one search."""

    @property
    def text(self) -> str:
        """``capacity``."""
        return self.kind


LoadLevel = Annotated[
    Concurrency | RequestRate | TraceSpeed | Stages | Users | CapacityLoad, Field(discriminator="kind")
]

VARYING = (TraceSpeed, Stages)
"""Levels whose rate changes within the window. The window is as long as the load itself, and never steady."""


class Api(StrEnum):
    """The endpoint to use."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"

    @property
    def generates(self) -> bool:
        """Whether answers consist of output tokens."""
        return self in (Api.CHAT, Api.COMPLETIONS)


class Workload(FrozenModel):
    """The load of a study. Durations in seconds."""

    api: Api = Api.CHAT
    scenarios: tuple[Scenario, ...] = Field(min_length=1)
    levels: tuple[LoadLevel, ...] = Field(min_length=1)
    warmup_s: float = Field(default=2.0, ge=0)
    """Duration of the load before the window, which is not measured."""
    duration_s: float = Field(default=30.0, gt=0)
    """Minimum length of a window, unless ``requests`` ends it."""
    max_duration_s: float | None = Field(default=None, gt=0)
    """Maximum length of a window that is not steady or has too few requests; None: three times ``duration_s``."""
    min_requests: int = Field(default=8, ge=0)
    """Minimum number of finished requests for a window to be ranked."""
    requests: int | None = Field(default=None, ge=1)
    """Number of requests after which the window ends early."""
    request_timeout_s: float = Field(default=120.0, gt=0)
    seed: int = 0
    reuse_prompts: bool = False
    """Send the same prompts in every window. Otherwise no two windows, levels or trials share one, since a warm prefix
    cache would make later ones look faster."""
    stream: bool = True
    """Whether generated answers are streamed. In one piece, they have no times of tokens."""
    token_ids: bool = False
    """Send generated prompts as token IDs, which the completions API of most engines accepts."""
    prefix_tokens: int = Field(default=0, ge=0)
    """Length in tokens of a system prompt shared by all requests, for studies of the prefix cache."""
    ignore_eos: bool = True
    """Whether to request exactly the output length."""
    extra_body: Mapping[str, object] = Field(default_factory=dict)
    """Fields to merge into every request body, e.g. sampling parameters."""
    tokenizer: str | None = None
    """Local tokenizer.json (or its folder) to build prompts and to count tokens if the server reports no usage. Never
    downloaded, and no remote code is executed."""

    @property
    def streams(self) -> bool:
        """Whether the times of single tokens can be measured."""
        return self.stream and self.api.generates

    @property
    def longest_s(self) -> float:
        """Maximum length of a window in seconds."""
        threefold = round(3 * self.duration_s, 9)  # 2.1 for 0.7, as a reader expects
        return max(self.duration_s, threefold if self.max_duration_s is None else self.max_duration_s)

    @property
    def fewest(self) -> int:
        """Minimum number of finished requests in a window: ``min_requests``, but not more than ``requests``."""
        return self.min_requests if self.requests is None else min(self.min_requests, self.requests)
