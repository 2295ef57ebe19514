"""Model and runtime on a cluster with the stand-in."""

from pathlib import Path
from typing import Any

from support.ome_standin.kube import Object

MODEL = "sim-model"
RUNTIME = "srt-sim-model"


def model(path: str, name: str = MODEL, **spec: Any) -> Object:
    """Returns a ClusterBaseModel whose files are already on the node, in the folder ``path``."""
    made = {
        "storage": {"storageUri": f"local://{path}", "path": path},
        "modelFormat": {"name": "safetensors", "version": "1.0.0"},
        "modelFramework": {"name": "transformers", "version": "4.51.0"},
        "modelArchitecture": "LlamaForCausalLM",
        "modelParameterSize": "1B",
        "vendor": "simulated",
        **spec,
    }
    return {"apiVersion": "ome.io/v1beta1", "kind": "ClusterBaseModel", "metadata": {"name": name}, "spec": made}


def runtime(image: str, name: str = RUNTIME, **spec: Any) -> Object:
    """Returns a ClusterServingRuntime of SGLang like OME's own: all flags in ``command``, no ``args``.

    Its requests are small enough for a test's node.
    """
    command = [
        "python3",
        "-m",
        "sglang.launch_server",
        "--host",
        "0.0.0.0",
        "--port",
        "8080",
        "--enable-metrics",
        "--model-path",
        "$(MODEL_PATH)",
        "--tp-size",
        "1",
        "--mem-frac",
        "0.9",
        "--served-model-name",
        MODEL,
    ]
    sizes = {"cpu": "100m", "memory": "256Mi", "nvidia.com/gpu": "1"}
    health = {"httpGet": {"path": "/health", "port": 8080}}
    runner = {
        "name": "ome-container",
        "image": image,
        "command": command,
        "ports": [{"containerPort": 8080, "name": "http1", "protocol": "TCP"}],
        "volumeMounts": [{"mountPath": "/dev/shm", "name": "dshm"}],  # noqa: S108 - of the container
        "resources": {"requests": sizes, "limits": {**sizes, "cpu": "2", "memory": "1Gi"}},
        "readinessProbe": {**health, "failureThreshold": 3, "periodSeconds": 60, "timeoutSeconds": 200},
        "livenessProbe": {**health, "failureThreshold": 5, "periodSeconds": 60, "timeoutSeconds": 60},
        "startupProbe": {**health, "failureThreshold": 150, "periodSeconds": 6, "timeoutSeconds": 30},
    }
    engine = {
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics"},
        "labels": {"logging-forward": "enabled"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [{"name": "dshm", "emptyDir": {"medium": "Memory"}}],
        "runner": runner,
    }
    supported = {
        "modelFramework": {"name": "transformers", "version": "4.51.0"},
        "modelFormat": {"name": "safetensors", "version": "1.0.0"},
        "modelArchitecture": "LlamaForCausalLM",
        "autoSelect": False,
        "priority": 1,
    }
    made = {
        "disabled": False,
        "supportedModelFormats": [supported],
        "protocolVersions": ["openAI"],
        "modelSizeRange": {"min": "0.5B", "max": "2B"},
        "engineConfig": engine,
        **spec,
    }
    return {"apiVersion": "ome.io/v1beta1", "kind": "ClusterServingRuntime", "metadata": {"name": name}, "spec": made}


def ready_folder(path: Path) -> Path:
    """Creates a folder that is accepted as a model's, and returns it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text("{}")
    return path
