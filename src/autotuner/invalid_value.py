"""The error for an invalid value, in a module without pydantic for processes that must start quickly."""


class InvalidValueError(ValueError):
    """A value that a validator rejects, with the remedy in a field.

    :func:`autotuner.study.problems.problems_of` turns it into a :class:`autotuner.Problem`.
    """

    def __init__(self, why: str, *, remedy: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}" if self.remedy else self.why
