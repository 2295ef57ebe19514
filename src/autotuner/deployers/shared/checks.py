"""The three kinds of lines in a preflight."""

from autotuner.study.check import Check, CheckStatus


def ok(name: str, detail: str) -> Check:
    """Well."""
    return Check(name=name, status=CheckStatus.OK, detail=detail)


def warn(name: str, detail: str, remedy: str) -> Check:
    """Works, but a person should know."""
    return Check(name=name, status=CheckStatus.WARN, detail=detail, remedy=remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    """Nothing can be launched before it is mended."""
    return Check(name=name, status=CheckStatus.FAIL, detail=detail, remedy=remedy)
