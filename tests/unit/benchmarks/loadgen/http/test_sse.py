"""Server-sent events: the same events however the bytes are split."""

from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.http.sse import SseParser

TEXT = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), max_size=12).map(str.encode)
EVENTS = st.lists(
    st.tuples(st.sampled_from([b"", b"error", b"ping"]), st.lists(TEXT, min_size=1, max_size=3)), max_size=5
)
NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])


def wire(events: list[tuple[bytes, list[bytes]]], newline: bytes) -> bytes:
    out = b""
    for kind, lines in events:
        out += b": a comment" + newline
        out += b"event: " + kind + newline if kind else b""
        out += b"".join(b"data: " + line + newline for line in lines) + newline
    return out


def parse(pieces: list[bytes]) -> list[tuple[bytes, bytes]]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@given(EVENTS, NEWLINES, st.data())
def test_any_split_yields_the_same_events(
    events: list[tuple[bytes, list[bytes]]], newline: bytes, data: st.DataObject
) -> None:
    text = wire(events, newline)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected = [(kind, b"\n".join(lines)) for kind, lines in events]
    assert parse(pieces) == expected
    assert parse([text[i : i + 1] for i in range(len(text))]) == expected


def test_crlf_split_across_reads_is_one_line_ending() -> None:
    assert parse([b"data: a\r", b"\n\r", b"\ndata: b\n\n"]) == [(b"", b"a"), (b"", b"b")]


def test_fields_without_a_space_and_unknown_fields() -> None:
    assert parse([b"id: 7\nretry: 10\ndata:x\ndata\n\n"]) == [(b"", b"x\n")]


def test_event_without_data_is_dropped() -> None:
    assert parse([b"event: ping\n\ndata: a\n\n"]) == [(b"", b"a")]


def test_error_field_of_older_llama_cpp_servers() -> None:
    assert parse([b'error: {"code":500}\n\n']) == [(b"error", b'{"code":500}')]


def test_idle_only_between_events() -> None:
    parser = SseParser()
    assert parser.idle
    parser.feed(b"data: a")
    assert not parser.idle
    parser.feed(b"\n")
    assert not parser.idle
    parser.feed(b"\n")
    assert parser.idle
