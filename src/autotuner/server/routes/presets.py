"""Presets: named beginnings of studies, which all users of the server share."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from autotuner import Preset
from autotuner.api.presets import MOST_CHARACTERS
from autotuner.server.callers import Reader, Tuner, Writer
from autotuner.server.documents import document

router = APIRouter(prefix="/api/v1/presets", tags=["presets"])

PresetName = Annotated[str, Path(description="Name of the preset.", examples=["vllm-h100"])]
_EXAMPLE = "engine: {kind: vllm}\nobjective: max output_throughput\nslo: p99 ttft < 500ms\n"


class PresetText(BaseModel):
    """A preset to save."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(
        max_length=MOST_CHARACTERS,
        examples=[_EXAMPLE],
        description="A study file (YAML or JSON), of which parts may be missing.",
    )


@router.get("", summary="List presets", response_model=list[Preset])
def list_presets(tuner: Tuner, _: Reader) -> Response:
    """By name, without their texts."""
    return document(tuner.presets().list())


@router.get("/{name}", summary="The text of a preset", response_class=PlainTextResponse)
def preset_text(tuner: Tuner, _: Reader, name: PresetName) -> str:
    """As it was saved, with its comments: to begin a study with, or to keep as a file."""
    return tuner.presets().text(name)


@router.put("/{name}", summary="Save a preset", response_model=Preset)
def save_preset(tuner: Tuner, caller: Writer, name: PresetName, wanted: PresetText) -> Response:
    """Replaces the preset of this name. The text is checked as a study only when a study begins with it."""
    return document(tuner.presets().save(name, wanted.text, by=caller.holder))


@router.delete("/{name}", summary="Remove a preset", status_code=204)
def remove_preset(tuner: Tuner, _: Writer, name: PresetName) -> None:
    """Studies that began with it stay as they are."""
    tuner.presets().remove(name)
