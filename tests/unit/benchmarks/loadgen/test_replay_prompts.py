"""Prompts of a trace share exactly what they share in the trace, in words, tokens or token IDs."""

from random import Random

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.loadgen.prompt_words import WORDS, Units, exact_words
from autotuner.benchmarks.loadgen.replay_prompts import Blocks, ReplayFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Replay, WorkerSpec
from autotuner.benchmarks.measuring.traces.trace_part import hit_rate
from autotuner.benchmarks.measuring.traces.traces import Trace
from autotuner.simulator.prefix_cache import PrefixCache

ONE_TO_ONE = Calibration(((0, 0), (1, 1)))


def tokenizer_json(words: tuple[str, ...] = WORDS) -> str:
    tokenizer = Tokenizer(WordLevel({"?": 0, **{word: n for n, word in enumerate(words, 1)}}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer.to_str()


def conversations(count: int) -> list[tuple[int, list[int]]]:
    """(tokens, blocks) of prompts that begin like earlier ones."""
    rng = Random(3)
    made: list[tuple[int, list[int]]] = []
    block = 1
    for _ in range(count):
        begin = rng.choice(made)[1][:-1] if made and rng.random() < 0.6 else [0] * (rng.random() < 0.5)
        new = rng.randint(1, 4)
        ids = [*begin, *range(block, block + new)]
        block += new
        made.append((512 * (len(ids) - 1) + rng.randint(1, 512), ids))
    return made


def spec(prompts: list[tuple[int, list[int]]], **more: object) -> WorkerSpec:
    replay = {name: more.pop(name) for name in ("token_ids", "texts", "block_tokens") if name in more}
    count = len(prompts)
    made = Replay(
        at_s=tuple(float(n) for n in range(count)),
        inputs=tuple(tokens for tokens, _ in prompts),
        outputs=(7,) * count,
        blocks=tuple(tuple(ids) for _, ids in prompts),
        **replay,  # type: ignore[arg-type]
    )
    fields: dict[str, object] = {"url": "http://h:1", "model": "m", "rate": 1.0, "replay": made}
    return WorkerSpec(**{**fields, **more})  # type: ignore[arg-type]


def bodies(made: WorkerSpec, calibration: Calibration = ONE_TO_ONE) -> list[dict[str, object]]:
    factory = ReplayFactory(made, calibration, "h:1")
    payloads = [factory.next().payload for _ in range(len(factory))]
    return [orjson.loads(payload.partition(b"\r\n\r\n")[2]) for payload in payloads]


def contents(made: WorkerSpec, calibration: Calibration = ONE_TO_ONE) -> list[str]:
    return [str(body["messages"][0]["content"]) for body in bodies(made, calibration)]  # type: ignore[index]


def radix_hit_rate(prompts: list[list[int]]) -> float:
    """Of an unlimited radix cache, token by token."""
    cache = PrefixCache()
    hits = 0
    for prompt in prompts:
        tokens = np.array(prompt, dtype=np.uint32).tobytes()
        hits += cache.match(tokens)[1]
        cache.insert(tokens)
    return hits / sum(map(len, prompts))


def own_hit_rate(prompts: list[tuple[int, list[int]]]) -> float:
    count = len(prompts)
    trace = Trace(
        format="Mooncake",
        at_s=np.arange(count, dtype=float),
        inputs=np.array([tokens for tokens, _ in prompts]),
        outputs=np.ones(count, dtype=np.int64),
        blocks=[tuple(ids) for _, ids in prompts],
        sessions=np.full(count, -1),
        texts={},
    )
    return hit_rate(trace, range(count))


@pytest.mark.parametrize("form", ["words", "tokenizer", "token_ids"])
def test_hit_rate_of_a_radix_cache_is_that_of_the_trace(form: str) -> None:
    prompts = conversations(150)
    if form == "token_ids":
        found = bodies(spec(prompts, api="completions", token_ids=True), Calibration())
        tokens: list[list[int]] = [list(body["prompt"]) for body in found]  # type: ignore[call-overload]
    else:
        given_tokenizer = tokenizer_json() if form == "tokenizer" else None
        texts = contents(spec(prompts, tokenizer_json=given_tokenizer))
        tokenizer = Tokenizer.from_str(tokenizer_json())
        tokens = [tokenizer.encode(text).ids for text in texts]
    assert [len(prompt) for prompt in tokens] == [length for length, _ in prompts]
    own = own_hit_rate(prompts)
    assert own > 0.3
    assert radix_hit_rate(tokens) == pytest.approx(own, abs=0.001)


@given(st.lists(st.tuples(st.integers(1, 90), st.lists(st.integers(0, 3), max_size=4)), min_size=2, max_size=5))
def test_equal_blocks_at_equal_places_give_equal_text_and_others_differ_at_once(
    drawn: list[tuple[int, list[int]]],
) -> None:
    prompts = [(tokens, ids[: -(-tokens // 16)]) for tokens, ids in drawn]
    texts = [text.split() for text in contents(spec(prompts, block_tokens=16))]
    for (tokens, ids), text in zip(prompts, texts, strict=True):
        assert len(text) == tokens
        for (other_tokens, other_ids), other in zip(prompts, texts, strict=True):
            same = 0
            while same < min(len(ids), len(other_ids)) and ids[same] == other_ids[same]:
                same += 1
            shared = min(16 * same, tokens, other_tokens)
            assert text[:shared] == other[:shared]


def test_words_that_a_tokenizer_splits_are_not_used() -> None:
    half = WORDS[::2]
    assert set(exact_words(tokenizer_json(half))) <= set(WORDS)
    assert Units.of(None, ids=False).kind == "words"
    assert Units.of(tokenizer_json(), ids=False).kind == "exact_words"
    ids = Units.of(tokenizer_json(), ids=True)
    assert set(map(int, ids.texts)) <= set(range(len(WORDS) + 1))


def test_template_of_the_server_is_part_of_the_length() -> None:
    (text,) = contents(spec([(100, [])], tokenizer_json=tokenizer_json()), Calibration(((0, 11), (1, 12))))
    assert len(text.split()) == 89


def test_lengths_are_converted_where_words_are_not_tokens() -> None:
    (text,) = contents(spec([(1010, [1, 2])]), Calibration(((8, 26), (400, 810))))  # 2 tokens a word, 10 of a template
    assert len(text.split()) == 500


def test_windows_share_no_block() -> None:
    prompts = conversations(20)
    one, two, again = (set(contents(spec(prompts, salt=salt))) for salt in ("a", "b", "a"))
    assert one == again
    assert not one & two


def test_texts_of_a_trace_are_sent_unchanged() -> None:
    texts = ({"prompt": 'say "hi"'}, {"messages": [{"role": "user", "content": "u"}]}, None)
    found = contents(spec([(5, []), (5, []), (5, [])], texts=texts))
    assert found[:2] == ['say "hi"', "u"]
    assert len(found[2].split()) == 5


def test_a_block_begins_like_a_longer_one_and_can_have_any_length() -> None:
    blocks = Blocks(Units(WORDS, " ", "words"), "salt")
    whole = blocks.text("7", 100_000).split()
    assert len(whole) == 100_000
    for length in (1, 7, 8, 9, 512):
        assert blocks.text("7", length).split() == whole[:length]
    assert blocks.text("8", 512).split()[:8] != whole[:8]


def test_a_spec_with_a_trace_survives_the_pipe() -> None:
    made = spec(conversations(3), texts=({"prompt": "a"}, None, None))
    assert WorkerSpec.from_json(made.to_json()) == made
