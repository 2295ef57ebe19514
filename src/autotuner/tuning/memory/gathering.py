"""Collects what earlier studies in the store say about a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autotuner.errors import MissingExtraError, Problem, UsageError, did_you_mean
from autotuner.plugins import loading
from autotuner.plugins.engine import Engine
from autotuner.store import ReadStore, StudyRecord, UnreadableError
from autotuner.study.configuration import Configuration
from autotuner.study.environment_facts import Facts, facts_of
from autotuner.study.parameters.engines import own_values
from autotuner.study.search.beginning import Beginning, LearnedFrom, UnusedStudy
from autotuner.study.search.evidence import NO_EVIDENCE, EarlierStudy, Evidence, Facet
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.tuning.memory.earlier_trials import Translation
from autotuner.tuning.memory.present_terms import in_common_space
from autotuner.tuning.memory.relation import Described, drifted, obstacle
from autotuner.tuning.planning.prediction.predictions import Predictions
from autotuner.tuning.planning.prepared_study import Prepared

_MOST_STUDIES = 20
_MOST_UNUSED = 10
"""Names that are stored of the studies that are not used: each study would store all earlier ones."""
_MOST_LEVELS = 600
"""Measured levels that a search learns from; its time for a proposal grows with them."""
_ENOUGH = "enough is known from more closely related studies"


@dataclass
class Gathered:
    """What was found."""

    evidence: Evidence = NO_EVIDENCE
    unused: list[UnusedStudy] = field(default_factory=list)

    def beginning(self, prepared: Prepared) -> Beginning:
        """What is known when the study begins."""
        known = {name: e.hardware for name, e in prepared.by_engine.items() if not e.hardware_assumed}
        kept = tuple(self.unused[:_MOST_UNUSED])
        return Beginning(
            hardware=known.get(next(iter(prepared.by_engine))),
            engine_hardware=known if prepared.spec.engines else {},
            learned=tuple(LearnedFrom.of(study) for study in self.evidence.studies),
            unused=kept,
            more_unused=len(self.unused) - len(kept),
        )


def gather(prepared: Prepared, store: ReadStore, world: Facts) -> Gathered:
    """What the search of a study may learn from. Read-only.

    Args:
        prepared: The new study.
        store: Where earlier ones are.
        world: The present facts about the environment.

    Raises:
        UsageError: If a study that ``search.warm_start`` names cannot be learned from.
    """
    spec = prepared.spec
    wanted = spec.search.warm_start
    if wanted == "none":
        return Gathered()
    if unfit := _unfit(prepared):
        if isinstance(wanted, tuple):
            raise UsageError(unfit)
        return Gathered()
    new = {
        name: Described(own.spec, own.engine, own.hardware, facts_of(name, world))
        for name, own in prepared.by_engine.items()
    }
    found = Gathered()

    def refuse(name: str, why: str) -> None:
        if isinstance(wanted, tuple):
            where = f"search.warm_start[{wanted.index(name)}]"
            raise UsageError(Problem(where=where, value=name, why=why, remedy="remove it from the list"))
        found.unused.append(UnusedStudy(study=name, why=why))

    related = list[_Related]()
    engines = dict[str, Engine]()
    for record in _candidates(spec, store):
        made = _related(new, record, engines)
        if isinstance(made, str):
            refuse(record.name, made)
        else:
            related += made
    related.sort(key=lambda r: (-len(r.shared), -r.record.updated_at, r.record.name))
    studies, left_out = _closest(prepared, related, store)
    for name, why in left_out.items():
        if why == _ENOUGH:
            found.unused.append(UnusedStudy(study=name, why=why))
        else:
            refuse(name, why)
    found.evidence = Evidence(studies=tuple(studies))
    return found


def check_without_store(prepared: Prepared) -> None:
    """Raises ``UsageError`` if the study names studies to learn from: without a store, none of them exists."""
    wanted = prepared.spec.search.warm_start
    if not isinstance(wanted, tuple):
        return
    if unfit := _unfit(prepared):
        raise UsageError(unfit)
    _check_names(prepared.spec, wanted)
    for index, name in enumerate(wanted):
        _named({}, name, index)


def _closest(
    prepared: Prepared, related: Sequence["_Related"], store: ReadStore
) -> tuple[list[EarlierStudy], dict[str, str]]:
    """What may be learned, and the names of the studies of which nothing is, with the reason."""
    studies = list[EarlierStudy]()
    left_out = dict[str, str]()
    for one in related:
        if len(studies) == _MOST_STUDIES or sum(s.windows for s in studies) >= _MOST_LEVELS:
            left_out.setdefault(one.record.name, _ENOUGH)
            continue
        learned = _learned(prepared, one, store, _MOST_LEVELS - sum(s.windows for s in studies))
        if isinstance(learned, EarlierStudy):
            studies.append(learned)
        else:
            left_out.setdefault(one.record.name, learned)
    used = {s.study for s in studies}
    return studies, {name: why for name, why in left_out.items() if name not in used}


def _unfit(prepared: Prepared) -> Problem | None:
    """Why the search learns from no study, whatever is stored; None if it may."""
    spec = prepared.spec
    where = "search.warm_start"
    if not prepared.search().uses_evidence:
        why = f"strategy {spec.search.kind} does not learn from other studies"
        return Problem(where=where, why=why, remedy="use strategy: calibrated")
    if not spec.parameters or not any(own.deployer.launches for own in prepared.by_engine.values()):
        why = "nothing is tuned, so nothing can be learned from other studies"
        return Problem(where=where, why=why, remedy="remove it")
    return None


def _candidates(spec: StudySpec, store: ReadStore) -> list[StudyRecord]:
    """The stored studies that are named, or all others with an engine in common."""
    records = {r.name: r for r in store.studies.all()}
    wanted = spec.search.warm_start
    if isinstance(wanted, tuple):
        _check_names(spec, wanted)
        return [_named(records, name, index) for index, name in enumerate(wanted)]
    begun = [r for r in records.values() if r.beginning is not None or r.state != "new"]
    return [r for r in begun if r.name != spec.name and {*r.spec.engine_kinds} & {*spec.engine_kinds}]


def _check_names(spec: StudySpec, wanted: tuple[str, ...]) -> None:
    for index, name in enumerate(wanted):
        why = "a study cannot learn from itself" if name == spec.name else ""
        why = why or ("is named twice" if name in wanted[:index] else "")
        if why:
            where = f"search.warm_start[{index}]"
            raise UsageError(Problem(where=where, value=name, why=why, remedy="remove it from the list"))


def _named(records: dict[str, StudyRecord], name: str, index: int) -> StudyRecord:
    if name not in records:
        remedy = did_you_mean(name, [*records]) or "list them: autotuner list"
        raise UsageError(
            Problem(where=f"search.warm_start[{index}]", value=name, why="no such study is stored", remedy=remedy)
        )
    return records[name]


@dataclass(frozen=True)
class _Related:
    """A stored study, or one of its engines, that an engine of the new study may learn from."""

    record: StudyRecord
    part: str
    """The stored study's engine; empty if it has only one."""
    described: Described
    """The stored study as if it had only this engine."""
    engine: str
    """The new study's engine; empty if it has only one."""
    shared: tuple[Facet, ...]

    def trials(self, stored: Sequence[Trial]) -> list[Trial]:
        """Those of the stored study's trials that ran on this engine, by the engine's own names."""
        if not self.part:
            return [*stored]
        own = (t for t in stored if self.record.spec.engine_name(t.configuration) == self.part)
        return [
            t.replaced(configuration=Configuration(values=own_values(self.part, t.configuration.values))) for t in own
        ]


def _related(new: Mapping[str, Described], record: StudyRecord, engines: dict[str, Engine]) -> list[_Related] | str:
    """For each engine of the new study the most closely related one of a stored study, or why nothing can be learned
    from it. ``engines`` keeps those that were loaded: looking up a plugin reads the metadata of all installed
    packages."""
    found = list[_Related]()
    obstacles = list[str]()
    for name, described in new.items():
        parts = list[_Related]()
        for part in [e.name for e in record.spec.engines] or [""]:
            old = _described(described.spec, record, part, engines)
            if isinstance(old, str):
                obstacles.append(old)
                continue
            shared = tuple(f for f in Facet if old.facets[f] == described.facets[f])
            parts.append(_Related(record, part, old, name, shared))
        found += sorted(parts, key=lambda r: (-len(r.shared), r.part != r.engine))[:1]
    return found or obstacles[0]


def _described(new: StudySpec, record: StudyRecord, part: str, engines: dict[str, Engine]) -> Described | str:
    """A stored study as if it had this engine only, or why a new one cannot learn from it."""
    spec = record.spec.of_engine(part)
    if why := obstacle(new, spec, record.beginning):
        return why
    hardware = record.beginning.hardware_of(part) if record.beginning is not None else None
    if hardware is None:
        return "its hardware is not known"
    key = repr((spec.engine.kind, sorted(spec.engine.settings.items())))
    try:
        engine = engines.setdefault(key, engines.get(key) or loading.engine(spec.engine))
    except (UsageError, MissingExtraError) as error:
        return f"its engine cannot be loaded ({error})"
    return Described(spec, engine, hardware, facts_of(part, record.world))


def _learned(prepared: Prepared, one: _Related, store: ReadStore, most: int) -> EarlierStudy | str:
    """At most so many measured levels of an earlier study, or why nothing can be learned from it."""
    try:
        stored = one.trials(store.trials.all(one.record.name))
    except UnreadableError as error:
        return str(error)
    if not any(t.state.finished for t in stored):
        return "it has no finished trial"
    if drifted(stored):
        return "model, server or machine changed while it ran"
    own = prepared.by_engine[one.engine]
    spec = one.described.spec
    predictions = Predictions(
        one.described.engine,
        spec.model,
        one.described.hardware,
        here=own.deployer.here,
        prior=own.forecasts.prior,  # of another one, predictions would not be comparable
    )
    same_server = {Facet.MODEL, Facet.GPU, Facet.ENGINE} <= {*one.shared}
    same_load = Facet.WORKLOAD in one.shared
    trials = Translation(own, spec, one.described.engine, predictions, same_server, same_load).trials(stored, most)
    if not any(t.windows for t in trials):
        return "no measurements of this kind of load"
    predicted = any(w.predicted for t in trials for w in t.windows)
    if Facet.MODEL not in one.shared and not predicted:
        return f"another model ({spec.model.path}), and no prediction relates the two"
    return EarlierStudy(
        study=one.record.name,
        engine=one.engine,
        facets=one.described.facets,
        shared=one.shared,
        slos=spec.slos,
        source="predicted" if predicted else "",
        trials=tuple(in_common_space(prepared, one.engine, t) for t in trials),
    )
