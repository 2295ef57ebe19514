"""Records of presets."""

from autotuner.study.base import FrozenModel


class Preset(FrozenModel):
    """A named beginning of studies. Its text is read on its own."""

    name: str
    engine: str = ""
    """Kind of its engine; empty if it has none."""
    model: str = ""
    """Path or Hub ID of its model; empty if it has none."""
    updated_at: float = 0.0
    """When it was saved, in seconds since the epoch."""
    updated_by: str = ""
    """Who saved it."""
