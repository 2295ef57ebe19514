"""Benchmark of `autotuner serve` over a large store: pages, live updates, and pauses of its event loop.

Fills a store with studies and trials, starts a real server on it, and prints

- the latency of lists and study pages, and of distributions from request records, at a fixed rate of requests, from the
  moment at which each was due;
- the delay from the commit of an event to its arrival at each of many readers of event streams;
- how long the server's event loop was blocked meanwhile: a request with a foreign Host header is answered by the loop
  itself, without a thread and without the store, so its latency is that of the loop.

The first study of each size is stored as a run stores it; the others are copies of its rows. Run it on a quiet machine
with ``make bench-server``; ``python benchmarks/server.py --trials 2000 --readers 20`` is a first look.
"""

import argparse
import asyncio
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from sqlalchemy import text

import autotuner
from autotuner.benchmarks.measuring.records import RunInfo, from_rows, write_records
from autotuner.benchmarks.measuring.requirements import Requirements
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.store import Store
from autotuner.store.paths import trial_folder
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.samples import SampleKind, sample_study
from autotuner.tuning.run_liveness import this_owner
from autotuner.tuning.study_session import record_end

API = "/api/v1"
RECORDS = "records-0-0-0.parquet"
USUAL = 100
"""Trials of most studies."""
RUNNING = "live-8b"
OPEN_PAGES = 20
"""Studies that people look at, in turn."""
RECORDED = 3
"""The trial of each of these whose requests are stored."""
EVENTS_PER_S = 5.0
PROBE_S = 0.01
"""Time between two probes of the event loop."""


@dataclass(frozen=True)
class Server:
    """A running server and the secret of a token for it."""

    url: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request."""
        return {"Authorization": f"Bearer {self.secret}"}


def fill(store: Store, trials: int, largest: int, requests: int = 0) -> list[str]:
    """Stores studies with so many trials and request records in all; returns their names, the largest one first."""
    each = requests // OPEN_PAGES
    names = [stored("largest-8b", largest, store)]
    first = ""
    for index in range(max(0, trials - largest) // USUAL):
        name = f"chat-{index:04d}"
        if first:
            copy_study(store, first, name)
        else:
            first = stored(name, USUAL, store, each)
        names.append(name)
    for name in names[2 : 1 + OPEN_PAGES] if each else ():
        shutil.copytree(trial_folder(first, RECORDED), trial_folder(name, RECORDED))
    return names


def recorded(trial: Trial, study: str, requests: int) -> Trial:
    """The trial with records of this number of requests for its first window, in its folder."""
    source = np.random.default_rng(1)
    measured, *others = trial.measurements
    second = 1_000_000_000
    window = round(measured.window_s * second)
    waits = source.lognormal(-2.0, 0.5, requests) * second
    paces = source.lognormal(-4.0, 0.3, requests) * second
    unused: dict[str, object] = {"scheduled_ns": None, "lag_ns": 0, "connect_ns": 0, "ramp": False, "error": None}
    tokens = {"asked_input": 128, "asked_output": 48, "input_tokens": 128, "output_tokens": 48}
    common = {**unused, **tokens, "token_source": "usage", "complete": True, "detail": ""}
    rows = []
    for index, (wait, pace) in enumerate(zip(waits.round().astype(int), paces.round().astype(int), strict=True)):
        sent = index * window // (2 * requests)
        times = {"sent_ns": sent, "first_ns": sent + int(wait), "end_ns": sent + int(wait + 47 * pace)}
        rows.append({**common, **times, "index": index, "gaps_ns": [int(47 * pace)]})
    info = RunInfo(window_ns=window, begin_epoch_s=measured.started_at)
    where = Requirements(scenario=measured.scenario, level=measured.level).model_dump(mode="json")
    records = from_rows(rows, info, where)
    folder = trial_folder(study, trial.number)
    folder.mkdir(parents=True)
    write_records(folder / RECORDS, records)
    known = summarize(records).distributions
    first = measured.replaced(distributions={m: known[m] for m in measured.distributions}, records=RECORDS)
    return trial.replaced(measurements=(first, *others))


def stored(name: str, count: int, store: Store, requests: int = 0) -> str:
    """Stores a finished study with this number of trials, through the store's own interface as a run does."""
    sample = sample_study(SampleKind.HUGE)
    spec = sample.spec.model_copy(update={"name": name})
    owner = this_owner()
    store.owners.register(owner)
    store.studies.create(spec, source="study.yaml", digest=spec.digest, now=time.time())
    store.events.append(name, "study_started", {"trials": count, "parameters": [], "proof": 0}, at=time.time())
    for number in range(count):
        trial = sample.trials[number % len(sample.trials)]
        shift = 20.0 * number - (trial.started_at or 0.0)
        times = {"started_at": 20.0 * number, "finished_at": (trial.finished_at or 0.0) + shift}
        added = store.trials.add(
            trial.model_copy(update={"study": name, "state": TrialState.RUNNING, "repeat_of": None, **times}),
            owner_id=owner.id,
        )
        data = {"role": trial.role.value, "values": dict(trial.configuration.values), "repeat_of": None}
        store.events.append(name, "trial_proposed", data, trial=added.number, at=time.time())
        state = trial.state if trial.state.finished else TrialState.VOID
        if requests and number == RECORDED:
            added = recorded(added, name, requests)
        store.trials.finish(added.model_copy(update={"state": state}), {"state": state.value, "windows": []})
    record_end(store, spec, "done", "budget used up", fault=None)
    store.owners.end(owner.id, time.time())
    return name


def copy_study(store: Store, name: str, new: str) -> None:
    """Copies the rows of a study to another name."""
    with store.database.writing() as db:
        for table, key in (("studies", "name"), ("trials", "study"), ("events", "study")):
            rows = db.execute(text(f"SELECT * FROM {table} WHERE {key} = :name"), {"name": name}).mappings().all()  # noqa: S608
            changed = []
            for row in rows:
                values = {**row, key: new}
                values.pop("seq", None)
                for column in ("spec", "trial"):
                    if isinstance(values.get(column), str):
                        values[column] = values[column].replace(f'"{name}"', f'"{new}"')
                changed.append(values)
            columns = ", ".join(changed[0])
            places = ", ".join(f":{column}" for column in changed[0])
            db.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), changed)  # noqa: S608


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """A server over the store of a data directory."""
    secret = autotuner.open().access().create("benchmark").secret
    environment = {**os.environ, "AUTOTUNER_HOME": str(home)}
    command = [sys.executable, "-m", "autotuner", "serve", "--no-worker", "--port", "0"]
    with (
        (home / "server.out").open("w") as out,
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=out, text=True, env=environment) as process,
    ):
        assert process.stderr is not None
        url = process.stderr.readline().split()[1].removesuffix(API)
        drained = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield Server(url, secret)
        finally:
            process.terminate()
            process.wait()
            drained.wait()


def quantile(values: Sequence[float], share: float) -> float:
    """A nearest-rank quantile; infinite for no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf


def figures(values: Sequence[float]) -> str:
    """Quantiles of seconds as milliseconds."""
    p50, p99, most = (1000 * quantile(values, share) for share in (0.5, 0.99, 1.0))
    return f"p50 {p50:7.1f}  p99 {p99:7.1f}  max {most:7.1f} ms"


async def at_rate(rate: float, seconds: float, request: Callable[[int], Awaitable[None]]) -> list[float]:
    """Seconds from when each request was due until it was answered, whether earlier ones were answered or not."""
    taken = list[float]()
    began = time.monotonic()

    async def one(index: int) -> None:
        due = began + index / rate
        await asyncio.sleep(due - time.monotonic())
        await request(index)
        taken.append(time.monotonic() - due)

    await asyncio.gather(*(one(index) for index in range(round(rate * seconds))))
    return taken


async def loop_pauses(server: Server, pauses: list[float]) -> None:
    """Latencies of requests that the loop itself refuses, until it is cancelled."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=600) as client:
        while True:
            began = time.monotonic()
            answer = await client.get("/healthz", headers={"Host": "elsewhere"})
            assert answer.status_code == 421
            pauses.append(time.monotonic() - began)
            await asyncio.sleep(PROBE_S)


async def page(server: Server, title: str, paths: Sequence[str], rate: float, seconds: float) -> None:
    """Prints the latency of one kind of page, with the pauses of the loop meanwhile."""
    sizes = list[int]()
    async with httpx.AsyncClient(base_url=server.url, headers=server.headers, trust_env=False, timeout=600) as client:

        async def get(index: int) -> None:
            answer = await client.get(f"{API}{paths[index % len(paths)]}")
            assert answer.status_code == 200, answer.text
            sizes.append(len(answer.content))

        firsts = list[float]()
        for index in range(len(paths)):
            began = time.monotonic()
            await get(index)
            firsts.append(time.monotonic() - began)
        pauses = list[float]()
        probe = asyncio.create_task(loop_pauses(server, pauses))
        taken = await at_rate(rate, seconds, get)
        probe.cancel()
        with suppress(asyncio.CancelledError):
            await probe
    first = 1000 * quantile(firsts, 0.5)
    shown = f"{figures(taken)}, first view {first:.0f} ms, {max(sizes) / 1000:.0f} kB"
    print(f"{title:<34} {shown}; loop max {1000 * max(pauses):.0f} ms", flush=True)


async def read_events(
    server: Server, path: str, after: int, arrivals: dict[float, list[float]], ready: asyncio.Event
) -> None:
    """Notes when each event of a stream arrives, until it is cancelled."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"GET {API}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {server.secret}\r\n"
    writer.write(f"{head}Last-Event-ID: {after}\r\n\r\n".encode())
    try:
        assert b" 200 " in await reader.readline()
        while line := await reader.readline():
            if line.startswith(b": stream"):
                ready.set()
            if line.startswith(b"data: ") and (event := json.loads(line[6:]))["kind"] == "progress":
                arrivals.setdefault(event["data"]["elapsed_s"], []).append(time.monotonic())
    finally:
        writer.close()


def commit_events(store: Store, count: int) -> dict[float, float]:
    """Appends progress of a running trial at a steady rate; returns when each event was committed, by its progress."""
    committed = dict[float, float]()
    data = {"scenario": "D(128,48)", "level": "concurrency=8", "total_s": 20.0}
    for _ in range(count):
        elapsed = time.time()  # differs from those of earlier measurements
        store.events.append(RUNNING, "progress", {**data, "elapsed_s": elapsed}, trial=0, at=time.time())
        committed[elapsed] = time.monotonic()
        time.sleep(1 / EVENTS_PER_S)
    return committed


async def live(server: Server, store: Store, path: str, readers: int, seconds: float) -> None:
    """Prints the delay from the commit of an event to its arrival at the readers."""
    arrivals = dict[float, list[float]]()
    after = store.events.last_seq(RUNNING)
    ready = [asyncio.Event() for _ in range(readers)]
    tasks = [asyncio.create_task(read_events(server, path, after, arrivals, one)) for one in ready]
    began = time.monotonic()
    await asyncio.wait_for(asyncio.gather(*(one.wait() for one in ready)), 600)
    connected = time.monotonic() - began
    pauses = list[float]()
    probe = asyncio.create_task(loop_pauses(server, pauses))
    committed = await asyncio.to_thread(commit_events, store, round(seconds * EVENTS_PER_S))
    await asyncio.sleep(2.0)
    for task in (probe, *tasks):
        task.cancel()
    await asyncio.gather(probe, *tasks, return_exceptions=True)
    delays = [at - committed[number] for number, times in arrivals.items() if number in committed for at in times]
    lost = readers * len(committed) - len(delays)
    print(
        f"{f'{readers} readers of {path}':<34} {figures(delays)}, lost {lost}, all connected after "
        f"{connected:.1f} s; loop max {1000 * max(pauses):.0f} ms",
        flush=True,
    )


def start_running(store: Store) -> None:
    """Stores a study that this process seems to run."""
    sample = sample_study(SampleKind.EMPTY)
    owner = this_owner()
    spec = sample.spec.model_copy(update={"name": RUNNING})
    store.owners.register(owner)
    store.studies.create(spec, source="study.yaml", digest=spec.digest, now=time.time())
    store.studies.take(RUNNING, owner.id, time.time(), dead=())
    store.studies.set_state(RUNNING, "running", None, time.time())
    trial = sample_study(SampleKind.WINNER).trials[0]
    running = {"study": RUNNING, "state": TrialState.RUNNING, "measurements": (), "verdict": None, "finished_at": None}
    store.trials.add(trial.model_copy(update=running), owner_id=owner.id)
    store.events.append(RUNNING, "study_started", {"trials": 14, "parameters": [], "proof": 0}, at=time.time())
    data = {"role": "default", "values": {}, "repeat_of": None}
    store.events.append(RUNNING, "trial_proposed", data, trial=0, at=time.time())


async def measure(server: Server, store: Store, names: Sequence[str], given: argparse.Namespace) -> None:
    """Prints all figures."""
    largest, *others = names
    usual = others[:OPEN_PAGES] or [largest]
    kinds = {
        "list, page of the web UI": ["/study-rows?limit=50"],
        "the same by gain, page 2": ["/study-rows?limit=50&offset=50&sort=gain"],
        "list, 100 studies": ["/studies?limit=100"],
        "list by gain, page 2": ["/studies?limit=50&offset=50&sort=gain"],
        f"pages of {len(usual)} studies": [f"/studies/{name}/details" for name in usual],
        "page of the largest study": [f"/studies/{largest}/details"],
        "trials of the largest study": [f"/studies/{largest}/trials?limit=50&offset={n}" for n in (0, 50, 100)],
        f"a trial of {len(usual)} studies": [f"/studies/{name}/trials/{RECORDED}?lines=0" for name in usual],
    }
    for title, paths in kinds.items():
        await page(server, title, paths, given.rate, given.seconds)
    if given.requests and others:
        each = given.requests // OPEN_PAGES
        paths = [f"/studies/{name}/trials/{RECORDED}/latencies" for name in usual]
        await page(server, f"latencies of {each} requests, a tenth of the rate", paths, given.rate / 10, given.seconds)
    for path in (f"/studies/{RUNNING}/events", "/events"):
        await live(server, store, path, given.readers, given.seconds)


def main() -> None:
    """Prints one line per kind of request."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=50_000, help="trials of all studies together")
    parser.add_argument("--largest", type=int, default=1_000, help="trials of the largest study")
    parser.add_argument("--requests", type=int, default=1_000_000, help="request records of all studies together")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each measurement")
    parser.add_argument("--readers", type=int, default=200, help="readers of event streams")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUTOTUNER_HOME"] = folder
        os.environ.pop("AUTOTUNER_STORE", None)
        began = time.monotonic()
        with Store.open() as store:
            names = fill(store, given.trials, given.largest, given.requests)
            start_running(store)
            size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
            print(
                f"{len(names)} studies with {given.trials} trials, {size:.0f} MB, in {time.monotonic() - began:.0f} s"
            )
            with serving(Path(folder)) as server:
                asyncio.run(measure(server, store, names, given))


if __name__ == "__main__":
    main()
