"""Vocabulary of generated prompts: short, common ASCII words, each a single token in most tokenizers, or token IDs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from autotuner.benchmarks.loadgen.tokens import counter, token_ids

WORDS: tuple[str, ...] = tuple(
    """
    time year people way day man thing woman life child world school state family student group country problem
    hand part place case week company system program question work government number night point home water room
    mother area money story fact month lot right study book eye job word business issue side kind head house
    service friend father power hour game line end member law car city community name president team minute idea
    body information back parent face level office door health person art war history party result change
    morning reason research girl guy moment air teacher force education foot boy age policy music market sense
    nation plan college interest death experience effect use class control field development role effort rate
    heart drug show leader light voice wife police mind price report decision son view relationship town road
    arm difference value building action season society tax director position player record paper space ground
    form event official matter center couple site project activity star table need court oil situation cost
    industry figure street image phone data picture practice piece land product doctor wall patient worker news
    test movie north love step
    """.split()  # noqa: SIM905 - a list of 200 quoted words is harder to read
)
_FEWEST_WORDS = 50
_IDS = range(1000, 21_000)
"""Token IDs that stand for text in every common vocabulary."""
_MOST_IDS = 20_000


@lru_cache(maxsize=2)
def exact_words(tokenizer_json: str) -> tuple[str, ...]:
    """Words that stay one token each in any text made of them; empty if there are too few."""
    count = counter(tokenizer_json)
    words = tuple(word for word in WORDS if count(word) == 1 and count(f"{word} {word}") == 2)
    if len(words) < _FEWEST_WORDS:
        return ()
    rng = Random(0)
    samples = (rng.choices(words, k=length) for length in (3, 20, 700, 700))
    return words if all(count(" ".join(sample)) == len(sample) for sample in samples) else ()


@dataclass(frozen=True)
class Units:
    """What prompts are made of."""

    texts: tuple[str, ...]
    separator: str
    kind: str
    """``token_ids``, ``exact_words`` or ``words``."""

    @classmethod
    def of(cls, tokenizer_json: str | None, *, ids: bool) -> "Units":
        """The most exact units that a spec allows.

        Args:
            tokenizer_json: Content of the model's tokenizer.json.
            ids: Whether prompts are sent as token IDs.
        """
        if ids:
            found: Sequence[int] = _IDS if tokenizer_json is None else token_ids(tokenizer_json)[:_MOST_IDS]
            return cls(tuple(map(str, found)), ",", "token_ids")
        words = exact_words(tokenizer_json) if tokenizer_json is not None else ()
        return cls(words, " ", "exact_words") if words else WORD_UNITS


WORD_UNITS = Units(WORDS, " ", "words")
