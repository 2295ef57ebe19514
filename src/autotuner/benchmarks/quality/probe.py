"""Greedy answers of a running server, with the log-probabilities of its most likely tokens.

Servers differ in what they return. vLLM and SGLang have the older form of OpenAI's ``logprobs`` on ``/v1/completions``
(vLLM at most 20, OpenAI at most 5), llama.cpp has the form of its chat endpoint there, and earlier versions only their
own ``/completion``. The first request that the default's server understands is used for all servers of a study.

Requests ask for prompts to be computed anew, because the control would otherwise read them from the prefix cache of the
same server, and show less noise than a candidate has: ``cache_salt`` (vLLM, SGLang) with a new value each, and
``cache_prompt: false`` (llama.cpp). Other servers ignore these fields; those that refuse them are asked without.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from uuid import uuid4

import anyio
import httpx

from autotuner.benchmarks.quality.responses import text_of, tokens_of
from autotuner.net.client import target_client
from autotuner.net.faults import Answer, answer_fault, exception_fault, without_secrets
from autotuner.net.target import Target, credentials_in
from autotuner.study.quality.answers import Answers, Reference, Token, digest_of_prompts

_KEPT_BYTES = 64 * 1024
_REFUSALS = frozenset({400, 401, 403, 404, 405, 415, 422, 501})
"""Statuses of a request that the server will never answer. Others may pass."""
_TRIES = 3


@dataclass(frozen=True)
class Method:
    """A way to ask for an answer with log-probabilities."""

    path: str
    fields: Mapping[str, Any]
    length: str = "max_tokens"
    probabilities: bool = True
    """Whether the response must have log-probabilities."""
    fresh: bool = False
    """Whether the server is asked not to read prompts from its prefix cache."""

    @property
    def text(self) -> str:
        """``/v1/completions logprobs=20``."""
        fresh = ("cache_prompt=False", "cache_salt=random") if self.fresh else ()
        return " ".join([self.path, *(f"{name}={value}" for name, value in self.fields.items()), *fresh])

    def body(self) -> dict[str, Any]:
        """The fields of one request that depend on the form of requests alone."""
        fresh = {"cache_prompt": False, "cache_salt": uuid4().hex} if self.fresh else {}
        return {**self.fields, **fresh}

    @property
    def of_texts(self) -> "Method":
        """The same request without log-probabilities."""
        fields = {name: value for name, value in self.fields.items() if name not in ("logprobs", "n_probs")}
        return replace(self, fields=fields, probabilities=False)


@dataclass(frozen=True)
class _Asked:
    """The outcome of one request."""

    tokens: tuple[Token, ...] = ()
    text: str = ""
    problem: str = ""
    """Why there are no tokens."""
    refused: bool = False
    """Whether the server will never answer this request."""


_OPENAI = "/v1/completions"
_FORMS = (
    Method(_OPENAI, {"logprobs": 20, "ignore_eos": True}),
    Method(_OPENAI, {"logprobs": 5, "ignore_eos": True}),
    Method("/completion", {"n_probs": 20, "ignore_eos": True}, length="n_predict"),
    Method(_OPENAI, {"logprobs": 5}),
    Method(_OPENAI, {}, probabilities=False),
)
METHODS = tuple(method for form in _FORMS for method in (replace(form, fresh=True), form))
"""In the order in which they are tried. The last ones only compare texts."""


class Probe:
    """Asks one server for its answers.

    Args:
        target: Where requests are sent.
        model: Name of the model in requests.
        prompts: What is asked.
        tokens: Length of each answer.
        in_flight: Requests that are sent at the same time.
        limit_s: Time limit of asking all prompts once, in seconds.
        pause_s: Time after which a busy server is asked again, in seconds.
    """

    def __init__(
        self,
        target: Target,
        model: str,
        prompts: Sequence[str],
        *,
        tokens: int,
        in_flight: int,
        limit_s: float,
        pause_s: float = 1.0,
    ) -> None:
        self._target = target
        self._model = model
        self._prompts = tuple(prompts)
        self._digest = digest_of_prompts(prompts)
        self._tokens = tokens
        self._in_flight = in_flight
        self._limit_s = limit_s
        self._pause_s = pause_s

    async def reference(self) -> Reference:
        """The answers that others are compared with, and those of the controls."""
        method, problem = await self._understood()
        if method is None:
            nothing = Answers(method="", problem=problem, prompts=self._digest)
            return Reference(full=nothing, controls=(Answers(method=""),), prompts=self._prompts)
        order = list(range(len(self._prompts)))
        shuffled = Random(0).sample(order, len(order))
        full = await self.answers(method)
        alone = await self._asked(method, order, in_flight=1)
        again = await self._asked(method, shuffled, self._in_flight)
        return Reference(full=full, controls=(alone, again), prompts=self._prompts)

    async def answers(self, method: Method) -> Answers:
        """The answers to all prompts, many in flight."""
        return await self._asked(method, range(len(self._prompts)), self._in_flight)

    async def _understood(self) -> tuple[Method | None, str]:
        """The first request that the server understands; otherwise the reason why it does not."""
        problem = ""
        with anyio.move_on_after(self._limit_s):
            async with target_client(self._target, timeout_s=self._limit_s) as client:
                for method in METHODS:
                    found = await self._patiently(client, method)
                    problem = found.problem
                    if found.tokens and (not method.probabilities or found.tokens[0].top):
                        return method, ""
                    if not found.tokens and not found.refused:
                        # It is not the form of the request, and the others would compare less than this one.
                        return None, problem
        return None, problem or f"no answer within {self._limit_s:g} s"

    async def _patiently(self, client: httpx.AsyncClient, method: Method) -> _Asked:
        """One answer, asked again while the server is only busy."""
        for _ in range(_TRIES - 1):
            found = await self._answer(client, method, self._prompts[0])
            if found.tokens or found.refused:
                return found
            await anyio.sleep(self._pause_s)
        return await self._answer(client, method, self._prompts[0])

    async def _asked(self, method: Method, order: Sequence[int], in_flight: int) -> Answers:
        began = time.monotonic()
        found: dict[int, _Asked] = {}
        missing: list[_Asked] = []
        left = list(reversed(order))

        async def work(client: httpx.AsyncClient) -> None:
            while left:
                number = left.pop()
                asked = await self._answer(client, method, self._prompts[number])
                if asked.tokens:
                    found[number] = asked
                else:
                    missing.append(asked)

        with anyio.move_on_after(self._limit_s) as limit:
            async with (
                target_client(self._target, timeout_s=self._limit_s) as client,
                anyio.create_task_group() as group,
            ):
                for _ in range(in_flight):
                    group.start_soon(work, client)
        return Answers(
            method=method.text,
            prompts=self._digest,
            answers=tuple(found[n].tokens if n in found else None for n in range(len(self._prompts))),
            texts=tuple(found[n].text if n in found else "" for n in range(len(self._prompts))),
            seconds=time.monotonic() - began,
            late=limit.cancelled_caught,
            problem=missing[0].problem if missing else "",
            refused=any(one.refused for one in missing),
        )

    async def _answer(self, client: httpx.AsyncClient, method: Method, prompt: str) -> _Asked:
        """Asks for one answer. The result has no tokens if the response is unusable."""
        body = {
            "model": self._model,
            "prompt": prompt,
            "temperature": 0,
            "stream": False,
            method.length: self._tokens,
            **method.body(),
        }
        try:
            response = await client.post(self._target.url(method.path), json=body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return _Asked(problem=self._safe(exception_fault(error).message))
        refused = response.status_code != httpx.codes.OK
        kept = response.content[:_KEPT_BYTES] if refused else response.content
        if fault := answer_fault(Answer(status=response.status_code, headers={}, body=kept)):
            return _Asked(problem=self._safe(fault.message), refused=response.status_code in _REFUSALS)
        data = response.json()
        tokens = tokens_of(data)
        return _Asked(tokens, text_of(data), "" if tokens else "the response has no text", refused=not tokens)

    def _safe(self, text: str) -> str:
        """The text without credentials that the server may have echoed."""
        return without_secrets(text, credentials_in(self._target.headers, self._target.access))
