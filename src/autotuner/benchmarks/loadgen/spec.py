"""Specification of a window for the worker process. Plain dataclasses, so that the worker starts quickly.

The spec is passed on stdin only, because its ``headers`` may contain credentials: never as an argument or environment
variable, and never in a log. ``repr`` omits the headers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.processes.lags import ClientLimits
from autotuner.capacity.twin.control import Control
from autotuner.capacity.twin.model import TwinModel
from autotuner.net.proxies import Proxy
from autotuner.net.target import DIRECT, Access

AUTO = 0
"""Number of workers that the load generator chooses by itself."""


@dataclass(frozen=True)
class Lengths:
    """Distribution of prompt or output lengths in tokens; see :class:`autotuner.study.workload.TokenLengths`."""

    kind: str
    a: int
    b: int = 0


@dataclass(frozen=True)
class Calibration:
    """Prompt tokens by number of words, measured by probes; reusable for the same model and API."""

    points: tuple[tuple[int, int], ...] = ()
    """(words, prompt tokens including the server's chat template), ascending."""
    prefix_words: int = 0
    """Words of the shared prefix."""


@dataclass(frozen=True)
class Prefixes:
    """How often each of several shared prefixes is used; see :class:`autotuner.study.workload.SharedPrefixes`."""

    count: int
    zipf: float = 1.0


@dataclass(frozen=True)
class Documents:
    """Texts of a request for embeddings or a ranking; see :class:`autotuner.study.workload.Documents`."""

    count: int
    tokens: int
    query_tokens: int | None = None


@dataclass(frozen=True)
class Images:
    """Images of a request; see :class:`autotuner.study.workload.Images`."""

    width: int
    height: int
    count: int = 1


@dataclass(frozen=True)
class Part:
    """One kind of request in a mix; fields as in :class:`WorkerSpec`."""

    weight: float
    model: str
    input: Lengths | None
    output: Lengths | None
    prefix_tokens: int = 0
    prefixes: Prefixes | None = None
    calibration: Calibration | None = None
    rows: tuple[Mapping[str, Any], ...] | None = None
    """Not divided among processes: each skips the rows of the others."""


@dataclass(frozen=True)
class Pauses:
    """Distribution of pauses in seconds; see :class:`autotuner.study.conversations.Pauses`."""

    kind: str
    a: float
    b: float = 0.0


@dataclass(frozen=True)
class Conversations:
    """Shape of conversations; see :class:`autotuner.study.conversations.Conversations`."""

    turns: Lengths | None
    """None: those of the spec's rows."""
    think: Pauses
    later: Lengths | None = None
    """Length of the user's text from the second turn on; None: as in the first turn."""


@dataclass(frozen=True)
class MetricsAsk:
    """Which of the server's Prometheus metrics are sampled during the window."""

    paths: tuple[str, ...]
    """Below the server's base URL; the first one that answers with a wanted name is sampled."""
    names: tuple[str, ...]
    """Sample names that are wanted, of whichever engine."""
    interval_s: float = 0.5
    timeout_s: float = 3.0
    """For one whole answer."""


@dataclass(frozen=True)
class Replay:
    """Requests of a trace, in order of arrival."""

    at_s: tuple[float, ...]
    """Arrival times in seconds from the window's opening; those of the warm-up are negative."""
    inputs: tuple[int, ...]
    """Prompt tokens."""
    outputs: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...] = ()
    """Ids of the blocks that each prompt begins with; empty if the trace has none."""
    block_tokens: int = 512
    texts: tuple[Mapping[str, Any] | None, ...] = ()
    """``prompt`` or ``messages`` of the requests that have their own; empty if none has."""
    token_ids: bool = False
    """Send prompts as token IDs (completions only)."""


@dataclass(frozen=True)
class LevelSpec:
    """What a level is tested for, and when the window of that level ends; see :mod:`autotuner.capacity.level`."""

    metrics: tuple[str, ...]
    """Metric of each bound: ``ttft``, ``tpot``, ``e2e_latency`` or ``success_rate``."""
    limits: tuple[float, ...]
    """In seconds; of ``success_rate``, not used."""
    allowed: tuple[float | None, ...]
    """Share of requests that may exceed the limit; None for a mean."""
    certify: float
    """Largest chance that a level outside of the bounds is certified."""
    refute: float
    dispersions: tuple[float, ...]
    requests: int
    """Requests at most."""
    likely: float | None
    near: bool
    checkpoint: int
    replayed: int | None = None
    """Requests of the replay that the level consists of; None for a load without an end."""
    controls: tuple[Control | None, ...] = ()
    """Predictions of each bound's misses; None for a bound that is tested without."""


@dataclass(frozen=True)
class Share:
    """What one of several processes sends of a load: requests ``index``, ``index + of``, ``index + 2 of``, ..."""

    index: int = 0
    of: int = 1

    def index_of(self, number: int) -> int:
        """Index of this process's request ``number`` among all requests."""
        return self.index + number * self.of


@dataclass(frozen=True)
class WorkerSpec:
    """One window. Times in seconds. Exactly one of ``concurrency``, ``rate`` and ``users`` is set."""

    url: str
    model: str
    api: str = "chat"
    """``chat``, ``completions``, ``embeddings`` or ``rerank``."""
    stream: bool = True
    """False: answers arrive in one piece, as those for embeddings and rankings always do."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    access: Access = DIRECT
    concurrency: int | None = None
    rate: float | None = None
    users: int | None = None
    """Users who hold one conversation after the other."""
    conversations: Conversations | None = None
    """What ``users`` send; lengths are those of ``input`` and ``output``, or turns those of ``rows``."""
    arrivals: str = "poisson"
    burstiness: float = 1.0
    stages: tuple[tuple[float, float, float], ...] = ()
    """Rate at the start and at the end, and length, of each part of a window with a changing rate. ``rate`` is then the
    mean rate in the window, which is neither extended nor cut."""
    warmup_s: float = 2.0
    duration_s: float = 30.0
    max_duration_s: float = 0.0
    """Longest window, if it is not steady or has too few requests; below ``duration_s``, it is not extended."""
    fewest_requests: int = 0
    """Finished requests below which the window is extended."""
    wanted_requests: int = 0
    """Finished requests that the requested percentiles need; awaited only if the longest window can reach them."""
    requests: int | None = None
    """Finished requests after which the window ends early."""
    request_timeout_s: float = 120.0
    drain_s: float = 30.0
    """How long a request may outlast the window without data before it counts as timed out."""
    seed: int = 0
    salt: str = ""
    """Distinguishes the prompts of this window from those of other windows and runs; lengths and arrivals do not depend
    on it."""
    prefix_salt: str = ""
    """Distinguishes the shared prefix from those of other runs; the same for all windows of a server."""
    row_order: str = ""
    """Seed of the order in which a dataset's rows are repeated once all have been sent."""
    prefix_tokens: int = 0
    """Length of the prefix that all prompts share, or of each of ``prefixes``."""
    prefixes: Prefixes | None = None
    """Several prefixes, of which each prompt has one."""
    input: Lengths | None = None
    output: Lengths | None = None
    documents: Documents | None = None
    """What is embedded or ranked, instead of ``input`` and ``output``."""
    images: Images | None = None
    """Images beside the text of ``input`` tokens."""
    parts: tuple[Part, ...] = ()
    """Kinds of requests in a mix, instead of ``input`` and ``output``."""
    rows: tuple[Mapping[str, Any], ...] | None = None
    """Rows of a dataset in sending order, instead of ``input`` and ``output``. ``reused`` marks a row whose prompt this
    server has already received. Of a conversation, a row has ``turns``, each with its ``messages``."""
    replay: Replay | None = None
    """Requests of a trace, instead of ``input`` and ``output``; ``rate`` is then the mean rate in the window, which is
    neither extended nor cut."""
    token_ids: bool = False
    """Send generated prompts as token IDs (completions only)."""
    ignore_eos: bool = True
    max_tokens_field: str = "max_tokens"
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_json: str | None = field(default=None, repr=False)
    """The text of a tokenizer.json."""
    calibration: Calibration | None = None
    server_metrics: MetricsAsk | None = None
    level: LevelSpec | None = None
    """The window ends when these bounds are decided; ``duration_s`` and ``requests`` do not apply then, and
    ``max_duration_s`` is the longest that it may take."""
    client_limits: ClientLimits = field(default_factory=ClientLimits)
    """When the load generator itself counts as the bottleneck; a window that only lags spoil is extended."""
    workers: int = 1
    """Processes that send the load; :data:`AUTO` for as many as it needs and the machine has cores for."""
    share: Share = Share()
    """What this process sends of the load. ``concurrency``, ``rate`` and ``users`` are those of the whole load, while
    ``rows`` and ``replay`` hold only this process's requests."""

    @property
    def slots(self) -> int | None:
        """Most requests in flight of a closed loop; None for an open one."""
        return self.users if self.concurrency is None else self.concurrency

    def to_json(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, text: bytes) -> "WorkerSpec":
        """Parses the output of :meth:`to_json`. Raises ``ValueError``, which never quotes the input."""
        try:
            raw = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise ValueError("the spec on stdin is not JSON") from None
        known = {f.name for f in fields(cls)}
        if not isinstance(raw, dict) or not {"url", "model"} <= raw.keys() <= known:
            raise ValueError("the spec on stdin has missing or unknown keys")
        if raw.get("replay"):
            raw["replay"] = Replay(**{name: _tupled(value) for name, value in raw["replay"].items()})
        raw |= _prompt_fields(raw)
        raw["images"] = Images(**raw["images"]) if raw.get("images") else None
        raw["documents"] = Documents(**raw["documents"]) if raw.get("documents") else None
        if raw.get("access"):
            raw["access"] = access_from(raw["access"])
        if raw.get("server_metrics"):
            raw["server_metrics"] = MetricsAsk(**raw["server_metrics"])
        raw["stages"] = _tupled(raw.get("stages") or [])
        if raw.get("level"):
            level = dict(raw["level"])
            for name in ("metrics", "limits", "allowed", "dispersions"):
                level[name] = tuple(level[name])
            level["controls"] = tuple(map(_control, level["controls"]))
            raw["level"] = LevelSpec(**level)
        if raw.get("client_limits"):
            raw["client_limits"] = ClientLimits(**raw["client_limits"])
        if raw.get("share"):
            raw["share"] = Share(**raw["share"])
        if raw.get("conversations"):
            found = raw["conversations"]
            raw["conversations"] = Conversations(
                turns=Lengths(**found["turns"]) if found["turns"] else None,
                think=Pauses(**found["think"]),
                later=Lengths(**found["later"]) if found["later"] else None,
            )
        spec = cls(**raw)
        if [spec.concurrency, spec.rate, spec.users].count(None) != 2:
            raise ValueError("the spec on stdin must have exactly one of concurrency, rate and users")
        return spec


def calibration_from(raw: Mapping[str, Any]) -> Calibration:
    """The inverse of what JSON makes of a :class:`Calibration`."""
    return Calibration(tuple((words, tokens) for words, tokens in raw["points"]), raw["prefix_words"])


def _prompt_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that describe prompts, of a spec or of a part of a mix."""
    found: dict[str, Any] = {name: Lengths(**raw[name]) if raw.get(name) else None for name in ("input", "output")}
    found["prefixes"] = Prefixes(**raw["prefixes"]) if raw.get("prefixes") else None
    found["calibration"] = calibration_from(raw["calibration"]) if raw.get("calibration") else None
    if "parts" in raw:
        found["parts"] = tuple(Part(**{**part, **_prompt_fields(part)}) for part in raw["parts"])
    return found


def access_from(raw: Mapping[str, Any]) -> Access:
    """The inverse of what JSON makes of an :class:`Access`."""
    proxy = raw.get("proxy")
    return Access(**{**raw, "proxy": Proxy(**proxy) if proxy else None})


def _control(raw: Mapping[str, Any] | None) -> Control | None:
    return None if raw is None else Control(**{**raw, "model": TwinModel(**raw["model"])})


def _tupled(value: Any) -> Any:
    """Lists as the tuples that they were."""
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
