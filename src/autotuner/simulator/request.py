"""One request inside the engine, and the text of its tokens: one word per token, from a small vocabulary."""

import zlib
from array import array
from collections.abc import Callable, Iterable

from autotuner.simulator.prefix_cache import TOKEN, Node

_TEXT = (
    "the a one this that each some every small large quick slow early late warm cold river mountain garden window "
    "table letter answer question number pattern measure signal system model server engine token batch cache memory "
    "page request moment second minute result reason choice value limit order table music winter summer light shadow "
    "stone paper water under over before after between around near with from into about and or but so then again "
    "always often seldom never here there where while until since because is was will can may must moves grows holds "
    "turns opens keeps brings finds gives takes makes shows reads writes counts waits returns begins ends"
)
WORDS = tuple(dict.fromkeys(_TEXT.split()))


def token_ids(words: Iterable[str]) -> bytes:
    """Token ids of words, four bytes each; the same in every process."""
    return array("I", [zlib.crc32(w.encode()) for w in words]).tobytes()


_WORD_IDS = tuple(token_ids([w]) for w in WORDS)


class Request:
    """A prompt, its output so far, and how much of both is in the KV cache."""

    __slots__ = (
        "arrived_s",
        "cached",
        "first_s",
        "generated",
        "ignore_eos",
        "kv",
        "max_new",
        "node",
        "on_token",
        "private",
        "prompt",
        "prompt_tokens",
        "retractions",
        "seed",
        "shared",
    )

    def __init__(
        self,
        prompt: bytes,
        max_new: int,
        *,
        ignore_eos: bool = False,
        on_token: Callable[["Request"], None] = lambda _: None,
        arrived_s: float = 0.0,
    ) -> None:
        self.prompt = prompt
        self.prompt_tokens = len(prompt) // TOKEN
        self.max_new = max_new
        self.ignore_eos = ignore_eos
        self.on_token = on_token
        self.arrived_s = arrived_s
        self.first_s: float | None = None
        self.seed = zlib.crc32(prompt)
        self.generated = 0
        self.kv = 0
        """Tokens with computed keys and values."""
        self.shared = 0
        """Tokens that it holds in the prefix cache; ``private`` counts the others."""
        self.private = 0
        self.node: Node | None = None
        self.cached = 0
        """Prompt tokens that came from the prefix cache."""
        self.retractions = 0

    @property
    def length(self) -> int:
        """Prompt and generated tokens."""
        return self.prompt_tokens + self.generated

    @property
    def holds(self) -> bool:
        """Whether it occupies KV cache."""
        return self.private > 0 or self.node is not None

    @property
    def left(self) -> int:
        """Tokens left to generate."""
        return self.max_new - self.generated

    def word(self, index: int) -> int:
        """Index in ``WORDS`` of output token ``index``."""
        return (self.seed + index * 31 + (index * index >> 3)) % len(WORDS)

    def tokens(self) -> bytes:
        """Prompt and generated tokens."""
        if not self.generated:
            return self.prompt
        return self.prompt + b"".join(_WORD_IDS[self.word(i)] for i in range(self.generated))

    def computed(self) -> bytes:
        """The tokens in the KV cache."""
        return self.tokens()[: self.kv * TOKEN]

    def reusable(self) -> bytes:
        """All tokens but the last, which has to be computed to get the next one."""
        return self.tokens()[:-TOKEN]
