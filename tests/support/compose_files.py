"""Validation of Compose files by the Compose specification's own JSON schema, which check-jsonschema ships."""

from functools import cache

from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from ruamel.yaml import YAML


@cache
def _validator() -> Validator:
    schema = get_builtin_schema("vendor.compose-spec")
    kind = validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def compose_problems(text: str) -> list[str]:
    """Returns the violations of the specification, as ``path: reason``. Raises ``YAMLError`` if it is not YAML."""
    file = YAML(typ="safe").load(text)
    return [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(file)]
