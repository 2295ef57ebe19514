"""Warnings about tuned values that make no difference under the study's load.

An engine declares what limits the effect of a flag (:attr:`Engine.load_limits`); the workload determines how far it can
reach. An arrival rate limits nothing, because requests can pile up, and prompt lengths of a dataset are not known here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autotuner.errors import Problem
from autotuner.plugins.engine import Engine, LoadLimit
from autotuner.study.base import Value, value_text
from autotuner.study.parameters.parameter import Choices, IntRange, Parameter
from autotuner.study.workload import Concurrency, TokenLengths, Workload

_SPREAD = 4
"""Standard deviations that a normally distributed length is assumed to reach."""
_TEMPLATE_TOKENS = 64
"""Tokens that a chat template may add to a prompt."""
_TOKENS_PER_TOKEN = 1.5
"""Safety factor on prompt lengths, which are estimates without the model's tokenizer."""


@dataclass(frozen=True)
class Load:
    """Largest load of a workload; None where it is not limited."""

    in_flight: int | None
    prompt_tokens: int | None
    request_tokens: int | None
    """Prompt and answer together."""
    shares_prefixes: bool

    @classmethod
    def of(cls, workload: Workload) -> "Load":
        """The highest load level and the longest requests of a workload."""
        closed = [level.in_flight for level in workload.levels if isinstance(level, Concurrency)]
        in_flight = max(closed) if closed and len(closed) == len(workload.levels) else None
        parts = [part for scenario in workload.scenarios for part in scenario.parts]
        if any(part.documents and part.documents.count > 1 for part in parts):
            in_flight = None  # a server may compute the documents of a request side by side
        lengths = [(None if part.images else part.input, part.output) for part in parts]
        prompts = [_longest(prompt) for prompt, _ in lengths if prompt is not None]
        answers = [_longest(answer) for _, answer in lengths if answer is not None]
        grow = any(part.conversations for part in parts)  # with every turn
        known = not grow and len(prompts) == len(answers) == len(lengths)
        prompt = math.ceil(max(prompts) * _TOKENS_PER_TOKEN) + _TEMPLATE_TOKENS if known else None
        if prompt is not None:
            prompt += max([workload.prefix_tokens, *(part.prefixes.tokens for part in parts if part.prefixes)])
        return cls(
            in_flight=in_flight,
            prompt_tokens=prompt,
            request_tokens=None if prompt is None else prompt + max(answers),
            shares_prefixes=workload.prefix_tokens > 0
            or any(part.prefixes or part.conversations for part in parts)
            or not known,
        )


def _longest(length: TokenLengths) -> int:
    if length.kind == "normal":
        return length.a + _SPREAD * length.b
    return length.b if length.kind == "uniform" else length.a


@dataclass(frozen=True)
class Bound:
    """From ``value`` on, all values of a flag have the same effect; None: all values do."""

    value: int | None
    where: str
    remedy: str


def bound_of(limit: LoadLimit, load: Load) -> Bound | None:
    """The bound that a load puts on a flag; None if it puts none."""
    n = load.in_flight
    prompt = load.prompt_tokens
    request = load.request_tokens
    if limit is LoadLimit.PREFIXES:
        remedy = "give the workload prefix_tokens, a scenario prefixes, or use a dataset whose prompts share beginnings"
        return None if load.shares_prefixes else Bound(None, "without prompts that share a beginning", remedy)
    if limit is LoadLimit.QUEUE:
        return Bound(None, "at concurrency 1: nothing waits", "raise workload.concurrency") if n == 1 else None
    if limit is LoadLimit.REQUEST_TOKENS:
        where = f"with requests of at most {request} tokens"
        return None if request is None else Bound(request, where, "keep one of them")
    if n is None:
        return None
    if limit is LoadLimit.REQUESTS:
        return Bound(n, f"at concurrency {n}", "keep one of them, or raise workload.concurrency")
    if prompt is None:
        return None
    where = f"with prompts of at most {prompt} tokens at concurrency {n}"
    return Bound((prompt + 1) * n, where, "keep one of them, or raise the load")


def idle_values(engine: Engine, parameters: Sequence[Parameter], workload: Workload) -> Iterator[Problem]:
    """One warning for each parameter with values that have the same effect."""
    load = Load.of(workload)
    for parameter in parameters:
        limit = engine.load_limits.get(parameter.name)
        bound = bound_of(limit, load) if limit is not None else None
        same = _same(parameter, bound) if bound is not None else ""
        if bound is not None and same:
            why = f"{parameter.name} {same} cannot differ {bound.where}"
            yield Problem(where=f"parameters.{parameter.name}", why=why, remedy=bound.remedy)


def single_values(engine: Engine, parameters: Sequence[Parameter]) -> Iterator[Problem]:
    """Warnings about flags with several arguments for which single values are listed: each is tried alone."""
    for parameter in parameters:
        entry = engine.catalog.get(parameter.name)
        domain = parameter.domain
        if entry is None or entry.several != "arguments" or not isinstance(domain, Choices):
            continue
        singles = [v for v in domain.values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(singles) > 1:
            why = f"{parameter.name} takes several values, and each of {', '.join(map(str, singles))} is tried alone"
            remedy = f"write [[{', '.join(map(str, singles))}]] to try them as one list"
            yield Problem(where=f"parameters.{parameter.name}", why=why, remedy=remedy)


def _same(parameter: Parameter, bound: Bound) -> str:
    """The values with the same effect, as text; empty if there are fewer than two."""
    domain = parameter.domain
    if isinstance(domain, IntRange):
        least = max(domain.low, bound.value or domain.low)
        return f"{least} to {domain.high}" if least < domain.high else ""
    if not isinstance(domain, Choices):
        return ""
    values = [v for v in domain.values if v is not None and reaches(v, bound)]
    texts = [value_text(v) for v in values]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else ""


def reaches(value: Value, bound: Bound) -> bool:
    """Whether a value is at or above the bound. A negative size means no limit, so it never is."""
    if bound.value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value >= bound.value
