"""The Python API: ``tune`` a study and read results back. The command line is a thin layer over this module.

    import autotuner
    result = autotuner.tune("study.yaml")
    print(result.winner.configuration.values, result.gain)

Every function raises :class:`autotuner.errors.AutotunerError` (or a subclass) for what a person can mend.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from autotuner.errors import AutotunerError, Problem, StudyBusyError, UsageError, did_you_mean
from autotuner.secrets import clean_document, clean_text, remember
from autotuner.store import ReadStore, StudyRecord, UnreadableError, files, open_to_read
from autotuner.store.paths import data_home, site_file, study_folder, trial_folder
from autotuner.study.spec import NAME_PATTERN, EngineSpec, PluginSpec, StudySpec
from autotuner.study.trial import Trial

if TYPE_CHECKING:
    from autotuner.diagnosis import Diagnosis
    from autotuner.report.manifests.render import Manifest
    from autotuner.report.overview import StudyOverview
    from autotuner.report.result import StudyResult
    from autotuner.store import Store
    from autotuner.study.owner import Owner
    from autotuner.study.parameters.parameter import CatalogEntry
    from autotuner.study_file.loader import Loaded
    from autotuner.study_file.site import Site
    from autotuner.tuning.bench_session import bench as bench
    from autotuner.tuning.planning.plan import Plan
    from autotuner.tuning.planning.prepared import Prepared
    from autotuner.tuning.planning.standing import Standing

# Each function imports what it needs: to look at stored results must not cost the start-up of all engines, of the load
# generator and of the event loop.


def __getattr__(name: str) -> Any:
    if name == "bench":
        return import_module("autotuner.tuning.bench_session").bench
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


Study = StudySpec | Mapping[str, Any] | str | Path
"""A study as a noun, as the content of a study file, or as a study file's path."""


def read_study(
    path: str | Path,
    *,
    mode: str | None = None,
    benchmark: str | None = None,
    simulate: str | None = None,
    overrides: Sequence[str] = (),
) -> Loaded:
    """Reads a study file or an older task JSON.

    Args:
        path: The file.
        mode: Kind of deployer in place of the file's.
        benchmark: Kind of benchmark in place of the file's.
        simulate: GPUs to simulate (``H100x8``): the simulated engine takes the place of the file's, and the study gets
            a name that says so.
        overrides: Values in place of the file's, each as ``search.trials=5``.

    Raises:
        UsageError: With one problem per fault.
    """
    from autotuner.study_file.loader import Loaded, parse_study
    from autotuner.tuning.planning.simulating import simulated_study

    path = Path(path)
    text = _text_of(path, "autotuner init writes one")
    loaded = parse_study(
        text,
        source=str(path),
        folder=Path.cwd() if files.is_stream(path) else path.absolute().parent.resolve(),
        exists=files.exists,
        canonical_of=_canonical_of,
        mode=mode,
        benchmark=benchmark,
        overrides=overrides,
    )
    spec = loaded.spec
    changes = dict[str, PluginSpec]()
    for section, given, kind in (("deploy", spec.deploy, mode), ("benchmark", spec.benchmark, benchmark)):
        if kind is not None and given.kind != kind:
            changes[section] = PluginSpec(kind=kind)
    remember(spec)
    spec = spec.model_copy(update=changes) if changes else spec
    notes = loaded.notes
    if simulate is not None:
        spec = simulated_study(spec, simulate, mode=mode, benchmark=benchmark)
        notes = (*notes, f"simulated: no real GPU is measured; the study is stored as {spec.name}")
    return _on_this_site(Loaded(spec=spec, notes=notes, named=loaded.named))


def _text_of(path: Path, remedy: str) -> str:
    return files.read_text(path, remedy=remedy)


def _on_this_site(loaded: Loaded) -> Loaded:
    """With the settings that every study on this machine gets."""
    from autotuner.study_file.loader import Loaded
    from autotuner.study_file.site import with_site

    spec, notes = with_site(loaded.spec, _site(), str(site_file()))
    return Loaded(spec=spec, notes=(*loaded.notes, *notes), named=loaded.named)


def _site() -> Site:
    """What is set for every study on this machine."""
    from autotuner.study_file.site import parse_site

    path = site_file()
    return parse_site(_text_of(path, "unset AUTOTUNER_SITE, or write the file"), str(path)) if path else {}


def tune(
    study: Study,
    *,
    store_url: str | None = None,
    handle_signals: bool = False,
    on_start: Callable[[Owner], None] = lambda _: None,
) -> StudyResult:
    """Runs a study to its end, or goes on with a stored one, and returns its result.

    Blocks; inside a running event loop use :func:`tune_async`. ``result.winner`` is None when nothing met the SLOs.
    """
    import anyio

    return anyio.run(lambda: tune_async(study, store_url=store_url, handle_signals=handle_signals, on_start=on_start))


async def tune_async(
    study: Study,
    *,
    store_url: str | None = None,
    source: str = "python",
    handle_signals: bool = False,
    on_start: Callable[[Owner], None] = lambda _: None,
) -> StudyResult:
    """As :func:`tune`, on the running event loop (asyncio)."""
    from autotuner.report.result import study_result
    from autotuner.store import Store
    from autotuner.tuning.planning.prepared import prepare
    from autotuner.tuning.session import run_session

    loaded = loaded_study(study)
    prepared = await prepare(loaded.spec)
    source = _source_of(study) or source
    with Store.open(store_url) as store:
        outcome = await run_session(
            prepared, store, source=source, named=loaded.named, handle_signals=handle_signals, on_start=on_start
        )
        return study_result(loaded.spec, outcome.state, outcome.trials, why=outcome.why)


def _source_of(study: Study) -> str:
    return str(Path(study).absolute()) if isinstance(study, str | Path) else ""


def loaded_study(study: Study) -> Loaded:
    """Any form of a study, with how it was read."""
    from autotuner.study_file.loader import Loaded, parse_study

    if isinstance(study, StudySpec):
        return Loaded(study)
    if isinstance(study, str | Path):
        return read_study(study)
    loaded = parse_study(
        dict(study), source="study", folder=Path.cwd(), exists=files.exists, canonical_of=_canonical_of
    )
    return _on_this_site(loaded)


def with_name(loaded: Loaded, name: str | None) -> Loaded:
    """The study under another name than its file's; None: as it is. Raises ``UsageError`` for what is no name."""
    from autotuner.study_file.loader import Loaded

    if name is None:
        return loaded
    if not re.fullmatch(NAME_PATTERN, name):
        why = "is not a valid name"
        remedy = "use letters, digits, '.', '_' and '-', at most 63, a letter or digit first"
        raise UsageError(Problem(where="--name", value=name, why=why, remedy=remedy))
    return Loaded(spec=loaded.spec.model_copy(update={"name": name}), notes=loaded.notes)


def spec_of(study: Study) -> StudySpec:
    """Any form of a study as the noun."""
    return loaded_study(study).spec


def plan(
    study: Study | Loaded,
    *,
    preflight: bool = True,
    source: str = "",
    stored: bool = True,
    store_url: str | None = None,
) -> Plan:
    """What a study would do; nothing is started.

    Args:
        study: Any form of a study.
        preflight: Whether machine and target are checked.
        source: Absolute path of the study's file, where ``study`` is what was read from it.
        stored: Whether the store is looked into, for what is stored under the study's name.
        store_url: SQLAlchemy URL of the store.

    Raises:
        UsageError: Where the study cannot run, or not under its name.
    """
    import anyio

    from autotuner.study_file.loader import Loaded
    from autotuner.tuning.planning.plan import make_plan
    from autotuner.tuning.planning.prepared import prepare

    async def work() -> Plan:
        loaded = study if isinstance(study, Loaded) else loaded_study(study)
        prepared = await prepare(loaded.spec)
        found = None
        if stored:
            found = await _standing(prepared, loaded, store_url=store_url, source=source)
        return await make_plan(prepared, preflight=preflight, standing=found)

    return anyio.run(work)


async def _standing(prepared: Prepared, loaded: Loaded, *, store_url: str | None, source: str) -> Standing:
    from autotuner.store import Store
    from autotuner.tuning.planning.standing import Standing
    from autotuner.tuning.session import standing_of

    if not Store.is_made(store_url):
        return Standing(state="new")
    with Store.open(store_url) as store:
        return await standing_of(prepared, store, source=source, named=loaded.named)


def start_over(name: str, *, store_url: str | None = None) -> str:
    """Gives a stored study another, dated name, so that the next run of its file begins anew.

    Returns:
        The name that its trials and files have now; empty where nothing is stored.
    """
    from autotuner.store import Store

    if not Store.is_made(store_url):
        return ""
    with Store.open(store_url) as store:
        record = store.studies.get(name)
        if record is None:
            return ""
        _not_being_run(store, record.name, record.owner_id)
        dated = f"{name[:47]}-{time.strftime('%Y%m%d-%H%M%S')}"
        store.studies.rename(name, dated)
    if study_folder(name).exists():
        study_folder(name).rename(study_folder(dated))
    return dated


def doctor(
    study: Study | None = None,
    *,
    deploy: str = "process",
    settings: Mapping[str, Any] | None = None,
    store_url: str | None = None,
) -> Diagnosis:
    """Looks at this machine and at where servers run; nothing is started. With a study: at all that it needs; without
    one: at the target of the deployer ``deploy`` with this machine's settings. ``settings`` go before all others."""
    import anyio

    from autotuner.diagnosis import of_study, of_target

    if study is not None:
        spec = spec_of(study)
        told = PluginSpec.model_validate({**spec.deploy.settings, **(settings or {}), "kind": spec.deploy.kind})
        changed = spec.model_copy(update={"deploy": told})
        return anyio.run(lambda: of_study(changed, store_url=store_url))
    site = _site()
    target = PluginSpec.model_validate({**site.get("deploy", {}).get(deploy, {}), **(settings or {}), "kind": deploy})
    return anyio.run(lambda: of_target(target, store_url=store_url))


def result(name: str, *, store_url: str | None = None) -> StudyResult:
    """The stored result of a study, finished or not. ``name`` may be a study file's path."""
    from autotuner.report.result import study_result
    from autotuner.tuning.ending import environment_fault

    with open_to_read(store_url) as store:
        record = record_of(store, name)
        trials = store.trials.all(record.name)
    summary = record.summary or {}
    return study_result(
        record.spec,
        record.state,
        trials,
        why=str(summary.get("why", "")),
        environment_fault=environment_fault(summary),
    )


def studies(*, store_url: str | None = None) -> list[StudyRecord]:
    """All studies in the store, newest first."""
    with open_to_read(store_url) as store:
        return sorted(store.studies.all(), key=lambda r: r.updated_at, reverse=True)


def overviews(
    *, store_url: str | None = None, on_unreadable: Callable[[str], None] = lambda _: None
) -> list[StudyOverview]:
    """All studies with their progress and their answer so far, the one that changed last first. A study whose rows are
    damaged is left out, and ``on_unreadable`` gets a line on it."""
    from autotuner.report.overview import overview
    from autotuner.tuning.owners import OwnerWatch

    with open_to_read(store_url) as store:
        dead = OwnerWatch(store).dead()
        counts = store.trials.finished_counts()
        found = []
        for record in store.studies.all(lambda error: on_unreadable(str(error))):
            ended = record.state == "done"
            try:
                one = overview(
                    record,
                    running=record.owner_id is not None and record.owner_id not in dead,
                    launches=counts.get(record.name, 0),
                    newest=None if ended else store.events.last(record.name, "trial_proposed"),
                    trials=partial(store.trials.all, record.name),
                )
            except UnreadableError as error:
                on_unreadable(str(error))
            else:
                found.append(one)
    return sorted(found, key=lambda o: o.updated_at, reverse=True)


def stop(name: str, *, store_url: str | None = None) -> bool:
    """Asks the process that runs a study to end cleanly; False when none runs it."""
    from autotuner.store import Store
    from autotuner.tuning.owners import OwnerWatch

    with Store.open(store_url) as store:
        record = record_of(store, name)
        if record.owner_id is None or record.owner_id in OwnerWatch(store).dead():
            return False
        store.studies.request_stop(record.name)
        return True


def reap(*, study: str | None = None, store_url: str | None = None) -> list[str]:
    """Removes what dead owners left behind on every deployer that is installed, also where stored studies deployed
    with settings of their own; one line per removed thing."""
    import anyio

    from autotuner.plugins import loading
    from autotuner.store import Store
    from autotuner.tuning.owners import OwnerWatch, mark_ended

    async def work(store: Store) -> list[str]:
        dead = await OwnerWatch(store).settled()
        lines = list[str]()
        launching = {kind for kind, cls in loading.available("deployers").items() if cls.launches}
        used = [record.spec.deploy for record in store.studies.all()]
        for spec in _different([*(PluginSpec(kind=kind) for kind in sorted(launching)), *used]):
            if spec.kind in launching:
                with suppress(UsageError):  # of a stored study whose settings are not known any more
                    lines += await loading.deployer(spec).reap(dead.__contains__, study=study)
        for record in store.studies.all():
            if study is None or record.name == study:
                for trial in store.trials.void_owned_by(dead, record.name, time.time()):
                    lines.append(f"{record.name} trial {trial.number}: marked void")
        if study is None:  # servers of other studies may still hold what their dead owners leased
            for owner in dead:
                store.leases.release_all(owner)
            mark_ended(store, dead)
        return lines

    with Store.open(store_url) as store:
        return anyio.run(work, store)


def _different(specs: Iterable[PluginSpec]) -> list[PluginSpec]:
    """Each once; they hold lists, and cannot be hashed."""
    return list({spec.model_dump_json(): spec for spec in specs}.values())


def delete(name: str, *, store_url: str | None = None) -> None:
    """Removes a study and its files. Raises when a living process runs it."""
    from autotuner.store import Store

    with Store.open(store_url) as store:
        stored, holder = store.studies.holder(name)  # also of a study whose row cannot be read
        if not stored:
            record = record_of(store, name)
            name = record.name
            holder = record.owner_id
        _not_being_run(store, name, holder)
        store.studies.delete(name)
    shutil.rmtree(study_folder(name), ignore_errors=True)


def _not_being_run(store: Store, name: str, holder: str | None) -> None:
    import anyio

    from autotuner.tuning.owners import OwnerWatch

    if holder is not None and holder not in anyio.run(OwnerWatch(store).settled, {holder}):
        raise StudyBusyError(
            f"study {name} is being run", remedy=f"stop it first: autotuner stop {name}", details={"study": name}
        )


@dataclass(frozen=True)
class ServerLog:
    """The end of a trial's server log."""

    trial: int
    path: Path
    lines: list[str]


def server_log(name: str, trial: int | None = None, *, lines: int = 100, store_url: str | None = None) -> ServerLog:
    """The last lines of a trial's server log; the newest trial's by default."""
    with open_to_read(store_url) as store:
        record = record_of(store, name)
        numbers = [t.number for t in store.trials.all(record.name)]
    if not numbers or (trial is not None and trial not in numbers):
        known = f"it has trials 0 to {numbers[-1]}" if numbers else "it has no trials yet"
        raise UsageError(Problem(where=f"trial of {record.name}", value=str(trial), why="no such trial", remedy=known))
    number = numbers[-1] if trial is None else trial
    path = trial_folder(record.name, number) / "server.log"
    if not path.exists():
        raise AutotunerError(f"trial {number} of {record.name} has no server log at {path}")
    return ServerLog(trial=number, path=path, lines=_last_lines(path, lines))


_LOG_BYTES = 8 << 20
"""Of a log's end, at most, however many lines are asked for and however long they are."""


def _last_lines(path: Path, lines: int) -> list[str]:
    from autotuner.deployers.shared.log_tail import tail

    return clean_text(tail(path, lines, limit=_LOG_BYTES)).splitlines()[-lines:]


def trial_of(found: StudyResult, number: int) -> Trial:
    """One trial of a result. Raises ``UsageError`` where there is none of this number."""
    trial = next((t for t in found.trials if t.number == number), None)
    if trial is None:
        where = f"trial of {found.spec.name}"
        remedy = f"it has trials 0 to {found.trials[-1].number}" if found.trials else "it has no trials yet"
        raise UsageError(Problem(where=where, value=str(number), why="no such trial", remedy=remedy))
    return trial


def log_tail(name: str, trial: Trial, *, lines: int) -> list[str]:
    """The end of a trial's server log; what its failure kept of it where the file is gone."""
    path = trial_folder(name, trial.number) / "server.log"
    if lines < 1:
        return []
    if path.exists():
        return _last_lines(path, lines)
    return trial.failure.log_tail.splitlines()[-lines:] if trial.failure else []


def manifest(found: StudyResult, form: str, **options: Any) -> Manifest:
    """The winner as ``kubernetes``, ``serving-runtime``, ``inference-service`` or ``compose``; its ``text`` is
    the file. ``options`` are those of ``autotuner best`` with underscores, as text; ``start_from`` is a file's path.

    Raises ``UsageError`` for an option that is wrong or means nothing for the form, and an error of its own where the
    engine would start something else now than what was measured.
    """
    import anyio

    from autotuner.manifests.origin import origin_in
    from autotuner.plugins import loading
    from autotuner.report.manifests.options import Form, parse_options
    from autotuner.report.manifests.render import manifest_of
    from autotuner.report.manifests.winner import winner_of

    if options.get("start_from") is not None:
        options["start_from"] = _text_of(Path(options["start_from"]), "name a file with a runtime of OME")
    read = parse_options(form, options)
    deployer = loading.deployer(found.spec.deploy)
    model = anyio.run(deployer.locate, found.spec.model)
    origin_of = origin_in(deployer.settings)
    winner = winner_of(found, model, image_of=deployer.image, origin_of=origin_of, server=read.server)
    return manifest_of(winner, Form(form), read)


def write_report(found: StudyResult, path: Path | None = None) -> Path:
    """Writes the HTML report; by default beside the study's trials."""
    from autotuner.report.html.page import html_report

    text = clean_document(html_report(found))
    if path is not None:
        files.write_output(path, text)
        return path
    path = study_folder(found.spec.name) / "report.html"
    files.write_private(path, text)
    return path


def write_text(path: Path, text: str) -> None:
    """Writes what the user asked for to where they said; see :func:`autotuner.store.files.write_output`."""
    files.write_output(path, clean_document(text))


def schema() -> dict[str, Any]:
    """JSON Schema of the study file, the installed plugins' settings included."""
    from autotuner.plugins import loading
    from autotuner.study_file.json_schema import study_schema

    return study_schema(
        {
            group: {kind: cls.Settings.model_json_schema() for kind, cls in loading.available(group).items()}
            for group in get_args(loading.Group)
        }
    )


def params(kind: str) -> list[CatalogEntry]:
    """The parameter catalog of an engine."""
    from autotuner.plugins import loading

    return list(loading.load("engines", kind).catalog.values())


def write_starter(path: Path, *, engine: str, model: str | None = None, server: str | None = None) -> Path:
    """Writes a commented study file for this machine; never over an existing one.

    Args:
        path: The file.
        engine: Kind of engine.
        model: The model's path or hub id; None is an example.
        server: The engine's program; None is the usual one, for llama.cpp a ``llama-server`` on PATH.

    Raises:
        UsageError: Where the file exists, or the engine is unknown or takes no program.
    """
    import anyio

    from autotuner.plugins import loading
    from autotuner.study_file.loader import default_name
    from autotuner.tuning.planning.starter import Start, starter_text

    if files.exists(path) or path.is_symlink():
        raise UsageError(Problem(where=str(path), why="exists already", remedy="name another file"))
    name = default_name(str(path), path.resolve().parent)
    cls = loading.load("engines", engine)
    if server is not None and "server" not in cls.Settings.model_fields:
        raise UsageError(
            Problem(where="--server", value=server, why=f"{engine} takes no program", remedy="leave it out")
        )
    if server is None and engine == "llama_cpp":
        server = shutil.which("llama-server")
    hardware = anyio.run(loading.deployer(PluginSpec(kind="process")).hardware)
    start = Start(
        name=name,
        model=model or cls.starter_model,
        hardware=hardware,
        server=server or "",
        deploy="process" if cls.starter_deployer == "docker" and not _docker_is_here() else "",
        schema=str(_schema_file()),
    )
    write_text(path, starter_text(start, cls))
    return path


def _docker_is_here() -> bool:
    return "DOCKER_HOST" in os.environ or Path("/var/run/docker.sock").exists() or shutil.which("docker") is not None


def _schema_file() -> Path:
    """The JSON Schema of study files, written anew: plugins may have come or gone."""
    path = data_home() / "study.schema.json"
    files.write_private(path, json.dumps(schema(), indent=1) + "\n")
    return path


def record_of(store: ReadStore, name: str) -> StudyRecord:
    """A stored study by its name, or by the path of its file. Raises ``UsageError`` where it is not stored."""
    if name.endswith((".yaml", ".yml", ".json")) and files.exists(Path(name)):
        name = read_study(name).spec.name
    record = store.studies.get(name)
    if record is None:
        known = [r.name for r in store.studies.all()]
        raise UsageError(
            Problem(
                where="study", value=name, why="not in the store", remedy=did_you_mean(name, known) or "autotuner run"
            )
        )
    return record


def _canonical_of(spec: EngineSpec) -> Callable[[str], str]:
    from autotuner.plugins import loading

    engine = loading.engine(spec)
    return engine.canonical
