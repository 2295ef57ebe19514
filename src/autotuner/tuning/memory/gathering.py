"""Collects what earlier studies in the store say about a new one."""

from dataclasses import dataclass, field

from autotuner.errors import MissingExtraError, Problem, UsageError, did_you_mean
from autotuner.plugins import loading
from autotuner.plugins.engine import Engine
from autotuner.store import ReadStore, StudyRecord, UnreadableError
from autotuner.study.check import Check
from autotuner.study.environment_facts import Facts
from autotuner.study.search.beginning import Beginning, LearnedFrom, UnusedStudy
from autotuner.study.search.evidence import NO_EVIDENCE, EarlierStudy, Evidence, Facet
from autotuner.study.spec import StudySpec
from autotuner.tuning.memory.earlier_trials import Translation
from autotuner.tuning.memory.relation import SEVERAL_ENGINES, Described, drifted, obstacle
from autotuner.tuning.planning.prediction.predictions import Predictions
from autotuner.tuning.planning.prepared_study import Prepared

_MOST_STUDIES = 20
_MOST_UNUSED = 10
"""Names that are stored of the studies that are not used: each study would store all earlier ones."""
_MOST_LEVELS = 600
"""Measured levels that a search learns from; its time for a proposal grows with them."""


@dataclass
class Gathered:
    """What was found."""

    evidence: Evidence = NO_EVIDENCE
    unused: list[UnusedStudy] = field(default_factory=list)

    def beginning(self, prepared: Prepared) -> Beginning:
        """What is known when the study begins."""
        hardware = None if prepared.hardware_assumed else prepared.hardware
        kept = tuple(self.unused[:_MOST_UNUSED])
        learned = tuple(LearnedFrom.of(study) for study in self.evidence.studies)
        return Beginning(hardware=hardware, learned=learned, unused=kept, more_unused=len(self.unused) - len(kept))


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
    new = Described(spec, prepared.engine, prepared.hardware, world)
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
        if isinstance(made, _Related):
            related.append(made)
        else:
            refuse(record.name, made)
    related.sort(key=lambda r: (-len(r.shared), -r.record.updated_at, r.record.name))
    studies = list[EarlierStudy]()
    for one in related:
        if len(studies) == _MOST_STUDIES or sum(s.windows for s in studies) >= _MOST_LEVELS:
            why = "enough is known from more closely related studies"
            found.unused.append(UnusedStudy(study=one.record.name, why=why))
            continue
        learned = _learned(prepared, one, store, _MOST_LEVELS - sum(s.windows for s in studies))
        if isinstance(learned, EarlierStudy):
            studies.append(learned)
        else:
            refuse(one.record.name, learned)
    found.evidence = Evidence(studies=tuple(studies))
    return found


def warm_start_checks(prepared: Prepared) -> list[Check]:
    """Says that a study which might learn from others by its search does not."""
    spec = prepared.spec
    if not spec.engines or spec.search.warm_start != "auto" or not prepared.search().uses_evidence:
        return []
    why = f"{SEVERAL_ENGINES}, so it does not learn from other studies, nor do others learn from it"
    return [Check.ok("search.warm_start", why)]


def _unfit(prepared: Prepared) -> Problem | None:
    """Why the search learns from no study, whatever is stored; None if it may."""
    spec = prepared.spec
    where = "search.warm_start"
    if not prepared.search().uses_evidence:
        why = f"strategy {spec.search.kind} does not learn from other studies"
        return Problem(where=where, why=why, remedy="use strategy: calibrated")
    if spec.engines:
        why = f"{SEVERAL_ENGINES}, so it does not learn from other studies"
        return Problem(where=where, why=why, remedy="remove it")
    if not spec.parameters or not prepared.deployer.launches:
        why = "nothing is tuned, so nothing can be learned from other studies"
        return Problem(where=where, why=why, remedy="remove it")
    return None


def _candidates(spec: StudySpec, store: ReadStore) -> list[StudyRecord]:
    """The stored studies that are named, or all others of the same engine."""
    records = {r.name: r for r in store.studies.all()}
    wanted = spec.search.warm_start
    if isinstance(wanted, tuple):
        _check_names(spec, wanted)
        return [_named(records, name, index) for index, name in enumerate(wanted)]
    begun = [r for r in records.values() if r.beginning is not None or r.state != "new"]
    return [r for r in begun if r.name != spec.name and r.spec.engine.kind == spec.engine.kind]


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
    """A stored study that may be learned from."""

    record: StudyRecord
    described: Described
    shared: tuple[Facet, ...]


def _related(new: Described, record: StudyRecord, engines: dict[str, Engine]) -> _Related | str:
    """How a stored study is related to the new one, or why it cannot be learned from. ``engines`` keeps those that were
    loaded: looking up a plugin reads the metadata of all installed packages."""
    why = obstacle(new.spec, record.spec, record.beginning)
    if why or record.beginning is None or record.beginning.hardware is None:
        return why or "its hardware is not known"
    own = record.spec.engine
    key = repr((own.kind, sorted(own.settings.items())))
    try:
        engine = engines.setdefault(key, engines.get(key) or loading.engine(own))
    except (UsageError, MissingExtraError) as error:
        return f"its engine cannot be loaded ({error})"
    old = Described(record.spec, engine, record.beginning.hardware, record.world)
    return _Related(record, old, tuple(f for f in Facet if old.facets[f] == new.facets[f]))


def _learned(prepared: Prepared, one: _Related, store: ReadStore, most: int) -> EarlierStudy | str:
    """At most so many measured levels of an earlier study, or why nothing can be learned from it."""
    try:
        stored = store.trials.all(one.record.name)
    except UnreadableError as error:
        return str(error)
    if not any(t.state.finished for t in stored):
        return "it has no finished trial"
    if drifted(stored):
        return "model, server or machine changed while it ran"
    spec = one.record.spec
    predictions = Predictions(
        one.described.engine,
        spec.model,
        one.described.hardware,
        here=prepared.deployer.here,
        prior=prepared.forecasts.prior,  # of another one, predictions would not be comparable
    )
    same_server = {Facet.MODEL, Facet.GPU, Facet.ENGINE} <= {*one.shared}
    same_load = Facet.WORKLOAD in one.shared
    trials = Translation(prepared, spec, one.described.engine, predictions, same_server, same_load).trials(stored, most)
    if not any(t.windows for t in trials):
        return "no measurements of this kind of load"
    predicted = any(w.predicted for t in trials for w in t.windows)
    if Facet.MODEL not in one.shared and not predicted:
        return f"another model ({spec.model.path}), and no prediction relates the two"
    return EarlierStudy(
        study=one.record.name,
        facets=one.described.facets,
        shared=one.shared,
        slos=spec.slos,
        source="predicted" if predicted else "",
        trials=tuple(trials),
    )
