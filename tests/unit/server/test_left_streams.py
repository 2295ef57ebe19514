"""Only the error of a stream whose reader has left is ignored."""

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from autotuner.server.left_streams import LeftStreams


async def receive() -> Message:
    raise AssertionError


async def send(message: Message) -> None:
    raise AssertionError


def called(error: BaseException) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    async def call() -> None:
        await LeftStreams(app)({"type": "http", "path": "/x"}, receive, send)

    anyio.run(call)


def test_a_reader_that_left_is_no_error() -> None:
    called(ExceptionGroup("tasks", [anyio.BrokenResourceError()]))


def test_other_errors_stay_errors() -> None:
    with pytest.raises(ValueError, match="other"):
        called(ValueError("other"))
    with pytest.raises(ExceptionGroup) as raised:
        called(ExceptionGroup("tasks", [anyio.BrokenResourceError(), ValueError("other")]))
    assert [type(error) for error in raised.value.exceptions] == [ValueError]
