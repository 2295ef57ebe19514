"""Embeddings and rankings: every document is one prompt that is computed and generates nothing.

A real engine needs an embedding or reranking model for them (SGLang: ``--is-embedding``); the simulator answers with
any. The numbers in the answers mean nothing, only their times do.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from autotuner.simulator.http_server import Responder
from autotuner.simulator.openai_api import ApiRequest, BadRequestError, text_tokens
from autotuner.simulator.request import Request

PATHS = ("/v1/embeddings", "/v1/rerank")
_DIMENSIONS = 8


class PooledReply:
    """Parses such a request and answers it when all of its documents are computed.

    Args:
        path: One of :data:`PATHS`.
        body: The request's body.
        served: Name of the served model.
        sglang: Whether to answer as SGLang, which lists the scores of a ranking without anything around them.

    Raises:
        BadRequestError: The body is not JSON, or a parameter is invalid.
    """

    def __init__(self, path: str, body: bytes, served: str, *, sglang: bool) -> None:
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadRequestError(f"Invalid JSON: {error}") from None
        if not isinstance(data, dict):
            raise BadRequestError("the body must be a JSON object")
        self._ranks = path.endswith("/rerank")
        self._sglang = sglang
        self._served = served
        self.prompts = list(_ranked(data) if self._ranks else _embedded(data))
        self._left = len(self.prompts)
        self._tokens = 0

    def requests(self, responder: Responder, done: Callable[[Request], None]) -> list[Request]:
        """One request to the engine per document.

        Args:
            responder: Gets the answer.
            done: Called for each document when it is computed.
        """
        began = time.monotonic()

        def computed(request: Request) -> None:
            self._tokens += request.prompt_tokens
            self._left -= 1
            done(request)
            if not self._left:
                responder.send_json(self._answer())

        return [Request(prompt, 1, on_token=computed, arrived_s=began) for prompt in self.prompts]

    def checks(self) -> Iterator[ApiRequest]:
        """The documents in the form in which an engine checks their lengths."""
        for prompt in self.prompts:
            yield ApiRequest("text", "", prompt, 1, ignore_eos=True, stream=False, usage=False)

    def _answer(self) -> object:
        usage = {"prompt_tokens": self._tokens, "total_tokens": self._tokens}
        places = range(len(self.prompts))
        if not self._ranks:
            vector = [1 / _DIMENSIONS] * _DIMENSIONS
            data = [{"object": "embedding", "index": i, "embedding": vector} for i in places]
            return {"object": "list", "data": data, "model": self._served, "usage": usage}
        if self._sglang:
            return [{"score": 1 / (i + 1), "index": i, "meta_info": self._meta(i)} for i in places]
        results = [{"index": i, "relevance_score": 1 / (i + 1)} for i in places]
        return {"model": self._served, "results": results, "usage": usage}

    def _meta(self, place: int) -> dict[str, Any]:
        return {"prompt_tokens": Request(self.prompts[place], 1).prompt_tokens}


def _embedded(data: dict[str, Any]) -> Iterator[bytes]:
    given = data.get("input")
    tokens = isinstance(given, list) and all(isinstance(token, int) for token in given)
    texts = given if isinstance(given, list) and not tokens else [given]
    if not texts:
        raise BadRequestError("the input must not be empty", param="input")
    return (text_tokens(text, "input") for text in texts)


def _ranked(data: dict[str, Any]) -> Iterator[bytes]:
    query = data.get("query")
    documents = data.get("documents")
    if not isinstance(query, str):
        raise BadRequestError("the query must be a text", param="query")
    if not isinstance(documents, list) or not documents or not all(isinstance(d, str) for d in documents):
        raise BadRequestError("documents must be a list of texts", param="documents")
    return (text_tokens(f"{query} {document}", "documents") for document in documents)
