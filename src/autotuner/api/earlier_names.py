"""Functions under the names that they had before the client object, for programs that still use them."""

import warnings
from typing import Any

from autotuner.api.client import Autotuner

EARLIER = {
    "plan": ("plan_study", "plan"),
    "result": ("load_result", "load"),
    "studies": ("list_studies", "studies"),
    "manifest": ("render_manifest", "manifest"),
}
"""Earlier name to (name now, method)."""


def earlier(name: str) -> Any:
    """The function of that earlier name; it takes ``store_url`` as it did."""
    now, method = EARLIER[name]

    def call(*args: Any, store_url: str | None = None, **options: Any) -> Any:
        where = f"autotuner.{now}" if store_url is None else f"autotuner.open({store_url!r}).{method}"
        warnings.warn(f"autotuner.{name} is now {where}", DeprecationWarning, stacklevel=2)
        return getattr(Autotuner(store_url), method)(*args, **options)

    return call
