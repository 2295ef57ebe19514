"""Conversion of the older task JSON into the form of a study file, key by key.

The meaning of the keys follows novitalabs/inference-autotuner (src/orchestrator.py, src/utils/optimizer.py and
src/controllers/direct_benchmark_controller.py at commit c86a814): times in SLOs are seconds; ``timeout_per_iteration``
is in seconds and applied once to the start and once to the benchmark; ``max_time_per_iteration`` was passed to
genai-bench's ``--max-time-per-run``, so it is in minutes. Nothing is ignored silently: a key without a meaning here is
an error or a note. See ``docs/reference/older-task-json.md``.
"""

from collections.abc import Mapping
from typing import Any

from autotuner.errors import did_you_mean
from autotuner.study_file.legacy.portable import OlderPortable
from autotuner.study_file.located_document import Document

Path = tuple[str | int, ...]

_STRATEGIES = {"grid_search": "grid", "random": "random", "bayesian": "bayesian"}
_OBJECTIVES = {
    "minimize_latency": "min mean e2e_latency",
    "maximize_throughput": "max output_throughput",
    "minimize_ttft": "min mean ttft",
    "minimize_tpot": "min mean tpot",
}
_DEPLOYERS = {
    **{kind: kind for kind in ("docker", "process", "ome", "kubernetes", "external")},
    "local": "process",
}
_FLAGS = {
    "tp": "tp-size",
    "pp": "pp-size",
    "dp": "dp-size",
    "mem-frac": "mem-fraction-static",
    "mem-fraction": "mem-fraction-static",
    "schedule-conservativeness": "schedule-conservativeness",
}
"""Abbreviations of SGLang's flags in older tasks. Other engines have flags of these names."""

_TOP = (
    "task_name", "description", "model", "base_runtime", "parameters", "optimization", "benchmark", "slo",
    "runtime_image_tag", "deployment_mode", "deployment",
)  # fmt: skip
_ENGINE_WORDS = {
    "sglang": "sglang",
    "srt": "sglang",
    "vllm": "vllm",
    "tensorrt": "tensorrt_llm",
    "trtllm": "tensorrt_llm",
}
"""Engine by a word in the name of an OME runtime."""
_OME_ONLY = ("clusterbasemodel_config", "clusterservingruntime_config", "storage")
_NOT_CREATED = {
    "clusterbasemodel_config": "model objects are not created; model.id_or_path names one of the cluster",
    "clusterservingruntime_config": "runtimes are not created; base_runtime names one of the cluster",
    "storage": "OME does not serve models from a claim; the model object names their folder on the nodes",
}
_PORTABLE = ("quant_config", "parallel_config")
_KINDS = {
    **dict.fromkeys(("llama-cpp", "llama.cpp", "llamacpp"), "llama_cpp"),
    **dict.fromkeys(("tensorrt-llm", "tensorrtllm", "trtllm"), "tensorrt_llm"),
}
ENGINES = frozenset({*_ENGINE_WORDS.values(), *_KINDS, *_KINDS.values(), "simulated"})
"""Values of ``base_runtime`` that name an engine; others name a runtime or a plugin."""
_BENCHMARK = (
    "task", "model_name", "model_tokenizer", "traffic_scenarios", "num_concurrency", "max_time_per_iteration",
    "max_requests_per_iteration", "additional_params",
)  # fmt: skip
_NO_IGNORE_EOS = "ome_job"
"""The benchmark that cannot send ``ignore_eos``; a task has no key to turn it off."""
_OPTIMIZATION = ("strategy", "objective", "max_iterations", "timeout_per_iteration")
_BOUND = ("threshold", "weight", "hard_fail", "fail_ratio")


def is_older(data: Mapping[str, Any]) -> bool:
    """Whether the data is an older task and not a study."""
    return "task_name" in data or ("optimization" in data and "objective" not in data)


def native_of(document: Document, mode: str | None = None, benchmark: str | None = None) -> tuple[Document, list[str]]:
    """Converts a task.

    Args:
        document: The task.
        mode: Overrides the task's ``deployment_mode``.
        benchmark: Kind of benchmark to measure with, which a task does not name.

    Returns:
        The task as a study file, with its lines and problems, and notes on what is not used.
    """
    task = _Task(document, mode, benchmark)
    return task.native(), task.notes


class _Task:
    def __init__(self, document: Document, mode: str | None, benchmark: str | None) -> None:
        self.old = document
        self._given_mode = mode
        self._benchmark_kind = benchmark
        self.new = Document(document.source, {}, {(): document.lines.get((), 1)} if document.lines else {})
        self.new.problems = document.problems
        self.notes: list[str] = []

    def native(self) -> Document:
        """The whole task as a study file."""
        data = self.old.data
        known = (*_TOP, *_OME_ONLY, *_PORTABLE)
        for key in data:
            if key not in known:
                self.old.unknown((key,), known)
        self._put("name", data.get("task_name"), ("task_name",))
        self._model()
        self._engine()
        self._parameters()
        self._portable()
        self._optimization()
        self._benchmark()
        self._slo()
        return self.new

    def _put(self, key: str, value: Any, origin: Path, *inner: str | int) -> None:
        """Sets a key of the study file and records the line of the task that it comes from."""
        if value is None:
            return
        if not inner:
            self.new.data[key] = value
        else:
            self.new.data.setdefault(key, {})[inner[0]] = value
        self._line((key, *inner), origin)

    def _line(self, path: Path, origin: Path) -> None:
        for n in range(len(origin), 0, -1):
            if origin[:n] in self.old.lines:
                self.new.lines[path] = self.old.lines[origin[:n]]
                self.new.lines.setdefault(path[:1], self.old.lines[origin[:1]])
                break
        for old, line in self.old.lines.items():
            if old[: len(origin)] == origin and len(old) > len(origin):
                self.new.lines[(*path, *old[len(origin) :])] = line

    def _section(self, key: str, known: tuple[str, ...] | None, *, required: bool = True) -> dict[str, Any]:
        """A mapping of the task with the ``known`` keys; None: any keys."""
        found = self.old.data.get(key)
        if found is None:
            if required:
                self.old.fault((key,), "missing", remedy="this key is required")
            return {}
        if not isinstance(found, dict):
            self.old.fault((key,), "must be a mapping", value=found)
            return {}
        for inner in found:
            if known is not None and inner not in known:
                self.old.unknown((key, inner), known)
        return found

    def _model(self) -> None:
        model = self._section("model", ("id_or_path", "name", "namespace"))
        path = model.get("id_or_path", model.get("name"))
        if model and path is None:
            self.old.fault(("model", "id_or_path"), "missing", remedy="this key is required")
        self._put("model", path, ("model", "id_or_path"), "path")
        benchmark = self.old.data.get("benchmark")
        served = model.get("name") or (benchmark.get("model_name") if isinstance(benchmark, dict) else None)
        if self._mode() != "ome":
            self._put("model", served, ("model", "name"), "name")
        elif served not in {None, path}:
            self.notes.append(f"requests use the model name that the runtime serves; {served} is not used")

    def _mode(self) -> str:
        given = self._given_mode or self.old.data.get("deployment_mode")
        return str(given if given is not None else self._usual_mode())

    def _usual_mode(self) -> str:
        """The mode of a task without one.

        The older tool deployed with OME by default, so a task that names a runtime of a cluster is one for OME. A task
        that names an engine was run elsewhere.
        """
        if any(key in self.old.data for key in _OME_ONLY):
            return "ome"
        runtime = self.old.data.get("base_runtime")
        return "local" if runtime is None or str(runtime) in ENGINES else "ome"

    def _engine(self) -> None:
        data = self.old.data
        mode = self._mode()
        runtime = data.get("base_runtime")
        if mode not in _DEPLOYERS:
            self.old.fault(
                ("deployment_mode",), "unknown mode", value=mode, remedy=did_you_mean(str(mode), list(_DEPLOYERS))
            )
        explicit = self._given_mode is not None or "deployment_mode" in data
        if mode == "ome" and not explicit and runtime is not None and str(runtime) not in ENGINES:
            note = f"deployment_mode is missing, and base_runtime {runtime} is not an engine: treated as a task for OME"
            self.notes.append(f"{note}; --mode docker or --mode process deploys it elsewhere")
        deploy: dict[str, Any] = {"kind": _DEPLOYERS.get(str(mode), "process")}
        if runtime is None:
            self.old.fault(("base_runtime",), "missing", remedy="this key is required, e.g. sglang")
        elif mode == "ome":
            deploy["runtime"], runtime = self._of_ome(str(runtime))
        elif mode == "kubernetes":
            runtime = self._of_ome(str(runtime))[1]
        kind = _KINDS.get(str(runtime), runtime)
        self._put("engine", kind, ("base_runtime",), "kind")
        deployment = self._section("deployment", None, required=False)
        deploy.update(deployment)
        self._deploy_settings(deploy)
        self._put("deploy", deploy, ("deployment_mode",))

    def _of_ome(self, base: str) -> tuple[str | None, str]:
        """Runtime of the cluster and kind of engine. An engine's name stands for the configured runtime."""
        words = base.lower().split("-")
        engine = next((kind for word, kind in _ENGINE_WORDS.items() if word in words), None)
        if base in {*_ENGINE_WORDS.values(), *_KINDS}:
            configured = self.old.data.get("clusterservingruntime_config")
            found = configured if isinstance(configured, dict) else {}
            return found.get("name") or found.get("preset"), base
        if engine is None:
            engine = "sglang"
            self.notes.append(f"base_runtime {base} is a runtime of OME, treated as one of sglang as in the older tool")
        return base, engine

    def _deploy_settings(self, deploy: dict[str, Any]) -> None:
        data = self.old.data
        kind = deploy["kind"]
        for key in _OME_ONLY:
            if key in data and kind == "ome":
                self.notes.append(f"{key}: {_NOT_CREATED[key]}")
            elif key in data:
                self.notes.append(f"{key} is only for deployment_mode ome and is not used")
        namespace = data["model"].get("namespace") if isinstance(data.get("model"), dict) else None
        if namespace is not None and kind in ("ome", "kubernetes"):
            deploy["namespace"] = namespace
        elif namespace is not None:
            self.notes.append("model.namespace is only for deployment_mode ome and is not used")
        tag = data.get("runtime_image_tag")
        if tag is not None and kind in ("docker", "ome", "kubernetes"):
            deploy["image_tag"] = tag
        elif tag is not None:
            self.notes.append("runtime_image_tag is only for containers and is not used")

    def _parameters(self) -> None:
        sglang = str(self.new.data.get("engine", {}).get("kind", "")).startswith("sglang")
        found = self._section("parameters", None, required=False)
        for name, written in found.items():
            values = written
            origin: Path = ("parameters", name)
            if isinstance(values, dict):
                for key in values:
                    if key not in ("type", "values"):
                        self.old.fault((*origin, key), "unknown key", remedy=did_you_mean(key, ("type", "values")))
                if values.get("type", "choice") != "choice":
                    self.old.fault((*origin, "type"), "unknown type", value=values["type"], remedy="write choice")
                values = values.get("values")
                origin = (*origin, "values")
            if not isinstance(values, list):
                self.old.fault(("parameters", name), "must be a list of values", value=values, remedy="write [a, b]")
            elif not values:
                self.notes.append(f"parameters.{name} has no values and is not tuned")
            else:
                hyphenated = name.lstrip("-").replace("_", "-")
                proper = _FLAGS.get(hyphenated, name) if sglang else name
                if proper in self.new.data.get("parameters", {}):
                    self.old.fault(
                        ("parameters", name), f"the same parameter as another: {proper}", remedy="remove one of the two"
                    )
                self._put("parameters", values, origin, proper)

    def _portable(self) -> None:
        kind = str(self.new.data.get("engine", {}).get("kind", ""))
        read = OlderPortable(kind, lambda path, why, remedy: self.old.fault(path, why, remedy=remedy))
        read.quantization(self.old.data.get("quant_config"))
        read.parallelism(self.old.data.get("parallel_config"))
        self.notes += read.notes
        for moved in read.found:
            if moved.section == "args":
                args = self.new.data.setdefault("engine", {}).setdefault("args", {})
                args[moved.key] = moved.value
                self._line(("engine", "args", moved.key), moved.origin)
            elif moved.key in self.new.data.get(moved.section, {}):
                self.old.fault(moved.origin, f"the same as parameters.{moved.key}", remedy="remove one of the two")
            else:
                self._put(moved.section, moved.value, moved.origin, moved.key)

    def _optimization(self) -> None:
        found = self._section("optimization", _OPTIMIZATION)
        for key, table, default in (
            ("strategy", _STRATEGIES, "grid_search"),
            ("objective", _OBJECTIVES, "minimize_latency"),
        ):
            value = found.get(key, default)
            if not isinstance(value, str) or value not in table:
                self.old.fault(
                    ("optimization", key), "unknown value", value=value, remedy=did_you_mean(str(value), list(table))
                )
        origin: Path = ("optimization", "strategy")
        self._put("search", _STRATEGIES.get(str(found.get("strategy", "grid_search")), "grid"), origin, "strategy")
        if (count := self._number(("optimization", "max_iterations"), found, 100)) is not None:
            self._put("search", int(count) + 1, ("optimization", "max_iterations"), "trials")
        if (seconds := self._number(("optimization", "timeout_per_iteration"), found, None)) is not None:
            self._put("search", 2 * seconds, ("optimization", "timeout_per_iteration"), "trial_timeout")
        objective = _OBJECTIVES.get(str(found.get("objective", "minimize_latency")), "max output_throughput")
        self._put("objective", objective, ("optimization", "objective"))

    def _number(self, path: Path, found: Mapping[str, Any], default: float | None) -> float | None:
        value = found.get(str(path[-1]), default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            self.old.fault(path, "must be a number above 0", value=value)
            return None
        return value

    def _benchmark(self) -> None:
        found = self._section("benchmark", _BENCHMARK)
        if found.get("task", "text-to-text") != "text-to-text":
            why = "only text generation is measured"
            remedy = "write text-to-text"
            self.old.fault(("benchmark", "task"), why, value=found["task"], remedy=remedy)
        put = self._put
        put("workload", found.get("traffic_scenarios", ["D(100,100)"]), ("benchmark", "traffic_scenarios"), "scenarios")
        put("workload", found.get("num_concurrency", [1]), ("benchmark", "num_concurrency"), "concurrency")
        if (minutes := self._number(("benchmark", "max_time_per_iteration"), found, 10)) is not None:
            put("workload", 60 * minutes, ("benchmark", "max_time_per_iteration"), "duration")
        requests = found.get("max_requests_per_iteration", 50)
        put("workload", requests, ("benchmark", "max_requests_per_iteration"), "requests")
        put("workload", found.get("additional_params"), ("benchmark", "additional_params"), "extra_body")
        if self._benchmark_kind == _NO_IGNORE_EOS:
            put("workload", False, ("benchmark",), "ignore_eos")
            self.notes.append(
                "benchmark: the model decides where responses end, because BenchmarkJobs send no ignore_eos"
            )
        tokenizer = found.get("model_tokenizer")
        if isinstance(tokenizer, str) and tokenizer.startswith(("/", "./", "../", "~/")):
            put("workload", tokenizer, ("benchmark", "model_tokenizer"), "tokenizer")
        elif tokenizer is not None:
            self.notes.append(
                "benchmark.model_tokenizer is not a local path and is not used; nothing is downloaded, no code is run"
            )

    def _slo(self) -> None:
        found = self._section("slo", ("ttft", "tpot", "latency", "steepness"), required=False)
        steepness = self._number(("slo", "steepness"), found, 0.1) or 0.1
        bounds: list[tuple[Path, str, str]] = [
            (("slo", m), m, "mean") for m in ("ttft", "tpot") if found.get(m) is not None
        ]
        latency = found.get("latency") or {}
        if not isinstance(latency, dict):
            self.old.fault(("slo", "latency"), "must be a mapping", value=latency, remedy="write {p99: {threshold: 2}}")
            latency = {}
        for key in latency:
            if key not in ("p50", "p90", "p99"):
                self.old.fault(("slo", "latency", key), "unknown key", remedy="known: p50, p90, p99")
            else:
                bounds.append((("slo", "latency", key), "e2e_latency", key))
        slos: list[dict[str, Any]] = []
        for path, metric, statistic in bounds:
            for bound in self._bound(path, metric, statistic, steepness):
                self._line(("slo", len(slos)), path)
                slos.append(bound)
        if slos:
            self.new.data["slo"] = slos

    def _bound(self, path: Path, metric: str, statistic: str, steepness: float) -> list[dict[str, Any]]:
        """The soft SLO at the threshold, and the hard one at which the older tool failed an experiment."""
        found: Any = self.old.data
        for part in path:
            found = found[part]
        if not isinstance(found, dict):
            self.old.fault(path, "must be a mapping", value=found, remedy="write {threshold: seconds}")
            return []
        for key in found:
            if key not in _BOUND:
                self.old.fault((*path, key), "unknown key", remedy=did_you_mean(key, _BOUND))
        if found.get("threshold") is None:
            self.old.fault((*path, "threshold"), "missing", remedy="this key is required, in seconds")
            return []
        threshold = self._number((*path, "threshold"), found, None)
        weight = found.get("weight", 1.0)
        ratio = found.get("fail_ratio", 0.5)
        for key, value in (("weight", weight), ("fail_ratio", ratio)):
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                self.old.fault((*path, key), "must be a number, 0 or above", value=value)
                return []
        if not isinstance(found.get("hard_fail", False), bool):
            self.old.fault((*path, "hard_fail"), "must be true or false", value=found["hard_fail"])
        if threshold is None:
            return []
        base = {"metric": metric, "statistic": statistic}
        soft = {**base, "at_most": f"{threshold!r}s", "hard": False, "weight": round(weight * 0.1 / steepness, 12)}
        if found.get("hard_fail") is True:
            return [{**base, "at_most": f"{round(threshold * (1 + ratio), 12)!r}s"}, soft]
        return [soft]
