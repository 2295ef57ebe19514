"""Options of ``best`` for manifests, which :mod:`autotuner.report.exported.options` interprets."""

from pathlib import Path
from typing import Annotated

import typer

ObjectName = Annotated[str | None, typer.Option("--name", help="Name of the objects; default: the study name.")]
Image = Annotated[str | None, typer.Option(help="Container image; default: the measured one, else the engine's.")]
Server = Annotated[str | None, typer.Option(help="Server executable inside the image (engine.server).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; default: 8000 (OME: 8080).")]
Namespace = Annotated[str | None, typer.Option(help="Kubernetes and OME: namespace.")]
EnvSecret = Annotated[
    list[str] | None,
    typer.Option(metavar="VAR=NAME/KEY", help="Kubernetes and OME: environment variable taken from a Secret."),
]
Pvc = Annotated[
    str | None,
    typer.Option(metavar="CLAIM[:FOLDER]", help="kubernetes: PVC that holds the model."),
]
CachePvc = Annotated[
    str | None,
    typer.Option(metavar="CLAIM", help="kubernetes: PVC that caches model downloads from the Hub."),
]
HubTokenSecret = Annotated[
    str | None,
    typer.Option(metavar="NAME/KEY", help="kubernetes: Secret that holds HF_TOKEN."),
]
Runtime = Annotated[
    str | None,
    typer.Option(metavar="[ServingRuntime/]NAME", help="inference-service: runtime to use."),
]
Model = Annotated[
    str | None,
    typer.Option(metavar="[BaseModel/]NAME", help="inference-service: model to serve."),
]
From = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="serving-runtime: existing runtime to start from."),
]
ModelFormat = Annotated[
    str | None,
    typer.Option(metavar="NAME:VERSION", help="serving-runtime: model format, e.g. safetensors:1.0.0."),
]
ModelFramework = Annotated[
    str | None,
    typer.Option(metavar="NAME:VERSION", help="serving-runtime: model framework, e.g. transformers:4.51.0."),
]
Architecture = Annotated[
    str | None,
    typer.Option(help="serving-runtime: model architecture, e.g. Qwen3ForCausalLM."),
]
Quantization = Annotated[str | None, typer.Option(help="serving-runtime: quantization of the model, if any.")]
SizeRange = Annotated[
    str | None,
    typer.Option(metavar="LOW-HIGH", help="serving-runtime: supported model sizes, e.g. 0.5B-1B."),
]
