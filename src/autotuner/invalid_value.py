"""The error of a refused value, on its own so that light processes can use it without pydantic."""


class InvalidValueError(ValueError):
    """A value that a validator refuses, with the remedy in a field of its own.

    :func:`autotuner.study.problems.problems_of` turns it into a :class:`Problem`.
    """

    def __init__(self, why: str, *, remedy: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}" if self.remedy else self.why
