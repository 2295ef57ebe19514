"""Recognition of secrets, and their removal from text and data.

Every output of the program goes through this package: the store, problems, reports, exports, logs, the terminal. A
secret is recognized in three ways: by the name it stands under (``HF_TOKEN``, ``dbPassword``), by its form
(``ghp_...``, a password in a URL), and verbatim, wherever it appears, once its value is known (:func:`remember`).
"""

from autotuner.secrets.cleaning import clean, clean_document, clean_model, clean_models, clean_text
from autotuner.secrets.finding import secrets_in
from autotuner.secrets.forms import HIDDEN, has_secret_form, without_forms
from autotuner.secrets.known import known_secrets, remember, remember_environment
from autotuner.secrets.names import looks_secret

__all__ = [
    "HIDDEN",
    "clean",
    "clean_document",
    "clean_model",
    "clean_models",
    "clean_text",
    "has_secret_form",
    "known_secrets",
    "looks_secret",
    "remember",
    "remember_environment",
    "secrets_in",
    "without_forms",
]
