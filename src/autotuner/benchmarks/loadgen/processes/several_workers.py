"""A window whose load several processes send, as seen by the process that started them.

The process near the endpoint becomes the parent of the others, rather than the runner starting several: a runner may
need a Job and a pod per process, on different nodes with different clocks, and it would have to relay every decision
between them. Children of one process share its clock, its network and its limits wherever it runs: on this machine, in
a container or in a pod. The parent sends no requests. It draws the schedule, follows the requests of all, and decides
when the window begins and ends, by the same rules as a single process does.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from signal import Signals
from time import monotonic_ns
from typing import IO, Any

import orjson

from autotuner.benchmarks.loadgen.http.request_loop import host_of
from autotuner.benchmarks.loadgen.level_watch import LevelWatch
from autotuner.benchmarks.loadgen.metrics.server_metrics import Sampler, line_of
from autotuner.benchmarks.loadgen.output_lines import Emit, pass_on
from autotuner.benchmarks.loadgen.processes.load_events import MergedLoad, merged_quantile
from autotuner.benchmarks.loadgen.processes.run_beside import run_beside
from autotuner.benchmarks.loadgen.processes.shares import dealt, divided
from autotuner.benchmarks.loadgen.request_factories import calibrated, calibrations_of, prime_prefixes, request_factory
from autotuner.benchmarks.loadgen.run_window import busiest_second, calibration_lines, turned_over
from autotuner.benchmarks.loadgen.schedule import window_arrivals
from autotuner.benchmarks.loadgen.spec import WorkerSpec
from autotuner.benchmarks.loadgen.tokens import counter
from autotuner.benchmarks.loadgen.window import Window
from autotuner.invalid_value import InvalidValueError

SHARE_WORKER = "autotuner.benchmarks.loadgen.processes.share_worker"
_START_DELAY_NS = 50_000_000
"""Delay before the load starts, so that every process has the order before its first arrival is due."""
_POLL_S = 0.005
_REPORTED_S = 1.0
"""Longest wait for the reports of the last outcomes of a replay; one is due every 20 ms."""
_LINE_LIMIT = 1 << 30
_EVIDENCE_BYTES = 4096


class WorkerDiedError(Exception):
    """One of the processes has ended before its work was done."""

    def __init__(self, message: str, log_tail: str) -> None:
        super().__init__(message)
        self.log_tail = log_tail


@dataclass(frozen=True)
class Plan:
    """When the load's requests are due, in nanoseconds from its start. Empty in a closed loop."""

    at_ns: Sequence[int]
    opens_ns: int
    """When the window may open."""
    connections: int
    """To open ahead of the load."""
    prebuild: int
    """Requests to build ahead of the load."""

    @classmethod
    def of(cls, spec: WorkerSpec) -> "Plan":
        """The same arrivals that a single process would send."""
        if spec.replay is not None:
            at_s = spec.replay.at_s
            opens = round(max(0.0, -at_s[0]) * 1e9)
            return cls([opens + round(at * 1e9) for at in at_s], opens, min(512, max(8, busiest_second(at_s))), 0)
        opens = round(spec.warmup_s * 1e9)
        if spec.slots is not None:
            return cls((), opens, spec.slots, 0)
        warm, main = window_arrivals(spec)
        at_ns = [*(round(at * 1e9) for at in warm), *(opens + round(at * 1e9) for at in main)]
        rate = spec.rate or 1.0
        return cls(at_ns, opens, min(512, max(8, round(rate))), len(warm) + max(1, round(rate * spec.duration_s)))


class Child:
    """One process.

    Args:
        spec: Of its share.
        load: Takes its reports.
    """

    def __init__(self, spec: WorkerSpec, load: MergedLoad) -> None:
        self.spec = spec
        self.share: dict[str, Any] = {}
        """Its last line."""
        self._load = load
        self._process: asyncio.subprocess.Process | None = None
        self._stdin: asyncio.StreamWriter | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ended()
        self._said: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def start(self) -> None:
        """Starts it and sends its spec, which may contain credentials, on stdin."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", SHARE_WORKER, stdin=pipe, stdout=pipe, stderr=self._errors, limit=_LINE_LIMIT
        )
        self._stdin = self._process.stdin
        await self._write(self.spec.to_json())

    async def order(self, order: str, **values: Any) -> None:
        """Sends an order. A process that is gone is noticed by :meth:`read`."""
        await self._write(orjson.dumps({"order": order, **values}))

    async def said(self, kind: str) -> dict[str, Any]:
        """Waits for the line of this kind."""
        return await self._future(kind)

    async def read(self) -> None:
        """Reads its lines until it ends. Raises :class:`WorkerDiedError` if that is too early."""
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError("the process has not been started")
        index = self.spec.share.index
        while line := await process.stdout.readline():
            kind = orjson.loads(line)
            match kind["kind"]:
                case "events":
                    self._load.take(index, kind)
                case "records":
                    self._pass_on(line, kind)
                case "error":
                    raise InvalidValueError(kind["message"], remedy=kind.get("remedy", ""))
                case _:
                    if kind["kind"] == "left":
                        self._load.finish(index)
                    self._future(kind["kind"]).set_result(kind)
        code = await process.wait()
        if code or not self._future("share").done():
            raise WorkerDiedError(self._death(code), self._log_tail())

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> None:
        """Waits for its end, and releases what belongs to it."""
        if self._stdin is not None:
            self._stdin.close()
        if self._process is not None:
            await self._process.wait()
        self._errors.close()

    def _pass_on(self, line: bytes, parsed: dict[str, Any]) -> None:
        if self.spec.level is None:
            pass_on(line)
            return
        for record in parsed["records"]:
            record["in_flight"] = self._load.in_flight_at.get(record["index"])
        pass_on(orjson.dumps(parsed, option=orjson.OPT_APPEND_NEWLINE))

    def _future(self, kind: str) -> "asyncio.Future[dict[str, Any]]":
        if kind not in self._said:
            self._said[kind] = asyncio.get_running_loop().create_future()
        return self._said[kind]

    async def _write(self, line: bytes) -> None:
        if self._stdin is None:
            raise RuntimeError("the process has not been started")
        try:
            self._stdin.write(line + b"\n")
            await self._stdin.drain()
        except (BrokenPipeError, ConnectionError):
            pass  # its end is reported with its exit code

    def _death(self, code: int) -> str:
        how = f"was killed by {Signals(-code).name}" if code < 0 else f"exited with code {code}"
        share = self.spec.share
        return f"process {share.index + 1} of {share.of} of the load generator {how} within the window"

    def _log_tail(self) -> str:
        size = self._errors.seek(0, 2)
        self._errors.seek(max(0, size - _EVIDENCE_BYTES))
        return self._errors.read().decode(errors="replace")


async def run_divided(spec: WorkerSpec, workers: int, cores: int, emit: Emit) -> None:
    """Runs a window whose load several processes send.

    Args:
        spec: The window.
        workers: Number of processes, besides this one.
        cores: Cores that they may use.
        emit: Writes an output line.

    Raises:
        ValueError: The spec is not usable.
        WorkerDiedError: One of the processes ended before its work was done.
    """
    if spec.tokenizer_json is not None:
        counter(spec.tokenizer_json)  # raises before anything is started
    sampler = Sampler(spec, spec.server_metrics) if spec.server_metrics is not None else None
    load = MergedLoad(workers, spec.client_limits)
    children: list[Child] = []
    try:
        # What must happen once per window happens here: probes, and the shared prefixes that warm the server's cache.
        calibrations = await calibrations_of(spec)
        factory = request_factory(spec, calibrations, host_of(spec.url))
        primed = await prime_prefixes(spec, factory)
        children += (Child(part, load) for part in divided(calibrated(spec, calibrations), workers))
        for child in children:
            await child.start()
        window = DividedWindow(spec, children, load, emit, sampler)
        once = {"calibrations": calibration_lines(calibrations), "primed": primed}
        await run_beside(window.run(once, cores), *(child.read() for child in children))
    finally:
        if sampler is not None:
            sampler.end()
        for child in children:
            child.kill()
        for child in children:
            await child.ended()


class DividedWindow:
    """The procedure of such a window; see :mod:`autotuner.benchmarks.loadgen.run_window` for that of one process."""

    def __init__(
        self, spec: WorkerSpec, children: Sequence[Child], load: MergedLoad, emit: Emit, sampler: Sampler | None
    ) -> None:
        self._spec = spec
        self._children = children
        self._load = load
        self._emit = emit
        self._sampler = sampler
        self._watch = None
        if spec.level is not None:
            self._watch = LevelWatch(spec.level, open_loop=spec.rate is not None, known_until=lambda: load.applied_ns)
        self._window = Window(spec, load, emit, self._watch, load.lags)
        if self._watch is not None:
            load.on_arrived = self._watch.arrived
        load.on_ended = self._window.ended
        self._plan = Plan.of(spec)

    async def run(self, once: Mapping[str, Any], cores: int) -> None:
        """From the start of the load to the last line of output.

        Args:
            once: Values of the result that are known already.
            cores: Cores that the processes may use.
        """
        begin = await self._start()
        await self._open(begin)
        await self._finish()
        window = self._window
        if self._sampler is not None:
            self._emit(line_of(self._sampler.stop(), window.begin_ns))
        reasons = any([(await child.said("left"))["reasons"] for child in self._children])
        await self._order("hand_over", reasons=reasons)
        shares = [await child.said("share") for child in self._children]
        schedule = [begin + at for at in self._plan.at_ns]
        limits = [share["file_limit"] for share in shares if share["file_limit"] is not None]
        opened_s = (window.end_ns - window.begin_ns) / 1e9 + window.left_out_s
        self._emit(
            {
                "kind": "result",
                "begin_epoch_s": window.begin_epoch,
                "window_ns": window.end_ns - window.begin_ns,
                "loop_lag_p99_s": merged_quantile((share["lags"] for share in shares), 0.99),
                "client_cpu_cores": window.cpu_cores + sum(share["cpu_s"] for share in shares) / max(opened_s, 1e-9),
                "left_out_s": window.left_out_s,
                "left_out_lagged": window.left_out_lagged,
                "asked_rate": self._spec.rate,
                "workers": min(len(shares), cores),
                "file_limit": min(limits, default=None),
                "scheduled_in_window": sum(window.begin_ns <= at < window.end_ns for at in schedule),
                **once,
                "prompts": shares[0]["prompts"],
                "rows_used": [max(used) for used in zip(*(share["rows_used"] for share in shares), strict=True)],
                "level": None if self._watch is None else self._watch.summary(),
            }
        )

    async def _start(self) -> int:
        """Starts the load; returns its start time (monotonic ns)."""
        plan = self._plan
        workers = len(self._children)
        for child in self._children:
            share = child.spec.share
            connections = len(range(share.index, plan.connections, workers))
            await child.order(
                "schedule",
                at_ns=dealt(plan.at_ns, share),
                connections=connections,
                prebuild=-(-plan.prebuild // workers),
            )
        for child in self._children:
            await child.said("ready")
        begin = monotonic_ns() + _START_DELAY_NS
        if self._spec.replay is not None:
            self._window.opens_at(begin + plan.opens_ns)
        await self._order("start", begin_ns=begin)
        return begin

    async def _open(self, begin: int) -> None:
        """Waits for the window's opening, and runs it."""
        spec = self._spec
        opens = begin + self._plan.opens_ns
        changing = spec.replay is not None or bool(spec.stages)
        on_schedule = spec.rate is not None and (changing or spec.level is None)
        if on_schedule:
            self._load.hold_ns = opens
        await _until(opens)
        if spec.slots is not None:
            limit = opens + round(spec.duration_s * 1e9)
            while self._ramping() and monotonic_ns() < limit:  # noqa: ASYNC110 - rare
                await asyncio.sleep(_POLL_S)
        elif spec.level is not None and spec.replay is None:
            await turned_over(spec, self._load)
        await self._order("open")
        # The window counts what happens after its opening: until it is open, later reports wait.
        hold = self._load.hold_ns = self._load.hold_ns or monotonic_ns()
        while self._load.applied_ns < hold:  # noqa: ASYNC110 - the next report is due in some ms
            await asyncio.sleep(_POLL_S)
        asyncio.get_running_loop().call_soon(self._release)
        await self._window.run(hold, on_schedule=on_schedule)

    def _ramping(self) -> bool:
        return sum(request.ramp for request in self._load.ended) < (self._spec.slots or 0)

    def _release(self) -> None:
        self._load.hold_ns = None
        self._load.apply()

    async def _finish(self) -> None:
        """Waits for the outcomes that the window still needs, and ends the load."""
        window = self._window
        cut = self._watch is not None and self._watch.failed
        await self._order("end", begin_ns=window.begin_ns, end_ns=window.end_ns, cut=cut)
        if cut:
            return
        settled = [asyncio.ensure_future(child.said("settled")) for child in self._children]
        stopped = self._spec.slots is not None
        while not all(one.done() for one in settled):
            if not cut and self._watch is not None and self._watch.refuted_late():
                cut = stopped = True
                await self._order("cut")
            if not stopped and len(self._load.in_flight) > window.backlog_limit:
                stopped = True
                await self._order("stop")
            await asyncio.sleep(_POLL_S)
        if self._watch is not None:
            await self._watch.settle(_REPORTED_S)
        await self._order("leave")

    async def _order(self, order: str, **values: Any) -> None:
        for child in self._children:
            await child.order(order, **values)


async def _until(moment_ns: int) -> None:
    await asyncio.sleep(max(0.0, (moment_ns - monotonic_ns()) / 1e9))
