"""The interface of priors, which know how long a server's steps take before it is launched.

A prior gives durations of single steps and the size of the KV cache; latencies under a load follow from them by the
queueing model in ``autotuner.predict``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from autotuner.study.search.serving import Serving


class NoPredictionError(Exception):
    """The duration of a step is not known."""


@dataclass(frozen=True)
class RequestTokens:
    """Tokens of a request."""

    cached: int
    """Tokens before the prompt that are in the prefix cache."""
    prompt: int
    """Tokens to compute."""
    output: int


class KnownServer(ABC):
    """One replica whose steps are known."""

    @abstractmethod
    def step_s(self, requests: float, prompt: float, tokens: RequestTokens) -> float:
        """Seconds of one step. Results should be cached: a search asks for the same steps again and again.

        Args:
            requests: Requests that decode in it.
            prompt: Prompt tokens that are computed in it.
            tokens: Mean lengths of the requests.

        Raises:
            NoPredictionError: If it is not known.
        """

    @abstractmethod
    def kv_tokens(self) -> int | None:
        """Capacity of the KV cache in tokens; None if it is not known, or if the server does not fit. Only used for
        models whose memory the tuner cannot compute itself."""


class Prior(ABC):
    """A source of predictions, constructed without arguments."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the source: predictions of different versions are not comparable."""

    @abstractmethod
    def server(self, model: str, gpu: str, serving: Serving) -> KnownServer | None:
        """What is known of a server.

        Args:
            model: Hub ID, or a folder on this machine.
            gpu: Name of the GPU as in :data:`autotuner.predict.gpus.GPUS`.
            serving: The server, with the engine's own choices filled in.

        Returns:
            None if model, GPU, engine or any flag of it is unknown.
        """
