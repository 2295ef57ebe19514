"""Deprecated names of functions, from before the client object."""

import warnings
from typing import Any

from autotuner.api.client import Autotuner

EARLIER = {
    "plan": ("plan_study", "plan"),
    "result": ("load_result", "load"),
    "studies": ("list_studies", "studies"),
    "manifest": ("render_manifest", "manifest"),
}
"""Current function and client method by deprecated name."""


def earlier(name: str) -> Any:
    """The function of a deprecated name, which still takes ``store_url``."""
    now, method = EARLIER[name]

    def call(*args: Any, store_url: str | None = None, **options: Any) -> Any:
        where = f"autotuner.{now}" if store_url is None else f"autotuner.open({store_url!r}).{method}"
        warnings.warn(f"autotuner.{name} is now {where}", DeprecationWarning, stacklevel=2)
        return getattr(Autotuner(store_url), method)(*args, **options)

    return call
