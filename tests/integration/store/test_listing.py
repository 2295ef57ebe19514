"""Pages of studies and trials on both databases: the same as filtering and sorting everything in memory."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch

import pytest
from sqlalchemy import text

import autotuner
from autotuner.report.overview import StudyOverview
from autotuner.report.study_list import SortBy, study_row
from autotuner.report.views.outcome import outcome
from autotuner.store import Store
from autotuner.store.kept import keeping
from autotuner.store.lists.pages import StudyList, StudyQuery, TrialList, TrialQuery
from autotuner.store.records import QueueState
from autotuner.study.spec import EngineSpec, StudySpec
from autotuner.study.trial import TrialState
from autotuner.testing.samples import LATENCY, THROUGHPUT, SampleKind, sample_study
from autotuner.tuning.run_liveness import this_owner
from autotuner.tuning.study_session import record_end
from support.studies.old_stores import without_lists

AddStudy = Callable[..., StudySpec]


def add_with_trials(store: Store, add_study: AddStudy, name: str, kind: str, **changes: object) -> StudySpec:
    """A study with the trials of a sample."""
    spec = add_study(name, **changes)
    for trial in sample_study(kind).trials:
        mine = trial.model_copy(update={"study": name, "state": TrialState.RUNNING})
        store.trials.add(mine, owner_id="gone")
        store.events.append(
            name, "trial_proposed", {"role": trial.role.value, "left": {"search": 3, "repeats": 2}}, trial=0, at=1.0
        )
        if trial.state.finished:
            store.trials.finish(trial.model_copy(update={"study": name}), {"state": trial.state.value, "windows": []})
    return spec


@pytest.fixture
def many(url: str, store: Store, add_study: AddStudy) -> Iterator[str]:
    """The URL of a store with a study in each state, which is kept open: tests ask it hundreds of times."""
    vllm = EngineSpec.model_validate({"kind": "vllm"})
    for index, (name, kind) in enumerate(itertools.product(("a_b", "Chat", "a.c"), ("winner", "latency", "unproven"))):
        several = kind == "latency"
        goals = (LATENCY,) if several else (THROUGHPUT,)
        named = f"{name}-{kind}"
        engine = {"engine": vllm} if index % 2 else {}
        spec = add_with_trials(store, add_study, named, kind, objectives=goals, **engine)
        record_end(store, spec, "done" if several else "stopped", "because", fault=None)
    add_study("new-one")
    for name in ("killed", "living", "waiting", "waiting-again"):
        add_with_trials(store, add_study, name, "winner")
    for name, owner in (("killed", "dead"), ("living", "alive")):
        store.owners.register(this_owner().model_copy(update={"id": owner}), time.time())
        assert store.studies.take(name, owner, time.time(), dead=()) is None
        store.studies.set_state(name, "running", None, time.time())
    store.owners.end("dead", time.time())
    for name in ("waiting", "waiting-again"):
        spec = store.studies.get(name).spec  # type: ignore[union-attr]
        store.queue.add(spec, source="s.yaml", named=True, priority=0, by="me", dead=())
    assert [entry.state for entry in store.queue.all()] == [QueueState.QUEUED] * 2
    with keeping(url):
        yield url


def gain(study: StudyOverview) -> float | None:
    change = study.answer.change
    return change if change is None or study.spec.objectives[0].direction.value == "max" else -change


def in_memory(
    studies: list[StudyOverview],
    *,
    sort: str,
    backward: bool = False,
    state: str | None = None,
    standing: str | None = None,
    engine: str | None = None,
    match: str | None = None,
    contains: str | None = None,
) -> list[StudyOverview]:
    """The rules of the list, without a database."""
    found = [
        s
        for s in studies
        if (state is None or state in {s.standing, s.state})
        and (standing is None or s.standing == standing)
        and (engine is None or engine in s.spec.engine_kinds)
        and (match is None or fnmatch(s.name, match))
        and (contains is None or contains.lower() in s.name.lower())
    ]
    found.sort(key=lambda s: s.name)
    if sort == "name":
        return found[::-1] if backward else found
    if sort == "state":
        found.sort(key=lambda s: -s.updated_at)
        return sorted(found, key=lambda s: s.standing, reverse=backward)
    keys: dict[str, Callable[[StudyOverview], float]] = {
        "age": lambda s: s.updated_at,
        "launches": lambda s: s.launches,
        "gain": lambda s: gain(s) or 0.0,
    }
    unknown = [s for s in found if sort == "gain" and gain(s) is None]
    known = [s for s in found if s not in unknown]
    return sorted(known, key=keys[sort], reverse=not backward) + unknown


def test_pages_are_parts_of_the_list_in_memory(many: str) -> None:
    tuner = autotuner.open(many)
    everything = tuner.overviews()
    reader = tuner.reader()
    filters: list[dict[str, str]] = [
        {},
        *({"state": state} for state in ("running", "queued", "cut off", "done", "nope")),
        {"engine": "vllm"},
        {"engine": "llama_cpp"},
        {"engine": "llamaXcpp"},
        *({"match": pattern} for pattern in ("*", "a?b-*", "A*", "[aC]*", "[!a]*", "a_b-winner", "a.c*", "[", "w*n")),
        {"match": "*-winner", "state": "stopped"},
    ]
    for chosen, sort in itertools.product(filters, SortBy):
        given = {"state": None, "engine": None, "match": None, **chosen}
        expected = in_memory(everything, sort=sort, **given)
        assert tuner.overviews(sort=sort, **given) == expected
        page = reader.studies(sort=sort, limit=1000, **given)
        assert [one.name for one in page.items] == [one.name for one in expected], (chosen, sort)
        assert list(page.items) == expected
        part = reader.studies(sort=sort, limit=2, offset=1, **given)
        assert (part.total, list(part.items)) == (len(expected), expected[1:3])


def test_rows_of_pages_are_those_of_the_studies(many: str) -> None:
    tuner = autotuner.open(many)
    everything = tuner.overviews()
    reader = tuner.reader()
    filters: list[dict[str, str]] = [
        {},
        *({"standing": standing} for standing in ("running", "queued", "cut off", "done", "nope")),
        {"engine": "vllm"},
        *({"contains": text} for text in ("A", "chat", "_", "%", ".", "nope")),
        {"contains": "winner", "standing": "stopped"},
    ]
    for chosen, sort, backward in itertools.product(filters, SortBy, (False, True)):
        expected = in_memory(everything, sort=sort, backward=backward, **chosen)  # type: ignore[arg-type]
        found = reader.rows(sort=sort, backward=backward, limit=3, offset=1, **chosen)  # type: ignore[arg-type]
        assert list(found.items) == [study_row(study) for study in expected[1:4]], (chosen, sort, backward)
        assert (found.total, found.offset) == (len(expected), 1)
        assert found.standings == Counter(study.standing for study in everything)
        assert found.engines == ("llama_cpp", "vllm")


def test_entries_are_the_same_objects_until_something_changes(many: str, store: Store) -> None:
    reader = autotuner.open(many).reader()
    first = {one.name: one for one in reader.studies().items}
    store.events.append("living", "progress", {"elapsed_s": 1.0, "total_s": 2.0}, trial=0, at=1.0)
    again = {one.name: one for one in reader.studies().items}
    assert [name for name in first if first[name] is not again[name]] == []
    store.trials.add(
        sample_study("winner").trials[0].model_copy(update={"study": "new-one", "state": TrialState.RUNNING}),
        owner_id="alive",
    )
    store.studies.set_state("a_b-winner", "failed", {"why": "x"}, 5.0)
    changed = {one.name: one for one in reader.studies().items}
    assert [name for name in first if first[name] is not changed[name]] == ["a_b-winner"]


@pytest.mark.parametrize("order", ["number", "value", "started", "duration"])
@pytest.mark.parametrize("descending", [False, True])
def test_trials_are_filtered_and_sorted(
    url: str, store: Store, add_study: AddStudy, order: str, descending: bool
) -> None:
    add_with_trials(store, add_study, "s", "failures")
    trials = autotuner.open(url).load("s").trials
    keys = {
        "number": lambda t: t.number,
        "value": lambda t: t.verdict.objectives[0] if t.verdict and t.verdict.objectives else None,
        "started": lambda t: t.started_at,
        "duration": lambda t: None if t.finished_at is None else t.finished_at - t.started_at,
    }
    known = [t for t in trials if keys[order](t) is not None]
    expected = sorted(known, key=lambda t: (-keys[order](t) if descending else keys[order](t), t.number))
    expected += [t for t in trials if keys[order](t) is None]
    reader = autotuner.open(url).reader()
    assert list(reader.trials("s", sort=order, descending=descending).items) == expected
    page = reader.trials("s", sort=order, descending=descending, state="failed", limit=2, offset=1)
    failed = [t for t in expected if t.state is TrialState.FAILED]
    assert (page.total, list(page.items)) == (len(failed), failed[1:3])
    cause = failed[0].failure.cause.value  # type: ignore[union-attr]
    causes = reader.trials("s", sort=order, descending=descending, cause=cause)
    assert list(causes.items) == [t for t in failed if t.failure and t.failure.cause.value == cause]
    met = reader.trials("s", sort=order, descending=descending, feasible=True, role="search")
    assert list(met.items) == [t for t in expected if t.role.value == "search" and t.meets_slos]


@pytest.mark.parametrize("kind", list(SampleKind))
def test_feasible_trials_are_those_that_meet_the_slos(
    url: str, store: Store, add_study: AddStudy, kind: SampleKind
) -> None:
    """As on the page of a study: a trial with open SLOs is neither feasible nor infeasible."""
    add_with_trials(store, add_study, "s", kind)
    tuner = autotuner.open(url)
    result = tuner.load("s")
    alone = result.model_copy(update={"refuted": (), "winner": None, "best": None})
    met, missed = (tuner.reader().trials("s", feasible=feasible, limit=1000).items for feasible in (True, False))
    assert [t.number for t in met] == [t.number for t in result.trials if outcome(alone, t).tone == "good"]
    done = [t for t in result.trials if t.state is TrialState.DONE]
    assert [t.number for t in missed] == [t.number for t in done if outcome(alone, t).tone == "bad"]


def test_rows_of_revision_8_get_their_columns(url: str, store: Store, add_study: AddStudy) -> None:
    spec = add_with_trials(store, add_study, "s", "winner")
    record_end(store, spec, "done", "because", fault=None)
    add_with_trials(store, add_study, "t", "failures", objectives=(LATENCY,))
    add_study("damaged")
    studies = "SELECT name, engines, deployers, maximized, ending, change FROM studies ORDER BY name"
    trials = (
        "SELECT study, number, role, feasible, value, cause, started_at, finished_at FROM trials ORDER BY study, number"
    )
    before = (store.database.rows(studies), store.database.rows(trials))
    assert [row["engines"] for row in before[0]] == [",llama_cpp,"] * 3
    assert (before[0][1]["ending"], before[0][1]["maximized"]) == ("proven_better", 1)
    assert {row["cause"] for row in before[1]} > {None, "out_of_memory"}
    with store.database.writing() as db:
        db.execute(text("UPDATE studies SET spec = '{' WHERE name = 'damaged'"))
        without_lists(db)
    with Store.open(url) as again:
        damaged, *others = again.database.rows(studies)
        assert (others, again.database.rows(trials)) == (before[0][1:], before[1])
        assert set(damaged.values()) == {"damaged", None}
        assert again.studies.deployers() == list(spec.deployers)
        listed, total = StudyList(again.source).page(StudyQuery(order="name", engine="llama_cpp"))
        assert ([one.name for one in listed], total) == (["s", "t"], 2)
        assert TrialList(again.source).page("t", TrialQuery(cause="out_of_memory"))[1] > 0


@pytest.mark.parametrize(
    "pattern", ["*", "a*", "?b", "[ab]*", "[!ab]x", "[", "a[", "[]", "[]]", "[!]]", "a.b", "a\\b", "^$"]
)
def test_patterns_mean_the_same_in_every_database(url: str, store: Store, add_study: AddStudy, pattern: str) -> None:
    names = ["a", "b", "ab", "bb", "cx", "a.b", "aXb", "A"]
    for name in names:
        add_study(name)
    listed, _ = StudyList(store.source).page(StudyQuery(order="name", match=pattern))
    assert [one.name for one in listed] == sorted(name for name in names if fnmatch(name, pattern))
