"""Ages of releases: a newer release of an engine is expected to be faster.

vLLM 0.6.0, for example, had 1.8 to 2.7 times the throughput of 0.5.3, one month later (vLLM's blog, September 2024).
Predictions do not say so, because their sources know one release of an engine at best.
"""

from collections.abc import Iterable

from packaging.version import Version

from autotuner.study.search.release import Release


class Ages:
    """How much older each release is than the middle of its engine's listed releases, in releases.

    Which release a prediction knows is unknown, so it is expected to be right for one in the middle.
    """

    def __init__(self, listed: Iterable[Release | None]) -> None:
        """
        Args:
            listed: The releases that can be launched; None where it is unknown.
        """
        lines: dict[str, set[Version]] = {}
        for release in dict.fromkeys(listed):
            if release is not None:
                lines.setdefault(release.line, set()).add(Version(release.number))
        self._lines = lines

    def of(self, release: Release | None) -> float:
        """The number of newer releases of the same engine, less its mean over the listed ones; negative for the newer
        half of them, and 0 if the release or its engine is unknown."""
        if release is None or release.line not in self._lines:
            return 0.0
        own = self._lines[release.line]
        number = Version(release.number)
        return sum(newer > number for newer in own) - (len(own) - 1) / 2
