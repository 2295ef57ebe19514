"""A trial's InferenceService, made from a launch plan, without anything that OME would silently ignore."""

import math
from dataclasses import dataclass
from uuid import uuid4

from autotuner.deployers.kubernetes.client import Json
from autotuner.deployers.ome import scheduling
from autotuner.deployers.ome.check_runtime import faults
from autotuner.deployers.ome.resources import OmeResource, engine_config, model_path, runner
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.manifests import inference_service
from autotuner.manifests.labels import GROUP, is_label_value, trial_annotations, trial_labels
from autotuner.manifests.ome_command_line import (
    CONTAINER,
    MODEL_PATH,
    PORT,
    PROGRAM,
    RuntimeLine,
    RuntimeLineError,
    same_engine,
    template_problems,
)
from autotuner.manifests.pod import SERVER, env_list, measured_metadata, probe, wants_scratch
from autotuner.manifests.security import scratch_env
from autotuner.manifests.server import ALL_INTERFACES
from autotuner.manifests.text import literal
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value, with_texts
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan

_PERIOD_S = 1
_TIMEOUT_S = 5
_POD_FIELDS = (
    "nodeSelector", "tolerations", "imagePullSecrets", "serviceAccountName", "priorityClassName", "runtimeClassName",
    "securityContext", "hostNetwork", "hostIPC", "hostPID",
)  # fmt: skip
"""Pod fields of an engine that admission checks."""
_LONGEST_NAME = 20
"""OME names a ConfigMap by the last 20 characters of a service's name."""


def unique_name(trial: int) -> str:
    """Returns a new unique name, short enough that OME truncates no name derived from it."""
    number = f"-{trial}"[-7:]
    return f"at-{uuid4().hex[: _LONGEST_NAME - 3 - len(number)][:10]}{number}"


@dataclass(frozen=True)
class ServiceLaunch:
    """Inputs of a trial's InferenceService. Methods raise ``TrialFailedError`` for combinations that would not work."""

    plan: LaunchPlan
    settings: OmeSettings
    engine: Engine
    runtime: OmeResource
    model: OmeResource
    name: str
    labels: Labels
    replaced: frozenset[str] = frozenset()
    """Flags of the runtime that the plan replaces or removes."""

    @property
    def port(self) -> int:
        """Port of the server: its own flag, else the container's first port, else OME's default."""
        flag = self.engine.flag_value(self._given().words, self.plan.port_flag)
        if isinstance(flag, str) and flag.isdigit():
            return int(flag)
        ports = runner(self.runtime).get("ports") or [{}]
        return int(ports[0].get("containerPort", PORT))

    def _given(self) -> RuntimeLine:
        try:
            return RuntimeLine.of(runner(self.runtime))
        except RuntimeLineError as error:
            raise self._unusable(error) from error

    def line(self) -> RuntimeLine:
        """Returns the runtime's command line with the plan's flags; its own program, model and address are kept."""
        given = self._given()
        engine = self.engine
        plan = self.plan
        planned = engine.read((PROGRAM, *(word for flag in plan.flags for word in flag.argv()))).single
        path = model_path(self.model)
        wanted: dict[str, Value] = dict.fromkeys([*sorted(self.replaced), *plan.tuned])
        for name, value in planned.items():
            if value == path:
                if engine.flag_value(given.words, name) is None and path not in given.words:
                    wanted[name] = MODEL_PATH
            else:
                wanted[name] = with_texts(value, literal)
        address = ((plan.host_flag, ALL_INTERFACES), (plan.port_flag, str(self.port)))
        for flag, text in address:
            if engine.flag_value(given.words, flag) is None:
                wanted[flag.lstrip("-")] = text
        try:
            return given.with_flags(engine, wanted)
        except RuntimeLineError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: RuntimeLineError) -> Exception:
        return TrialFailedError.because(
            FailureCause.NOT_ACCEPTED, f"runtime {self.runtime.name} {error.why}", remedy=error.remedy
        )

    def resources(self) -> dict[str, dict[str, str]]:
        """Returns requests and limits of the server."""
        return scheduling.resources(self.runtime, self.plan, self.settings)

    def body(self) -> Json:
        """Returns the manifest of the InferenceService."""
        settings = self.settings
        own = {**trial_labels(self.labels, self.name, SERVER), GROUP: self.name}
        body = inference_service.inference_service(
            self.name,
            settings,
            self._runner(),
            metadata=measured_metadata(settings, own, trial_annotations(self.labels)),
            model=self.model.reference,
            runtime=self.runtime.reference,
            grace_s=max(1, math.ceil(settings.stop_grace)),
            # The list replaces the runtime's, so it repeats the runtime's tolerations.
            tolerations=[*_own_tolerations(self.runtime), *settings.tolerations] if settings.tolerations else [],
        )
        self._reject_silently_ignored(body)
        return body

    def pod(self) -> Json:
        """Returns the parts that admission checks of the pod that OME would create.

        The model's volume is a folder of the node.
        """
        body = self.body()
        engine = {**engine_config(self.runtime), **body["spec"]["engine"]}
        container = {**runner(self.runtime), **engine["runner"], "name": CONTAINER}
        spec = {name: engine[name] for name in _POD_FIELDS if name in engine}
        merged = {volume["name"]: volume for volume in engine_config(self.runtime).get("volumes") or ()}
        ours = {volume["name"]: volume for volume in body["spec"]["engine"].get("volumes", ())}
        volumes = [*(merged | ours).values()]
        own = body["spec"]["engine"]["runner"].get("volumeMounts", ())
        mounts = [*(runner(self.runtime).get("volumeMounts") or ()), *own]
        if path := model_path(self.model):
            volumes.append({"name": "model", "hostPath": {"path": path}})
            mounts.append({"name": "model", "mountPath": path, "readOnly": True})
        container["volumeMounts"] = [*{mount["mountPath"]: mount for mount in mounts}.values()]
        for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
            container.pop(kind, None)  # OME deep-merges these, and admission ignores them
        metadata = {key: body["metadata"][key] for key in ("labels", "annotations")}
        return {"metadata": metadata, "spec": {**spec, "volumes": volumes, "containers": [container]}}

    def _runner(self) -> Json:
        settings = self.settings
        own = runner(self.runtime)
        line = self.line()
        probes = {"readinessProbe": self._probe("readinessProbe", failures=3)}
        if own.get("startupProbe"):
            start_s = settings.start_timeout or self.plan.readiness.timeout_s
            probes["startupProbe"] = self._probe("startupProbe", failures=math.ceil(start_s / _PERIOD_S) + 60)
        home = scratch_env() if wants_scratch(settings) else {}
        found = inference_service.runner(
            own.get("name") or CONTAINER,
            settings,
            command=line.command,
            args=line.args,
            env=env_list({**home, **self.plan.env, **self.labels.env()}),
            resources=self.resources(),
            probes=probes,
        )
        if settings.image or settings.image_tag:
            found["image"] = settings.image_name(own.get("image"))
        return found

    def _probe(self, kind: str, *, failures: int) -> Json:
        """Returns a frequent, cheap probe; a runtime's may run once a minute, or generate tokens during the load.

        The method of a probe without HTTP is kept, since OME would merge two methods into one probe.
        """
        own = runner(self.runtime).get(kind) or {}
        methods = {"httpGet", "exec", "tcpSocket", "grpc"} & own.keys()
        quick: Json = {
            "initialDelaySeconds": 1,
            "periodSeconds": _PERIOD_S,
            "timeoutSeconds": _TIMEOUT_S,
            "failureThreshold": failures,
        }
        if methods <= {"httpGet"}:
            quick |= probe(self.plan.readiness.path, self.port)
        return quick

    def _reject_silently_ignored(self, body: Json) -> None:
        """Rejects what OME accepts, but for which it then creates nothing and emits no event."""
        if problem := runtime_problem(self.runtime, self.engine, self.settings.gpu_resource, self.plan):
            raise TrialFailedError.because(FailureCause.NOT_ACCEPTED, problem[0], remedy=problem[1])
        made = body["spec"]["engine"]["runner"]
        texts = {f"argument {i}": word for i, word in enumerate((*made["command"], *made["args"]))}
        texts |= {f"variable {v['name']}": str(v.get("value", "")) for v in made["env"]}
        if wrong := template_problems(texts):
            raise TrialFailedError.because(
                FailureCause.INVALID_VALUE,
                f"{wrong[0]} contains {{{{, which OME reads as a template and then creates nothing",
                remedy="put the text into a file in the image or the model folder, and pass the file",
            )
        for key, text in body["metadata"]["labels"].items():
            if not is_label_value(text):
                raise TrialFailedError.because(
                    FailureCause.NOT_ACCEPTED, f"{key}={text} is not a valid label", remedy="correct deploy.labels"
                )


def runtime_problem(
    runtime: OmeResource, engine: Engine, gpu_resource: str, plan: LaunchPlan | None = None
) -> tuple[str, str] | None:
    """Returns (why, remedy) if a runtime cannot be tuned with one server per trial; None if it can.

    Does not check whether it serves the model.
    """
    for why, remedy in faults(runtime, gpu_resource):
        return f"runtime {runtime.name} {why}", remedy
    line = RuntimeLine.of(runner(runtime))
    if not same_engine(line, engine.kind, engine.settings.model_dump(), plan):
        why = f"runtime {runtime.name} starts {' '.join(line.words[:3])}"
        return why, f"choose a runtime of {engine.kind}, or another engine"
    return None


def _own_tolerations(runtime: OmeResource) -> list[Json]:
    return list(engine_config(runtime).get("tolerations") or [])
