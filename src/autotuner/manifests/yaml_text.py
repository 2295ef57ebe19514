"""YAML output that every parser reads as the same values.

YAML 1.1, on which the parsers of Kubernetes and Compose are based, does not read ``on``, ``1e3`` and ``12:30`` as
strings, and YAML 1.2 differs for some of them. A string is therefore left unquoted only if both versions read it as a
string; every other string is double-quoted. Order is kept, lines are not folded, and there are no anchors.
"""

import io
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

_BARE = re.compile(r"(?:--?)?[A-Za-z/](?:[A-Za-z0-9_./@:-]*[A-Za-z0-9_/-])?")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan", "infinity"})
_NO_FOLDING = 1 << 30


class _Representer(SafeRepresenter):
    """Quotes strings as the module describes, and writes an object twice if it occurs twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(representer: SafeRepresenter, text: str) -> ScalarNode:
    bare = _BARE.fullmatch(text) and text.lstrip("-").lower() not in _WORDS
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=None if bare else '"')


_Representer.add_representer(str, _string)


def yaml_text(objects: Sequence[Mapping[str, Any]], comments: Sequence[str] = ()) -> str:
    """Writes one YAML document per object.

    Args:
        objects: Contents of the documents.
        comments: Comment lines at the top; a line break within one starts a new comment line.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = _NO_FOLDING
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    for line in (line for comment in comments for line in comment.splitlines()):
        out.write(f"# {line}".rstrip() + "\n")
    for number, document in enumerate(objects):
        if number:
            out.write("---\n")
        yaml.dump(plain(document), out)
    return out.getvalue()


def yaml_objects(text: str) -> list[Any]:
    """Parses the documents of a YAML or JSON text; empty documents are left out. Raises ``ValueError``."""
    try:
        return [plain(document) for document in YAML(typ="safe", pure=True).load_all(text) if document is not None]
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or 'not valid YAML'}") from None


def plain(data: Any) -> Any:
    """Converts mappings and sequences to dicts and lists, and dates to text."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    return data.isoformat() if isinstance(data, date) else data
