"""Requests with images: valid PNG files of the right size, all different, beside a text."""

import json
import zlib
from base64 import b64decode
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.endpoints.image_prompts import ImageFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Images, Lengths, Share, WorkerSpec


def factory(images: Images, **more: Any) -> ImageFactory:
    lengths = {"input": Lengths("fixed", 30), "output": Lengths("fixed", 5)}
    spec = WorkerSpec(url="http://x", model="m", concurrency=1, images=images, **lengths, **more)
    return ImageFactory(spec, Calibration(), "x")


def content(payload: bytes) -> list[dict[str, Any]]:
    body = json.loads(payload.partition(b"\r\n\r\n")[2])
    assert body["max_tokens"] == 5
    found: list[dict[str, Any]] = body["messages"][-1]["content"]
    return found


def chunks(file: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG file, whose checksums must be right."""
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    found = {}
    at = 8
    while at < len(file):
        size = int.from_bytes(file[at : at + 4], "big")
        kind = file[at + 4 : at + 8]
        found[kind] = file[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + found[kind]) == int.from_bytes(file[at + 8 + size : at + 12 + size], "big")
        at += 12 + size
    return found


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 3))
def test_images_have_their_size(width: int, height: int, count: int) -> None:
    text, *images = content(factory(Images(width, height, count)).next().payload)
    assert text["type"] == "text"
    assert len(text["text"].split()) == 24
    assert len({image["image_url"]["url"] for image in images}) == len(images) == count
    for image in images:
        head, _, data = image["image_url"]["url"].partition(",")
        assert head == "data:image/png;base64"
        found = chunks(b64decode(data, validate=True))
        assert list(found) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
        assert (int.from_bytes(found[b"IHDR"][:4], "big"), int.from_bytes(found[b"IHDR"][4:8], "big")) == (
            width,
            height,
        )
        assert len(zlib.decompress(found[b"IDAT"])) == (width + 1) * height


def test_no_image_is_sent_twice_and_the_same_seed_sends_the_same() -> None:
    made = factory(Images(64, 64, 2))
    urls = [part["image_url"]["url"] for _ in range(5) for part in content(made.next().payload)[1:]]
    assert len(set(urls)) == 10
    again = factory(Images(64, 64, 2))
    assert [part["image_url"]["url"] for _ in range(5) for part in content(again.next().payload)[1:]] == urls
    other = content(factory(Images(64, 64, 2), salt="another window").next().payload)
    assert other[1]["image_url"]["url"] not in urls


def test_processes_send_what_one_would_send() -> None:
    alone = factory(Images(16, 16))
    whole = [alone.next().payload for _ in range(6)]
    parts = [factory(Images(16, 16), share=Share(index, 2)) for index in range(2)]
    assert [parts[index % 2].next().payload for index in range(6)] == whole


def test_length_of_a_prompt_with_images_is_not_known() -> None:
    assert factory(Images(16, 16)).next().asked_input == 0
