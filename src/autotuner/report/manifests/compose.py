"""The winner as a service of Docker Compose (github.com/compose-spec/compose-spec)."""

from collections.abc import Sequence
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.manifests.pod import wants_scratch
from autotuner.manifests.pod_settings import StoredPod
from autotuner.manifests.security import contexts, needs_scratch, scratch, scratch_env
from autotuner.manifests.text import amount
from autotuner.report.manifests.options import Form, ManifestOptions, name_of
from autotuner.report.manifests.pod_parts import folder_of_files, labels_of, no_gpus, stored_pod
from autotuner.report.manifests.winner import Winner
from autotuner.study.spec import is_local

PORT = 8000
_LOOPBACK = "127.0.0.1"
_HUB = "/hub-cache"
_HUB_VOLUME = "hub-cache"
_SHM_SIZE = "16g"
_PAIRED = frozenset(
    {"--network", "-p", "--gpus", "--ipc", "--shm-size", "--runtime", "--cpus", "--memory", "--memory-swap", "--user",
     "--ulimit", "--device", "-v", "-e", "--entrypoint"}
)  # fmt: skip
"""Options of ``docker run`` with a value, as the Docker deployer writes them."""


def compose(winner: Winner, options: ManifestOptions) -> tuple[list[dict[str, Any]], list[str]]:
    """The file, and what the reader should know. Raises ``UsageError`` for what a container cannot have."""
    image = options.image or winner.image
    if image is None:
        why = f"the engine {winner.spec.kind} has no container image of its own"
        remedy = "name one that has the server: --image REPOSITORY:TAG"
        raise UsageError(Problem(where="image", why=why, remedy=remedy))
    name = options.name or name_of(winner.result.spec.name, Form.COMPOSE)
    stored = stored_pod(winner)
    port = options.port or stored.container_port or PORT
    program, *leading = winner.command()
    run = _run_options(winner.trial.command)
    in_pods = winner.result.spec.deploy.kind in StoredPod.KINDS
    volumes = _volumes(winner, run.get("-v"))
    env, notes = _env(winner, run.get("-e", []))
    service: dict[str, Any] = {
        "image": image,
        "entrypoint": [literal(program)],
        "command": [literal(word) for word in (*leading, *winner.args(port))],
        "init": True,
        "ports": [f"{_LOOPBACK}:{port}:{port}"],
        **({"environment": env} if env else {}),
        **({"volumes": volumes} if volumes else {}),
        **(_limits_of_pod(stored) if in_pods else _limits(run)),
        "healthcheck": {"disable": True},
        "labels": {**stored.labels, **labels_of(winner)},
        "restart": "unless-stopped",
    }
    if winner.gpus:
        device = {"driver": "nvidia", "count": winner.gpus, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    file: dict[str, Any] = {"name": name, "services": {name: service}}
    if any(v["type"] == "volume" for v in volumes):
        file["volumes"] = {_HUB_VOLUME: {}}
    if in_pods:
        notes += _without_counterpart(stored)
    return [file], [*notes, f"it is ready when GET /{winner.plan.readiness.path.lstrip('/')} answers"]


def literal(text: str) -> str:
    """A text that arrives as it is: Compose puts variables in place of ``$NAME``."""
    return text.replace("$", "$$")


def _run_options(command: Sequence[str]) -> dict[str, list[str]]:
    """The options of the ``docker run`` that a container's trial was, by option; empty for another one."""
    found: dict[str, list[str]] = {}
    if tuple(command[:2]) != ("docker", "run"):
        return found
    index = 2
    while index < len(command) and command[index].startswith("-"):
        if command[index] in _PAIRED and index + 1 < len(command):
            found.setdefault(command[index], []).append(command[index + 1])
            index += 1
        index += 1
    return found


def _volumes(winner: Winner, measured: Sequence[str] | None) -> list[dict[str, Any]]:
    """As in the container that was measured; else the model's files under their own paths, and a cache for hubs."""
    if measured is not None:
        return [_bind(*text.split(":")) for text in measured]
    if is_local(winner.model) and not winner.model.startswith("/"):
        why = "is no absolute path"
        remedy = "write the model's whole path in the study"
        raise UsageError(Problem(where="model.path", value=winner.model, why=why, remedy=remedy))
    paths = dict.fromkeys(folder_of_files(path) for path in winner.plan.needs_files if path.startswith("/"))
    found = [_bind(path, path, "ro") for path in paths]
    cache = {"type": "volume", "source": _HUB_VOLUME, "target": _HUB}
    return [*found, cache] if winner.plan.hub_models else found


def _bind(source: str, target: str, mode: str = "rw") -> dict[str, Any]:
    found: dict[str, Any] = {"type": "bind", "source": literal(source), "target": literal(target)}
    return {**found, "read_only": True} if mode == "ro" else found


def _env(winner: Winner, measured: Sequence[str]) -> tuple[dict[str, str | None], list[str]]:
    """Variables; None for one that comes from the environment of whoever starts it."""
    shown, hidden = winner.env()
    hub = {"HF_HOME": _HUB} if winner.plan.hub_models else {}
    home = scratch_env() if wants_scratch(stored_pod(winner)) else {}
    values: dict[str, str | None] = {**home, **no_gpus(winner), **hub}
    for text in measured:
        name, equals, value = text.partition("=")
        values[name] = value if equals else None
    values |= {**shown, **dict.fromkeys(hidden)}
    taken = [n for n, v in values.items() if v is None]
    notes = [f"{n} is taken from the environment in which compose is started" for n in taken]
    return {n: None if v is None else literal(v) for n, v in values.items()}, notes


def _limits(run: dict[str, list[str]]) -> dict[str, Any]:
    """Sizes and rights as in the container that was measured, else a large ``/dev/shm`` and locked memory."""
    if not run:
        return {"shm_size": _SHM_SIZE, "ulimits": {"memlock": -1, "stack": 64 << 20}}
    found: dict[str, Any] = {}
    for option, key in (("--shm-size", "shm_size"), ("--ipc", "ipc"), ("--runtime", "runtime"), ("--user", "user")):
        if option in run:
            found[key] = run[option][-1]
    if "--cpus" in run:
        found["cpus"] = float(run["--cpus"][-1])
    if "--memory" in run:
        found |= {"mem_limit": run["--memory"][-1], "memswap_limit": run["--memory"][-1]}
    if "--ulimit" in run:
        found["ulimits"] = dict(_ulimit(text) for text in run["--ulimit"])
    devices = [d for d in run.get("--device", []) if d.startswith("/dev/")]
    return {**found, "devices": devices} if devices else found


def _limits_of_pod(pod: StoredPod) -> dict[str, Any]:
    """Sizes and rights as in the pod that was measured. What a pod only requests, Compose cannot reserve."""
    context, inner = contexts(pod.security, pod.security_context, pod.container_security_context)
    found: dict[str, Any] = {
        "shm_size": int(amount(pod.shm_size)) if pod.shm_size else _SHM_SIZE,
        "ulimits": {"memlock": -1, "stack": 64 << 20},
    }
    if pod.memory:
        found |= {"mem_limit": int(amount(pod.memory)), "memswap_limit": int(amount(pod.memory))}
    if pod.cpu_limit:
        found["cpus"] = amount(pod.cpu_limit)
    user, group = (inner.get(name, context.get(name)) for name in ("runAsUser", "runAsGroup"))
    if user is not None:
        found["user"] = str(user) if group is None else f"{user}:{group}"
    if groups := [*context.get("supplementalGroups", ()), *([context["fsGroup"]] if "fsGroup" in context else ())]:
        found["group_add"] = [str(one) for one in groups]
    capabilities = inner.get("capabilities") or {}
    for kind, key in (("drop", "cap_drop"), ("add", "cap_add")):
        if capabilities.get(kind):
            found[key] = list(capabilities[kind])
    if inner.get("allowPrivilegeEscalation") is False:
        found["security_opt"] = ["no-new-privileges:true"]
    if inner.get("readOnlyRootFilesystem"):
        found["read_only"] = True
    if needs_scratch(context, inner):
        found["tmpfs"] = [f"{mount['mountPath']}:mode=1777" for _, mount in scratch()]
    return found


def _without_counterpart(pod: StoredPod) -> list[str]:
    """What the study's pods had, and a container of Compose cannot have."""
    said = {
        "cpu": pod.cpu,
        "tolerations": pod.tolerations,
        "node_selector": pod.node_selector,
        "image_pull_secrets": pod.image_pull_secrets,
        "service_account": pod.service_account,
        "priority_class": pod.priority_class,
        "runtime_class": pod.runtime_class,
        "annotations": pod.annotations,
    }
    names = [f"deploy.{name}" for name, value in said.items() if value]
    notes = [f"Compose has nothing for {', '.join(names)}"] if names else []
    sources = [one.secret or one.config_map for one in pod.env_from]
    if sources:
        notes.append(f"variables from {', '.join(map(str, sources))} are not in it; give them by env_file")
    return notes


def _ulimit(text: str) -> tuple[str, Any]:
    name, _, limit = text.partition("=")
    soft, colon, hard = limit.partition(":")
    return name, {"soft": int(soft), "hard": int(hard)} if colon else int(soft)
