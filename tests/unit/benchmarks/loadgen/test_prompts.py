"""Prompts: of the requested length, all different, and calibrated by the counts of a server or a tokenizer."""

from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.calibrate import calibrate, increasing, words_for
from autotuner.benchmarks.loadgen.prompt_words import WORDS
from autotuner.benchmarks.loadgen.prompts import PromptText, RequestFactory, calibration_targets, draw
from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, WorkerSpec

pytestmark = pytest.mark.anyio


def spec(**more: object) -> WorkerSpec:
    fields: dict[str, object] = {"url": "http://h:1", "model": "m", "concurrency": 1, "input": Lengths("fixed", 64)}
    return WorkerSpec(**{**fields, "output": Lengths("fixed", 10), **more})  # type: ignore[arg-type]


def body(request: object) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(request.payload.partition(b"\r\n\r\n")[2])  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("words", [1, 20, 48, 49, 50, 300])
def test_texts_of_a_length_are_permutations(words: int) -> None:
    text = PromptText(Random(1))
    made = [text.make(words).split() for _ in range(20)]
    assert all(sorted(m) == sorted(made[0]) and len(m) == words for m in made)
    if words >= 20:
        assert len({tuple(m) for m in made}) == 20
        assert len({tuple(m[:16]) for m in made}) == 20, "a prefix cache could serve the first block"


def test_vocabulary_is_unique_and_ascii() -> None:
    assert len(set(WORDS)) == len(WORDS) > 100
    assert all(word.isascii() and word.isalpha() for word in WORDS)


async def chat_like(words: int, prefix_words: int) -> int:
    """A tokenizer with a non-integer number of tokens per word and a chat template."""
    return 11 + int(words * 1.7) + (4 + 2 * prefix_words if prefix_words else 0)


@pytest.mark.parametrize("lengths", [Lengths("fixed", 64), Lengths("uniform", 20, 900), Lengths("normal", 300, 50)])
@pytest.mark.parametrize("prefix", [0, 200])
async def test_calibration_meets_lengths(lengths: Lengths, prefix: int) -> None:
    probes = 0

    async def count(words: int, prefix_words: int) -> int:
        nonlocal probes
        probes += 1
        return await chat_like(words, prefix_words)

    found = await calibrate(count, calibration_targets(lengths), prefix)
    for target in [
        *calibration_targets(lengths),
        (calibration_targets(lengths)[0] + calibration_targets(lengths)[-1]) // 2,
    ]:
        words = words_for(found.points, target + prefix)
        assert await chat_like(words, found.prefix_words) == pytest.approx(target + prefix, abs=2)
    if prefix:
        added = await chat_like(8, found.prefix_words) - await chat_like(8, 0)
        assert added == pytest.approx(prefix, abs=2)
    assert probes <= 14, "probing costs time"


async def test_lengths_are_estimated_if_the_server_reports_nothing() -> None:
    async def nothing(words: int, prefix_words: int) -> None:
        return None

    found = await calibrate(nothing, [64], 0)
    assert found.points == ()
    assert 30 <= words_for(found.points, 64) <= 64


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(1, 9999)), max_size=6), st.integers(1, 20_000))
def test_words_are_always_at_least_one(points: list[tuple[int, int]], tokens: int) -> None:
    assert words_for(increasing(points), tokens) >= 1


def test_drawn_lengths_follow_their_distribution() -> None:
    rng = Random(1)
    assert {draw(Lengths("fixed", 7), rng) for _ in range(9)} == {7}
    assert {draw(Lengths("uniform", 3, 5), rng) for _ in range(200)} == {3, 4, 5}
    normal = [draw(Lengths("normal", 100, 10), rng) for _ in range(2000)]
    assert sum(normal) / 2000 == pytest.approx(100, abs=1)
    assert min(draw(Lengths("normal", 1, 50), rng) for _ in range(200)) == 1


def test_request_body_and_headers() -> None:
    factory = RequestFactory(spec(extra_body={"temperature": 0}), Calibration(((8, 8), (64, 64))), "h:1")
    request = factory.next()
    assert request.payload.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h:1\r\n")
    found = body(request)
    assert (found["max_tokens"], found["stream"], found["ignore_eos"], found["temperature"]) == (10, True, True, 0)
    assert found["stream_options"] == {"include_usage": True}
    assert len(found["messages"][0]["content"].split()) == 64  # type: ignore[index]
    head, _, sent = request.payload.partition(b"\r\n\r\n")
    assert int(head.rpartition(b": ")[2]) == len(sent)


def test_windows_share_lengths_but_not_prompts() -> None:
    lengths = {"input": Lengths("uniform", 5, 90), "output": Lengths("uniform", 5, 90)}
    one, two = (RequestFactory(spec(salt=salt, **lengths), Calibration(), "h") for salt in ("a", "b"))
    pairs = [(one.next(), two.next()) for _ in range(20)]
    assert [(a.asked_input, a.asked_output) for a, _ in pairs] == [(b.asked_input, b.asked_output) for _, b in pairs]
    assert all(a.payload != b.payload for a, b in pairs)


def test_prefix_is_shared_and_first() -> None:
    factory = RequestFactory(spec(prefix_tokens=30), Calibration(((8, 8), (100, 100)), prefix_words=25), "h")
    systems = {str(body(factory.next())["messages"][0]) for _ in range(5)}  # type: ignore[index]
    assert len(systems) == 1
    assert "system" in systems.pop()


@pytest.mark.parametrize(("api", "key"), [("chat", "messages"), ("completions", "prompt")])
def test_dataset_rows_are_sent_unchanged(api: str, key: str) -> None:
    rows = ({"prompt": 'say "hé"\n', "max_tokens": 3}, {"messages": [{"role": "user", "content": "yes"}]})
    factory = RequestFactory(spec(api=api, rows=rows, input=None, output=None), Calibration(), "h")
    made = [body(factory.next()) for _ in range(3)]
    assert {m["max_tokens"] for m in made} == {3, 256}
    assert any('say "hé"\n' in str(orjson.loads(orjson.dumps(m[key]))) or "hé" in str(m[key]) for m in made)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ([{"type": "text", "text": "a"}], "a"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([], ""),
        (None, ""),
    ],
)
def test_completions_have_the_text_of_messages(content: object, text: str) -> None:
    messages = [{"role": "assistant", "content": content}, {"role": "user", "content": "end"}]
    factory = RequestFactory(
        spec(api="completions", rows=({"messages": messages},), input=None, output=None), Calibration(), "h"
    )
    assert body(factory.next())["prompt"] == f"{text}\nend"


def test_rows_are_sent_in_order_and_repeated_in_other_orders() -> None:
    rows = tuple({"prompt": f"row {n}", "reused": n == 3} for n in range(10))
    factory = RequestFactory(spec(rows=rows, row_order="o", input=None), Calibration(), "h")
    made = [factory.next() for _ in range(30)]
    assert [r.reused for r in made] == [n == 3 or n >= 10 for n in range(30)]
    texts = [body(r)["messages"][0]["content"] for r in made]  # type: ignore[index]
    assert texts[:10] == [row["prompt"] for row in rows]
    assert sorted(texts[10:20]) == sorted(texts[20:]) == sorted(texts[:10])
    assert texts[10:20] != texts[20:]


def test_order_of_repeated_rows_depends_on_its_seed() -> None:
    rows = tuple({"prompt": f"row {n}"} for n in range(50))
    factories = [RequestFactory(spec(rows=rows, row_order=o, input=None), Calibration(), "h") for o in ("a", "a", "b")]
    one, same, other = ([str(body(m.next())["messages"]) for _ in range(100)] for m in factories)
    assert one == same
    assert one != other


def test_repeated_permutations_of_few_words_count_as_reused() -> None:
    factory = RequestFactory(spec(input=Lengths("fixed", 3)), Calibration(((2, 2), (3, 3))), "h")
    made = [factory.next() for _ in range(40)]
    texts = [str(body(r)["messages"]) for r in made]
    assert sum(r.reused for r in made) == 40 - len(set(texts)) > 0
    assert not any(r.reused for r in (RequestFactory(spec(), Calibration(), "h").next() for _ in range(40)))


def test_prefix_is_shared_by_the_windows_of_one_server_only() -> None:
    def prefix(salt: str, server: str) -> str:
        window = spec(prefix_tokens=30, salt=salt, prefix_salt=server)
        return str(body(RequestFactory(window, Calibration(((8, 8),), prefix_words=25), "h").next())["messages"][0])  # type: ignore[index]

    assert prefix("window 1", "a") == prefix("window 2", "a") != prefix("window 1", "b")


def test_header_injection_is_refused() -> None:
    with pytest.raises(ValueError, match="'A'"):
        RequestFactory(spec(headers={"A": "b\r\nC: d"}), Calibration(), "h")
