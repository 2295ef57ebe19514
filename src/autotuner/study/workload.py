"""What is sent to the server: kinds of request (scenarios) at amounts of load (levels)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from autotuner.study.base import Noun, number_text


class TokenLengths(Noun):
    """How long prompts or answers are, in tokens."""

    kind: Literal["fixed", "normal", "uniform"]
    a: int
    """fixed: the length; normal: the mean; uniform: the lower bound."""
    b: int = 0
    """normal: the standard deviation; uniform: the upper bound."""


class Scenario(Noun):
    """One kind of request, in genai-bench's grammar: ``D(i,o)``, ``N(mi,si)/(mo,so)``, ``U(imin,imax)/(omin,omax)``,
    or ``dataset:FILE`` (JSON lines)."""

    text: str
    """Canonical spelling; identifies the scenario everywhere."""
    input: TokenLengths | None = None
    output: TokenLengths | None = None
    dataset: str | None = None
    """Path of a dataset file, resolved against the study file's folder."""


class Arrivals(StrEnum):
    """How requests arrive in an open loop."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"


class Concurrency(Noun):
    """Closed loop: a fixed number of requests in flight."""

    kind: Literal["concurrency"] = "concurrency"
    in_flight: int = Field(ge=1, le=100_000)

    @property
    def text(self) -> str:
        """``concurrency=8``."""
        return f"concurrency={self.in_flight}"


class RequestRate(Noun):
    """Open loop: requests arrive on an absolute schedule, however slow the answers are."""

    kind: Literal["rate"] = "rate"
    rate: float = Field(gt=0, le=1_000_000)
    """Requests per second."""
    arrivals: Arrivals = Arrivals.POISSON
    burstiness: float = Field(default=1.0, gt=0)
    """Shape of the gamma distribution (only ``gamma``): 1 is Poisson, smaller is burstier."""

    @property
    def text(self) -> str:
        """``rate=4/s poisson``."""
        shape = f" burstiness={number_text(self.burstiness)}" if self.arrivals is Arrivals.GAMMA else ""
        return f"rate={number_text(self.rate)}/s {self.arrivals.value}{shape}"


LoadLevel = Annotated[Concurrency | RequestRate, Field(discriminator="kind")]


class Api(StrEnum):
    """Which OpenAI endpoint is used; both are streamed."""

    CHAT = "chat"
    COMPLETIONS = "completions"


class Workload(Noun):
    """Everything about the load. Durations in seconds."""

    api: Api = Api.CHAT
    scenarios: tuple[Scenario, ...] = Field(min_length=1)
    levels: tuple[LoadLevel, ...] = Field(min_length=1)
    warmup_s: float = Field(default=2.0, ge=0)
    """Load that runs before the window and is left out of it."""
    duration_s: float = Field(default=30.0, gt=0)
    """Shortest measured window, unless ``requests`` ends it."""
    max_duration_s: float | None = Field(default=None, gt=0)
    """How long a window may become that is not steady or holds too few requests. None: three times ``duration_s``."""
    min_requests: int = Field(default=8, ge=0)
    """Finished requests below which a window is too thin to be ranked."""
    requests: int | None = Field(default=None, ge=1)
    """The window ends early once this many requests have completed inside it."""
    request_timeout_s: float = Field(default=120.0, gt=0)
    seed: int = 0
    reuse_prompts: bool = False
    """Send the same prompts in every window. Otherwise no two windows, levels or trials share one, since a warm prefix
    cache would make later ones look faster."""
    prefix_tokens: int = Field(default=0, ge=0)
    """Length of a system prompt shared by all requests (prefix-cache studies)."""
    ignore_eos: bool = True
    """Ask the server to generate exactly the output length."""
    extra_body: Mapping[str, object] = Field(default_factory=dict)
    """Merged into every request body, e.g. sampling parameters."""
    tokenizer: str | None = None
    """Local tokenizer.json (or folder) used to build prompts and to count tokens where the server reports no usage.
    Never fetched from a hub, never executes remote code."""

    @property
    def longest_s(self) -> float:
        """The longest that a window may become."""
        return max(self.duration_s, 3 * self.duration_s if self.max_duration_s is None else self.max_duration_s)

    @property
    def fewest(self) -> int:
        """Finished requests that a window must hold: no more than ``requests`` lets it."""
        return self.min_requests if self.requests is None else min(self.min_requests, self.requests)
