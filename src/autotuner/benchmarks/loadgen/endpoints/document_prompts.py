"""Requests for embeddings and rankings: documents of a given length, and for a ranking a query."""

from typing import Any

import orjson

from autotuner.benchmarks.loadgen.calibrate import words_for
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.whole_answer import WholeAnswer
from autotuner.benchmarks.loadgen.prompts import RequestFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Documents, WorkerSpec


def document_targets(documents: Documents) -> list[int]:
    """The length in tokens, special tokens included, at which the calibration should be exact: that of a document, or
    of a query with a document."""
    return [documents.tokens + (documents.query_tokens or 0)]


class DocumentFactory(RequestFactory):
    """Requests of one or more documents each, all different. Arguments as for :class:`RequestFactory`."""

    def __init__(self, spec: WorkerSpec, calibration: Calibration, host: str) -> None:
        if spec.documents is None:
            raise ValueError("the spec has no documents")
        super().__init__(spec, calibration, host)
        self._documents = spec.documents
        [target] = document_targets(spec.documents)
        self._words = self._split(words_for(calibration.points, target))
        self._tokens = target * spec.documents.count

    def skip(self) -> None:
        """See :meth:`RequestFactory.skip`."""
        self._make(-1, 1.0)

    def _make(self, index: int, output_share: float) -> Request:
        words, query_words = self._words
        documents = [self._text.make(words) for _ in range(self._documents.count)]
        query = self._text.make(query_words) if query_words else ""
        key = hash((query, *documents))
        reused = key in self._sent
        self._sent.add(key)
        body = orjson.dumps(self._document_body(documents, query))
        return self._counted(self._request(index, body, self._tokens, 0, reused=reused), len(documents))

    def probe(self, words: int, prefix_words: int) -> Request:
        """A request for one document, to measure the tokens of ``words`` words with its query."""
        body = orjson.dumps(self._document_body(*self._probed(words)))
        return self._counted(self._request(-1, body, 0, 0), 1)

    def text(self, words: int, prefix_words: int) -> str:
        """The texts of a probe, to be counted locally."""
        [document], query = self._probed(words)
        return f"{query} {document}".strip()

    def _probed(self, words: int) -> tuple[list[str], str]:
        document_words, query_words = self._split(words)
        query = self._probes.make(query_words) if query_words else ""
        return [self._probes.make(document_words)], query

    def _split(self, words: int) -> tuple[int, int]:
        """Words of a document and of a query that have ``words`` words together."""
        query = self._documents.query_tokens
        if query is None:
            return max(1, words), 0
        share = query / (query + self._documents.tokens)
        query_words = max(1, round(words * share))
        return max(1, words - query_words), query_words

    def _document_body(self, documents: list[str], query: str) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._spec.model}
        if self._documents.query_tokens is None:
            body["input"] = documents if len(documents) > 1 else documents[0]
        else:
            body |= {"query": query, "documents": documents}
        return body | dict(self._spec.extra_body)

    def _counted(self, request: Request, documents: int) -> Request:
        request.documents = documents
        limit = self._spec.extra_body.get("top_n")
        if isinstance(request, WholeAnswer):
            request.expected = min(documents, limit) if isinstance(limit, int) and limit > 0 else documents
        return request
