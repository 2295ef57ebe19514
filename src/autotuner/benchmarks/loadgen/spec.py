"""What the worker is told, and what it tells back: plain data, so that the worker starts quickly.

The spec travels on stdin only, because it may carry credentials in ``headers``; it is never an argument, an
environment variable or a log line. ``repr`` leaves the headers out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from autotuner.net.proxies import Proxy
from autotuner.net.target import DIRECT, Access


@dataclass(frozen=True)
class Lengths:
    """How long prompts or answers are, in tokens; see :class:`autotuner.study.workload.TokenLengths`."""

    kind: str
    a: int
    b: int = 0


@dataclass(frozen=True)
class Calibration:
    """How many words make how many prompt tokens, as found by probing; may be reused for the same model and API."""

    points: tuple[tuple[int, int], ...] = ()
    """(words, prompt tokens with everything that the server adds), growing."""
    prefix_words: int = 0


@dataclass(frozen=True)
class WorkerSpec:
    """One window. Times in seconds. Exactly one of ``concurrency`` and ``rate`` is set."""

    url: str
    model: str
    api: str = "chat"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    access: Access = DIRECT
    concurrency: int | None = None
    rate: float | None = None
    arrivals: str = "poisson"
    burstiness: float = 1.0
    warmup_s: float = 2.0
    duration_s: float = 30.0
    max_duration_s: float = 0.0
    """How long a window may become that is not steady or holds too few requests; below ``duration_s``: no longer."""
    fewest_requests: int = 0
    """Finished requests without which the window goes on."""
    wanted_requests: int = 0
    """Finished requests that the percentiles asked for need; waited for only where they can be reached."""
    requests: int | None = None
    request_timeout_s: float = 120.0
    drain_s: float = 30.0
    """How long a request without any sign of life may outlive the window before it counts as timed out."""
    seed: int = 0
    salt: str = ""
    """Makes the prompts of one window differ from another's, on this server or in another run; lengths and arrivals
    stay."""
    prefix_salt: str = ""
    """The same for the shared prefix, which all windows of one server's life have in common."""
    row_order: str = ""
    """Seeds the order of a dataset's rows."""
    rows_used: int = 0
    """Rows that earlier windows have sent to this server: the next ones follow."""
    prefix_tokens: int = 0
    input: Lengths | None = None
    output: Lengths | None = None
    rows: tuple[Mapping[str, Any], ...] | None = None
    """Rows of a dataset, in place of ``input`` and ``output``."""
    ignore_eos: bool = True
    max_tokens_field: str = "max_tokens"
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_json: str | None = field(default=None, repr=False)
    """The text of a tokenizer.json."""
    calibration: Calibration | None = None

    def to_json(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, text: bytes) -> "WorkerSpec":
        """The inverse of :meth:`to_json`. Raises ``ValueError`` on anything else, without repeating its content."""
        try:
            raw = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise ValueError("the spec on stdin is not JSON") from None
        known = {f.name for f in fields(cls)}
        if not isinstance(raw, dict) or not {"url", "model"} <= raw.keys() <= known:
            raise ValueError("the spec on stdin has missing or unknown keys")
        for name in ("input", "output"):
            raw[name] = Lengths(**raw[name]) if raw.get(name) else None
        if raw.get("access"):
            proxy = raw["access"].pop("proxy", None)
            raw["access"] = Access(**raw["access"], proxy=Proxy(**proxy) if proxy else None)
        found = raw.get("calibration")
        if found:
            raw["calibration"] = Calibration(tuple((w, t) for w, t in found["points"]), found["prefix_words"])
        spec = cls(**raw)
        if (spec.concurrency is None) == (spec.rate is None):
            raise ValueError("the spec needs either a concurrency or a rate")
        return spec
