"""Concurrent writers, as threads and as processes: who wins, and what a reader sees."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from autotuner.store import Store
from autotuner.store.database import lock_study
from autotuner.store.records import EventRecord
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState

AddStudy = Callable[..., StudySpec]
NewTrial = Callable[..., Trial]
HAMMER = Path(__file__).with_name("hammer.py")
WRITERS = 8


def at_once(work: Callable[[int], object]) -> list[object]:
    """Results of the work in as many threads as there are writers, all started together."""
    gate = threading.Barrier(WRITERS)

    def run(i: int) -> object:
        gate.wait(300)
        return work(i)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


def processes(url: str, action: str, count: int, *, writers: int = 2) -> list[list[str]]:
    """Lines that each of several processes printed."""
    argv = [sys.executable, str(HAMMER), url, action, str(count)]
    started = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(writers)
    ]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [p.returncode for p in started] == [0] * writers, outputs
    return [out.splitlines() for out, _ in outputs]


def test_new_file_is_opened_by_all_threads(tmp_path: Path) -> None:
    """Each thread is the first run on a machine. The race is rare, so many files are opened."""

    def opened(url: str) -> Callable[[int], object]:
        def work(_: int) -> object:
            with Store.open(url) as store:
                return store.studies.all()

        return work

    for number in range(60):
        assert at_once(opened(f"sqlite:///{tmp_path}/{number}.db")) == [[]] * WRITERS


def test_trial_numbers_have_no_gaps_or_duplicates(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    add_study()
    numbers = [
        n
        for some in at_once(lambda i: [store.trials.add(new_trial(), owner_id=f"{i}").number for _ in range(5)])
        for n in some
    ]  # type: ignore[attr-defined]
    assert sorted(numbers) == list(range(5 * WRITERS))
    assert [t.number for t in store.trials.all("s")] == list(range(5 * WRITERS))


def test_trials_of_several_processes(url: str, store: Store, add_study: AddStudy) -> None:
    add_study()
    outputs = processes(url, "add", 6)
    assert sorted(int(line) for lines in outputs for line in lines) == list(range(12))


def test_cursor_never_misses_an_event(store: Store, add_study: AddStudy) -> None:
    """The second writer waits for the first, so that no later ``seq`` is visible before an earlier one."""
    add_study()
    seen: list[EventRecord] = []

    def read() -> None:
        seen.extend(store.events.read("s", after=seen[-1].seq if seen else 0))

    with ThreadPoolExecutor(1) as other, store.database.writing() as first:
        lock_study(first, "s")
        store.events.append_in(first, "s", "notice", {"i": "first"}, trial=None, at=1.0)
        second = other.submit(store.events.append, "s", "notice", {"i": "second"}, at=1.0)
        threading.Event().wait(0.3)
        read()
        first.commit()
        second.result(30)
    read()
    assert [e.data["i"] for e in seen] == ["first", "second"]


def test_cursor_beside_many_writers(url: str, store: Store, add_study: AddStudy) -> None:
    add_study()
    seen: list[EventRecord] = []
    ended = threading.Event()

    def read() -> None:
        last_look = False
        while not last_look:
            last_look = ended.is_set()
            seen.extend(store.events.read("s", after=seen[-1].seq if seen else 0, limit=7))
            last_look = last_look and store.events.last_seq("s") == seen[-1].seq

    reader = threading.Thread(target=read)
    reader.start()
    try:
        outputs = processes(url, "append", 20)
        written = at_once(lambda i: [store.events.append("s", "notice", {"i": i}, at=1.0).seq for _ in range(5)])
    finally:
        ended.set()
        reader.join(60)
    made = {int(seq) for lines in outputs for seq in lines} | {seq for some in written for seq in some}  # type: ignore[attr-defined]
    assert [e.seq for e in seen] == sorted(made)


def test_one_thread_gets_the_resource(store: Store) -> None:
    for round_ in range(5):
        mine = {"study": "s", "trial": 0, "now": 1.0, "dead": ()}
        got = at_once(lambda i, r=round_, m=mine: store.leases.take([f"port:{r}"], owner_id=f"{i}", **m))  # type: ignore[misc]
        assert sorted(map(bool, got)) == [False] * (WRITERS - 1) + [True]


def test_one_thread_takes_over_from_a_dead_owner(store: Store) -> None:
    for round_ in range(5):
        mine = {"study": "s", "trial": 0, "now": 1.0, "dead": ("dead",)}
        assert store.leases.take([f"gpu:{round_}"], owner_id="dead", study="s", trial=0, now=0.0, dead=())
        got = at_once(lambda i, r=round_, m=mine: store.leases.take([f"gpu:{r}"], owner_id=f"{i}", **m))  # type: ignore[misc]
        assert sum(map(bool, got)) == 1
    assert len(store.leases.all()) == 5


def test_one_process_gets_the_resource(url: str, store: Store) -> None:
    outputs = processes(url, "acquire", 12)
    for results in zip(*outputs, strict=True):
        assert sorted(results) == ["False", "True"]


def test_gpus_of_runs_never_overlap_and_one_run_gets_its_share(store: Store) -> None:
    names = [f"gpu:{i}" for i in range(WRITERS)]

    def take(i: int) -> list[str]:
        return store.leases.take(names, 5, owner_id=f"{i}", study="s", trial=0, now=1.0, dead=())

    assert sorted(len(got) for got in at_once(take)) == [0] * (WRITERS - 1) + [5]  # type: ignore[arg-type]
    assert len(store.leases.all()) == 5


def test_one_thread_gets_the_study(store: Store, add_study: AddStudy) -> None:
    add_study()
    holders = at_once(lambda i: store.studies.take("s", f"{i}", 1.0, dead=()))
    winners = [str(i) for i, holder in enumerate(holders) if holder is None]
    assert len(winners) == 1
    assert {h for h in holders if h is not None} == set(winners)


def test_trial_ends_once(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    """Its owner ends it while another process, to which the owner seems dead, voids it."""
    add_study()
    for _ in range(5):
        trial = store.trials.add(new_trial(), owner_id="o")
        done = trial.model_copy(update={"state": TrialState.DONE, "finished_at": 2.0})

        def end(i: int, done: Trial = done) -> str:
            try:
                if i % 2:
                    return "void" if store.trials.void_owned_by({"o"}, "s", 3.0) else "late"
                store.trials.finish(done, {"state": "done"})
            except Exception as error:
                return f"late: {error}"
            return "done"

        ends = [str(e) for e in at_once(end)]
        winners = [e for e in ends if not e.startswith("late")]
        assert len(winners) == 1, ends
        kept = store.trials.get("s", trial.number)
        assert kept is not None
        assert kept.state == winners[0]
        assert len([e for e in store.events.read("s") if e.trial == trial.number]) == 1
