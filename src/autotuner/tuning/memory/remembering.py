"""What a study knows of earlier ones: gathered when it begins, and the same whenever it resumes."""

from autotuner.store import ReadStore, Store
from autotuner.study.environment_facts import Facts
from autotuner.study.search.beginning import Beginning
from autotuner.tuning.memory.gathering import gather
from autotuner.tuning.planning.prepared_study import Prepared


def remembered(prepared: Prepared, store: ReadStore, world: Facts, *, results: int) -> Beginning:
    """What :func:`begin` would store. Read-only."""
    known = _known(prepared, store, results)
    return gather(prepared, store, world).beginning(prepared) if known is None else known


def begin(prepared: Prepared, store: Store, world: Facts, *, results: int) -> Beginning:
    """Stores what is known at the beginning of a study, unless it has begun.

    Args:
        prepared: The study as its file has it now.
        store: Where it and earlier studies are.
        world: The present facts about the environment.
        results: Number of its stored results that count.

    Raises:
        UsageError: If a study that ``search.warm_start`` names cannot be learned from.
    """
    known = _known(prepared, store, results)
    if known is not None:
        return known
    found = gather(prepared, store, world)
    beginning = found.beginning(prepared)
    store.studies.begin(prepared.spec.name, beginning, found.evidence)
    return beginning


def _known(prepared: Prepared, store: ReadStore, results: int) -> Beginning | None:
    """What the stored study keeps; None if it has no results yet, or its file asks for other evidence now."""
    record = store.studies.get(prepared.spec.name)
    if record is None or not results:
        return None
    old = record.spec.search
    new = prepared.spec.search
    return (record.beginning or Beginning()) if (old.kind, old.warm_start) == (new.kind, new.warm_start) else None
