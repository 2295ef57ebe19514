"""Prompts that begin with one of several shared prefixes, some more popular than others.

Prefixes, like prompts, consist of the same words in different orders, so they all have the same number of tokens.
"""

from itertools import accumulate
from random import Random

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prompts import PROMPT, PromptText, RequestFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Prefixes, WorkerSpec

_PREFIX = "@prefix@"
_PRIMING_WORDS = 8


def popularity(prefixes: Prefixes) -> list[float]:
    """Cumulative weights of the prefixes, the most popular first."""
    return list(accumulate((rank + 1) ** -prefixes.zipf for rank in range(prefixes.count)))


class PrefixFactory(RequestFactory):
    """Requests with shared prefixes. Which prefix a request has follows from the seed alone; the texts of the prefixes
    are the same in all windows of a server. Arguments as for :class:`RequestFactory`."""

    def __init__(self, spec: WorkerSpec, calibration: Calibration, host: str) -> None:
        if spec.prefixes is None:
            raise ValueError("the spec has no shared prefixes")
        super().__init__(spec, calibration, host)
        self._words = calibration.prefix_words
        self._ranks = range(spec.prefixes.count)
        self._weights = popularity(spec.prefixes)
        self._choice = Random(f"{spec.seed}:prefixes")
        self._prefix_text = PromptText(Random(0), self.units)
        self._pieces: dict[int, tuple[bytes, bytes, bytes]] = {}
        self._rank = 0

    def __len__(self) -> int:
        """Number of prefixes."""
        return len(self._ranks)

    def skip(self) -> None:
        """See :meth:`RequestFactory.skip`."""
        self._choose()
        super().skip()

    def _make(self, index: int, output_share: float) -> Request:
        self._choose()
        request = super()._make(index, output_share)
        request.prefix = self._rank
        return request

    def _choose(self) -> None:
        self._rank = self.drawn(self._choice)

    def drawn(self, rng: Random) -> int:
        """The rank of a random prefix."""
        [rank] = rng.choices(self._ranks, cum_weights=self._weights)
        return rank

    def priming(self, rank: int) -> Request:
        """A request for a single token that brings a prefix into the server's cache."""
        body = self._serialized(self._body(1, None, self._probes.make(_PRIMING_WORDS), self.prefix(rank)))
        return self._request(-1, body, 0, 0)

    def prefix(self, rank: int) -> str:
        """The text of a prefix; 0 is the most popular one."""
        return self._prefix_text.make(self._words, Random(f"{self._spec.seed}:prefix:{self._spec.prefix_salt}:{rank}"))

    def _template(self, output: int) -> tuple[bytes, bytes]:
        pieces = self._pieces.get(output)
        if pieces is None:
            before, _, rest = self._text_template(self._body(output, None, PROMPT, _PREFIX)).partition(_PREFIX.encode())
            between, _, after = rest.partition(PROMPT.encode())
            pieces = self._pieces[output] = (before, between, after)
        before, between, after = pieces
        return before + self.prefix(self._rank).encode() + between, after
