"""Mixes: the share, the lengths and the model of each kind of request."""

from collections import Counter
from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.mix_prompts import MixFactory, part_specs
from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, Part, Prefixes, WorkerSpec

CALIBRATION = Calibration(((1, 1), (100, 100)), prefix_words=20)
PARTS = (
    Part(3, "base", Lengths("fixed", 40), Lengths("fixed", 5)),
    Part(1, "adapter", Lengths("fixed", 10), Lengths("fixed", 7), prefix_tokens=20, prefixes=Prefixes(4)),
)


def factory(parts: tuple[Part, ...] = PARTS, **more: object) -> MixFactory:
    fields: dict[str, object] = {"url": "http://h:1", "model": "m", "concurrency": 1, "parts": parts}
    return MixFactory(WorkerSpec(**{**fields, **more}), [CALIBRATION] * len(parts), "h:1")  # type: ignore[arg-type]


def body(request: Request) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(request.payload.partition(b"\r\n\r\n")[2])
    return found


def test_requests_are_those_of_their_part() -> None:
    made = factory()
    requests = [made.next() for _ in range(100)]
    assert [r.index for r in requests] == list(range(100))
    for request in requests:
        assert request.part is not None
        part = PARTS[request.part]
        assert body(request)["model"] == part.model
        assert body(request)["max_tokens"] == request.asked_output == part.output.a
        assert request.asked_input == part.input.a + part.prefix_tokens
        assert (request.prefix is None) == (part.prefixes is None)


@settings(max_examples=20)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5))
def test_shares_follow_the_weights(weights: list[float]) -> None:
    made = factory(tuple(replace(PARTS[0], weight=weight) for weight in weights))
    drawn = Counter(made.next().part for _ in range(400))
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert drawn[index] / 400 == pytest.approx(share, abs=5 * (share * (1 - share) / 400) ** 0.5)


def test_every_window_has_the_same_kinds_and_new_prompts() -> None:
    first = factory(salt="a")
    second = factory(salt="b")
    pairs = [(first.next(), second.next()) for _ in range(50)]
    assert all((a.part, a.asked_input, a.prefix) == (b.part, b.asked_input, b.prefix) for a, b in pairs)
    assert all(a.payload != b.payload for a, b in pairs)


def test_parts_of_equal_lengths_share_neither_prompts_nor_lengths() -> None:
    part = Part(1, "a", Lengths("uniform", 50, 99), Lengths("fixed", 1))
    made = factory((part, replace(part, model="b")))
    requests = [made.next() for _ in range(80)]
    lengths = [[r.asked_input for r in requests if r.part == index][:20] for index in (0, 1)]
    assert lengths[0] != lengths[1]
    assert len({str(body(r)["messages"]) for r in requests}) == 80


def test_spec_round_trip() -> None:
    spec = WorkerSpec(url="u", model="m", rate=1.0, parts=(replace(PARTS[0], calibration=CALIBRATION), PARTS[1]))
    assert WorkerSpec.from_json(spec.to_json()) == spec
    assert [part.prefixes for part in part_specs(spec)] == [None, Prefixes(4)]
