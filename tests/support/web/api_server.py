"""A server of the REST API in a thread of the test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

import autotuner
from autotuner.server.app import create_app


@contextmanager
def served(tuner: autotuner.Autotuner, port: int = 0) -> Iterator[str]:
    """The URL of a server that runs in a thread, on a port or on any."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        app = create_app(tuner, roots=[Path("/models")])
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
