"""The winner of a study as a file that another system starts it from.

Pure functions: what they need of the target (the model's place, the image) is handed in with the winner. Each file
begins with comments that say which study and trial it comes from, what was gained, and whether numbers were simulated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.manifests.yaml_text import yaml_text
from autotuner.plain_text import blanked_line
from autotuner.report.exported.compose import compose
from autotuner.report.exported.kubernetes import kubernetes
from autotuner.report.exported.ome_runtime import serving_runtime
from autotuner.report.exported.ome_service import inference_service
from autotuner.report.exported.options import Form, ManifestOptions
from autotuner.report.exported.winner import Winner
from autotuner.report.exports import best_json
from autotuner.report.terminal import marked_summary

_MAKERS: Mapping[Form, Callable[[Winner, ManifestOptions], tuple[list[dict[str, Any]], list[str]]]] = {
    Form.KUBERNETES: kubernetes,
    Form.SERVING_RUNTIME: serving_runtime,
    Form.INFERENCE_SERVICE: inference_service,
    Form.COMPOSE: compose,
}


@dataclass(frozen=True)
class Manifest:
    """What to hand over, as objects and as the text of a file."""

    winner: Winner
    form: Form
    objects: list[dict[str, Any]]
    notes: list[str]

    @property
    def text(self) -> str:
        """YAML: one document an object, below a head of comments."""
        return yaml_text(self.objects, self.head())

    def head(self) -> list[str]:
        """Study, trial, gain, and what the reader should know."""
        result = self.winner.result
        trial = self.winner.trial
        values = blanked_line(trial.configuration.text)
        lines = [f"{result.spec.name}, trial {trial.number}: {values}", *marked_summary(result).splitlines()]
        lines.append(f"made by: autotuner best {result.spec.name} --as {self.form}")
        return [*map(blanked_line, lines), *(blanked_line(f"note: {note}") for note in self.notes)]

    def data(self) -> dict[str, Any]:
        """For programs: the winner as ever, and the objects."""
        return {
            **best_json(self.winner.result),
            "form": self.form.value,
            "notes": self.notes,
            "manifests": self.objects,
        }


def manifest_of(winner: Winner, form: Form, options: ManifestOptions) -> Manifest:
    """Raises ``UsageError`` for what the form cannot say."""
    objects, notes = _MAKERS[form](winner, options)
    return Manifest(winner=winner, form=form, objects=objects, notes=[*winner.notes, *notes])
