"""Options of ``best`` for manifests; what they mean is decided in ``report.manifest_options``."""

from pathlib import Path
from typing import Annotated

import typer

ObjectName = Annotated[str | None, typer.Option("--name", help="Name of the objects; default: the study's.")]
Image = Annotated[str | None, typer.Option(help="Container image; default: the one measured, else the engine's.")]
Server = Annotated[str | None, typer.Option(help="The server's program in the image, as engine.server.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; default: 8000, with OME 8080.")]
Namespace = Annotated[str | None, typer.Option(help="Kubernetes and OME: the namespace.")]
EnvSecret = Annotated[
    list[str] | None,
    typer.Option(metavar="VAR=NAME/KEY", help="Kubernetes and OME: a variable from a Secret."),
]
Pvc = Annotated[
    str | None,
    typer.Option(metavar="CLAIM[:FOLDER]", help="kubernetes: claim that holds the model."),
]
CachePvc = Annotated[
    str | None,
    typer.Option(metavar="CLAIM", help="kubernetes: claim for what a hub is asked for."),
]
HubTokenSecret = Annotated[
    str | None,
    typer.Option(metavar="NAME/KEY", help="kubernetes: Secret that holds HF_TOKEN."),
]
Runtime = Annotated[
    str | None,
    typer.Option(metavar="[ServingRuntime/]NAME", help="inference-service: its runtime."),
]
Model = Annotated[
    str | None,
    typer.Option(metavar="[BaseModel/]NAME", help="inference-service: its model."),
]
From = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="serving-runtime: existing one to start from."),
]
ModelFormat = Annotated[
    str | None,
    typer.Option(metavar="NAME:VERSION", help="serving-runtime: e.g. safetensors:1.0.0."),
]
ModelFramework = Annotated[
    str | None,
    typer.Option(metavar="NAME:VERSION", help="serving-runtime: e.g. transformers:4.51.0."),
]
Architecture = Annotated[
    str | None,
    typer.Option(help="serving-runtime: the model's, e.g. Qwen3ForCausalLM."),
]
Quantization = Annotated[str | None, typer.Option(help="serving-runtime: the model's, where it has one.")]
SizeRange = Annotated[
    str | None,
    typer.Option(metavar="LOW-HIGH", help="serving-runtime: models' parameters, e.g. 0.5B-1B."),
]
