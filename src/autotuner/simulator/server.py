"""The server process: starts the simulated engine, serves HTTP, and exits as the engine would."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from autotuner.simulator.config import EngineConfig, EngineExitError
from autotuner.simulator.engine_loop import EngineLoop
from autotuner.simulator.flavor import Flavor
from autotuner.simulator.http_server import HttpRequest, HttpServer, Responder
from autotuner.simulator.openai_api import BadRequestError, Reply, parse
from autotuner.simulator.options import Simulation
from autotuner.simulator.pooling_api import PATHS, PooledReply
from autotuner.simulator.request import Request
from autotuner.simulator.sglang.flavor import SGLangFlavor
from autotuner.simulator.vllm.flavor import VllmFlavor

_GENERATING = {"/v1/chat/completions", "/v1/completions"}


class Logger:
    """Writes log lines to stderr with the engine's prefix."""

    def __init__(self, flavor: str) -> None:
        self._sglang = flavor == "sglang"

    def __call__(self, text: str) -> None:
        if self._sglang:
            prefix = time.strftime("[%Y-%m-%d %H:%M:%S] ")
        else:
            prefix = f"(APIServer pid={os.getpid()}) INFO {time.strftime('%m-%d %H:%M:%S')} [simulator] "
        lines = text.rstrip("\n").split("\n") if not self._sglang else [text.rstrip("\n")]
        sys.stderr.write("".join(f"{prefix}{line}\n" for line in lines))


class SimulatedServer:
    """One server process."""

    def __init__(self, simulation: Simulation, given: Mapping[str, Any]) -> None:
        self._simulation = simulation
        self._given = given
        self._log = Logger(simulation.flavor)
        made = SGLangFlavor if simulation.flavor == "sglang" else VllmFlavor
        self._flavor: Flavor = made(simulation, self._log)
        self._config: EngineConfig | None = None
        self._loops: list[EngineLoop] = []
        self._next = 0
        self._healthy = False

    async def run(self) -> int:
        """Serves until SIGTERM or SIGINT, then returns 0.

        Raises:
            EngineExitError: The engine exits on its own.
        """
        flavor = self._flavor
        simulation = self._simulation
        self._log(
            f"SIMULATED {flavor.name} {flavor.version}: no GPU and no model is used; times are predicted for "
            f"{simulation.gpu_count} x {simulation.gpu} at speed {simulation.speed:g}"
        )
        config = self._config = flavor.start(self._given)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self._loops = [
            EngineLoop(
                flavor.scheduler(config),
                speed=simulation.speed,
                noise=simulation.noise,
                on_step=flavor.on_step,
                log=self._log,
                seed=index,
            )
            for index in range(config.replicas)
        ]
        http = HttpServer(self._handle)
        try:
            await http.start(config.host, config.port)
        except OSError as error:
            text = f"[Errno {error.errno}] error while attempting to bind on address ('{config.host}', {config.port})"
            raise EngineExitError(f"ERROR:    {text}: address already in use", 1) from None
        try:
            await self._serve(stop)
        finally:
            await http.close()
        return 0

    async def _serve(self, stop: asyncio.Event) -> None:
        assert self._config is not None  # noqa: S101 - set before serving
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._simulation.start_s)
        if stop.is_set():
            return
        self._healthy = True
        self._flavor.ready(self._config)
        running = [asyncio.create_task(loop.run()) for loop in self._loops]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
        finally:
            stopping.cancel()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, stopping, return_exceptions=True)

    def _handle(self, request: HttpRequest, responder: Responder) -> None:
        try:
            self._route(request, responder)
        except BadRequestError as error:
            responder.send_json(self._flavor.error(error), error.status)

    def _route(self, request: HttpRequest, responder: Responder) -> None:
        config = self._config
        flavor = self._flavor
        path = request.path
        assert config is not None  # noqa: S101 - nothing listens before
        sglang = flavor.name == "sglang"
        if path == "/health" or (path == "/health_generate" and sglang):
            responder.send(200 if self._healthy else 503, b"", "text/plain")
            return
        if config.api_key and request.headers.get("authorization") != f"Bearer {config.api_key}":
            raise BadRequestError("Unauthorized", status=401)
        if path in _GENERATING or (path == "/generate" and sglang):
            self._generate(request, responder)
        elif path in PATHS:
            self._pool(request, responder)
        elif path == "/v1/models":
            responder.send_json(flavor.models(config))
        elif path == "/metrics" and (text := flavor.metrics(config, self._loops)) is not None:
            responder.send(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/flush_cache" and sglang:
            self._flush(responder)
        elif request.method == "POST" and (done := flavor.change(path, request.body, self._loops)) is not None:
            responder.send_json(done)
        elif (info := flavor.info(path, config, self._loops)) is not None:
            responder.send_json(info)
        else:
            responder.send_json({"detail": "Not Found"}, 404)

    def _flush(self, responder: Responder) -> None:
        busy = [loop for loop in self._loops if not loop.scheduler.idle]
        for loop in self._loops if not busy else ():
            loop.scheduler.pool.flush()
        text = b"Cache flushed.\n" if not busy else b"Flush cache failed.\n"
        responder.send(400 if busy else 200, text, "text/plain")

    def _post(self, request: HttpRequest, responder: Responder) -> bool:
        """Whether to process a request; answers it otherwise."""
        if request.method != "POST":
            responder.send_json({"detail": "Method Not Allowed"}, 405)
            return False
        if not self._healthy:
            raise BadRequestError("the server is starting", status=503)
        return True

    def _pool(self, request: HttpRequest, responder: Responder) -> None:
        config = self._config
        assert config is not None  # noqa: S101 - nothing listens before
        if not self._post(request, responder):
            return
        reply = PooledReply(request.path, request.body, config.served_name, sglang=self._flavor.name == "sglang")
        for document in reply.checks():
            self._flavor.limited(document, config)
        queued = reply.requests(responder, lambda _: None)
        engine = self._loops[self._next % len(self._loops)]
        self._next += 1

        def abort() -> None:
            for one in queued:
                engine.scheduler.abort(one)

        responder.on_closed = abort
        for one in queued:
            engine.add(one)

    def _generate(self, request: HttpRequest, responder: Responder) -> None:
        config = self._config
        assert config is not None  # noqa: S101 - nothing listens before
        if not self._post(request, responder):
            return
        parsed = parse(request.path, request.body)
        max_new = self._flavor.limited(parsed, config)
        began = time.monotonic()

        def done(finished: Request) -> None:
            now = time.monotonic()
            self._flavor.latencies.observe((finished.first_s or now) - began, now - began)

        reply = Reply(parsed, responder, config.served_name, done)
        queued = Request(parsed.prompt, max_new, ignore_eos=parsed.ignore_eos, on_token=reply.on_token, arrived_s=began)
        engine = self._loops[self._next % len(self._loops)]
        self._next += 1
        responder.on_closed = lambda: engine.scheduler.abort(queued)
        engine.add(queued)
