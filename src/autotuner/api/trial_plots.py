"""What the files of a trial say beyond its stored figures: distributions of latencies, and metrics over time."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from autotuner.api.results import record_of
from autotuner.benchmarks.measuring.plots.latency_values import read_latencies
from autotuner.benchmarks.measuring.plots.server_history import figures_over_time
from autotuner.benchmarks.measuring.server_samples import read_samples_file
from autotuner.errors import NotFoundError
from autotuner.plugins.loading import metrics_sources
from autotuner.report.views.latencies import Floats, WindowLatencies, latency_distribution
from autotuner.report.views.trial_history import PhaseSpan, Track, TrialHistory, gpu_charts, server_charts
from autotuner.store import ReadStore, open_to_read
from autotuner.store.paths import trial_folder
from autotuner.study.launch import GpuSample
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO
from autotuner.study.trial import Trial
from autotuner.tuning.trials.telemetry import FILE as GPU_FILE

_PARTS = {"looks", "measurements", "capacities"}


def latencies(url: str | None, name: str, number: int, window: str) -> WindowLatencies:
    """See :meth:`autotuner.api.stored.StoredStudies.latencies`."""
    trial, slos = _trial(url, name, number)
    measured = _window(trial, window)
    values, missing = _latency_values(trial, measured)
    return WindowLatencies(
        study=trial.study,
        trial=number,
        window=window,
        scenario=measured.scenario,
        level=measured.level.text,
        simulated=trial.simulated,
        missing=missing,
        latencies=tuple(
            latency_distribution(metric, measured, *values[metric], slos)
            for metric in measured.distributions
            if metric in values
        ),
    )


def history(url: str | None, name: str, number: int) -> TrialHistory:
    """See :meth:`autotuner.api.stored.StoredStudies.trial_history`."""
    trial, _ = _trial(url, name, number)
    with open_to_read(url) as store:
        phases = list(_phases(store, trial))
    begin = phases[0].begin if phases else trial.started_at or trial.created_at
    gpus = _gpu_samples(trial_folder(trial.study, number) / GPU_FILE)
    ends = [trial.finished_at, *(span.end for span in phases), *(sample.at for sample in gpus[-1:])]
    end = max((at for at in ends if at is not None), default=begin)
    return TrialHistory(
        study=trial.study,
        trial=number,
        simulated=trial.simulated,
        began_at=begin,
        length_s=end - begin,
        phases=tuple(p.model_copy(update={"begin": p.begin - begin, "end": p.end - begin}) for p in phases),
        charts=(*server_charts(_server_tracks(trial, begin)), *gpu_charts(gpus, begin)),
    )


def _trial(url: str | None, name: str, number: int) -> tuple[Trial, tuple[SLO, ...]]:
    with open_to_read(url) as store:
        record = record_of(store, name)
        trial = store.trials.get(record.name, number)
    if trial is None:
        raise NotFoundError.at(f"trial of {name}", "no such trial", value=str(number))
    return trial, record.spec.slos


def _latency_values(trial: Trial, measured: Measurement) -> tuple[Mapping[str, tuple[Floats, int]], str]:
    """The latencies in a window's request records, or why there are none."""
    if measured.records is None:
        return {}, "no request records were kept"
    try:
        values = read_latencies(trial_folder(trial.study, trial.number) / Path(measured.records).name)
    except FileNotFoundError:
        return {}, "the request records are not on this machine, or were deleted"
    except (OSError, ValueError) as error:
        return {}, f"the request records cannot be read: {error}"
    return values, "" if values else "no request has a latency"


def _window(trial: Trial, place: str) -> Measurement:
    """The window at ``measurements.0``, ``looks.0`` or ``capacities.0.levels.3``."""
    found: object = trial
    parts = place.split(".")
    try:
        if parts[0] not in _PARTS:
            raise AttributeError(place)
        for part in parts:
            found = found[int(part)] if isinstance(found, tuple) else getattr(found, part)
        measured = getattr(found, "measurement", found)
    except (AttributeError, IndexError, ValueError):
        measured = None
    if not isinstance(measured, Measurement):
        raise NotFoundError.at(f"window of trial {trial.number}", "no such window", value=place)
    return measured


def _phases(store: ReadStore, trial: Trial) -> Iterator[PhaseSpan]:
    """The phases of a trial in seconds since the epoch, each until the next one begins."""
    events = store.events.of_trial(trial.study, trial.number, "phase")
    ends = [*(event.at for event in events[1:]), trial.finished_at]
    for event, end in zip(events, ends, strict=bool(events)):
        if end is not None:  # the last phase of a running trial has no end yet
            data = {key: str(event.data.get(key, "")) for key in ("phase", "scenario", "level")}
            yield PhaseSpan(**data, begin=event.at, end=max(event.at, end))


def _windows(trial: Trial) -> Iterator[Measurement]:
    """All windows of a trial in the order of time."""
    levels = (level.measurement for found in trial.capacities for level in found.levels)
    yield from sorted((*trial.looks, *trial.measurements, *levels), key=lambda m: m.started_at)


def _server_tracks(trial: Trial, begin: float) -> Mapping[str, Track]:
    """Figures of the server over all windows, interrupted between them."""
    sources = metrics_sources()
    tracks: dict[str, tuple[list[float], list[float | None]]] = {}
    seen = set[str]()
    for measured in _windows(trial):
        name = measured.server.file if measured.server else None
        if name is None or name in seen:  # the window at a capacity is also one of its levels
            continue
        seen.add(name)
        try:
            samples = read_samples_file(trial_folder(trial.study, trial.number) / Path(name).name)
        except (OSError, ValueError):
            continue  # the files may be on another machine, and other windows may still have theirs
        times, figures = figures_over_time(samples, sources)
        offset = measured.started_at - begin
        for figure, values in figures.items():
            at, known = tracks.setdefault(figure, ([], []))
            if at:
                at.append(max(at[-1], times[0] + offset))
                known.append(None)
            at += (time + offset for time in times)
            known += values
    return tracks


def _gpu_samples(path: Path) -> list[GpuSample]:
    """The samples of the GPUs' sensors; none if the file is missing. An incomplete last line is skipped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(GpuSample.model_validate_json(line))
        except ValidationError:
            continue
    return found
