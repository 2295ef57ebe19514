"""Options of an exported manifest. Each applies to some of the forms, and all problems are reported at once."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field

from autotuner.errors import Problem, UsageError
from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.pod_settings import DNS_LABEL, KEY, NAME, Claim, SecretKey
from autotuner.study.base import FrozenModel

_NAME = re.compile(NAME)
_LABEL = re.compile(DNS_LABEL)
_DNS = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(KEY)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([TBM])")
_UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}
_COMPONENTS = ("-engine", "-decoder", "-router")
SERVICE_NAME_LENGTH = 20
"""Maximum length of an InferenceService name, because OME names a ConfigMap by its last 20 characters."""
_NAME_LENGTH = 50
_DIGEST = 6


class Form(StrEnum):
    """Kinds of manifest."""

    KUBERNETES = "kubernetes"
    SERVING_RUNTIME = "serving-runtime"
    INFERENCE_SERVICE = "inference-service"
    COMPOSE = "compose"


class ClaimFolder(FrozenModel):
    """A PersistentVolumeClaim or a folder in it, as typed. The mount path depends on the model."""

    claim: str
    sub_path: str | None = None

    def at(self, path: str) -> Claim:
        """Returns the claim, mounted at a path."""
        return Claim(claim=self.claim, sub_path=self.sub_path, mount_path=path)


class Named(FrozenModel):
    """The name of an OME object, cluster-scoped or namespaced."""

    name: str
    namespaced: bool = False


class Versioned(FrozenModel):
    """Format or framework of a model."""

    name: str
    version: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """Fields as in ``supportedModelFormats``."""
        return {"name": self.name, **({"version": self.version} if self.version else {})}


class ManifestOptions(FrozenModel):
    """All options; None if not given."""

    name: str | None = None
    namespace: str | None = None
    image: str | None = None
    server: str | None = None
    port: int | None = None
    pvc: ClaimFolder | None = None
    cache_pvc: str | None = None
    hub_token_secret: SecretKey | None = None
    env_secret: Mapping[str, SecretKey] = Field(default_factory=dict)
    runtime: Named | None = None
    model: Named | None = None
    start_from: str | None = None
    """Content of a file with an existing runtime."""
    model_format: Versioned | None = None
    model_framework: Versioned | None = None
    architecture: str | None = None
    quantization: str | None = None
    size_range: tuple[str, str] | None = None


def flag(option: str) -> str:
    """Returns the option as it is typed on the command line."""
    return "--from" if option == "start_from" else f"--{option.replace('_', '-')}"


def parse_options(form: str, given: Mapping[str, Any]) -> ManifestOptions:
    """Parses the options for one form.

    Args:
        form: A :class:`Form`, or a form of ``best`` that takes no options.
        given: Options as typed; None if not given.

    Raises:
        UsageError: With every problem.
    """
    values: dict[str, Any] = {}
    problems = []
    for option, text in given.items():
        if text is None or text == []:
            continue
        if form not in _APPLIES[option]:
            forms = ", ".join(_APPLIES[option])
            problems.append(
                Problem(where=flag(option), why=f"does not apply to --as {form}", remedy=f"it applies to {forms}")
            )
            continue
        try:
            values[option] = _READ.get(option, _text)(text)
        except ValueError as error:
            problems.append(Problem.refused(flag(option), error, value=_shown(option, text)))
    if not problems and (name := values.get("name")) is not None:
        try:
            check_name(name, form)
        except ValueError as error:
            problems.append(Problem.refused("--name", error, value=name))
    if problems:
        raise UsageError(problems)
    return ManifestOptions(**values)


def check_name(name: str, form: str) -> None:
    """Checks a name for the objects of a form.

    Raises:
        ValueError: If the objects cannot have this name.
    """
    if not _DNS.fullmatch(name):
        raise InvalidValueError(
            "is not a valid name",
            remedy="use at most 63 of a-z, 0-9 and -, starting with a letter and not ending with -",
        )
    if form == Form.INFERENCE_SERVICE and len(name) > SERVICE_NAME_LENGTH:
        raise ValueError(f"is longer than the {SERVICE_NAME_LENGTH} characters by which OME distinguishes services")
    if form == Form.INFERENCE_SERVICE and name.endswith(_COMPONENTS):
        raise InvalidValueError(
            "ends like a component of another service", remedy=f"do not end it with {', '.join(_COMPONENTS)}"
        )


def name_of(study: str, form: str) -> str:
    """Derives a valid name from a study's; different studies get different names."""
    max_length = SERVICE_NAME_LENGTH if form == Form.INFERENCE_SERVICE else _NAME_LENGTH
    slug = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-") or "study"
    slug = slug if slug[0].isalpha() else f"at-{slug}"
    if slug == study and len(slug) <= max_length and not slug.endswith(_COMPONENTS):
        return slug
    digest = hashlib.sha256(study.encode()).hexdigest()[:_DIGEST]
    return f"{slug[: max_length - _DIGEST - 1].rstrip('-')}-{digest}"


def _shown(option: str, text: Any) -> str:
    """Returns what was typed, unless a secret may have been typed instead of its name."""
    if option in {"hub_token_secret", "env_secret"}:
        return ""
    return ", ".join(map(str, text)) if isinstance(text, list | tuple) else str(text)


def _text(text: str) -> str:
    if not text.strip() or any(not c.isprintable() for c in text):
        raise ValueError("is not a valid name")
    return text


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(what)
        return text

    return read


_namespace = _matching(_LABEL, "is not a valid namespace; use at most 63 of a-z, 0-9 and -")
_claim_name = _matching(_NAME, "is not a valid name of a PVC; use a-z, 0-9, - and .")


def _image(text: str) -> str:
    if re.search(r"\s", _text(text)):
        raise InvalidValueError("is not an image", remedy="write REPOSITORY:TAG")
    return text


def _claim(text: str) -> ClaimFolder:
    name, colon, path = text.partition(":")
    if colon and (not path or path.startswith("/") or ".." in path.split("/")):
        raise InvalidValueError("is not a folder in the PVC", remedy="write CLAIM:path/to/folder")
    return ClaimFolder(claim=_claim_name(name), sub_path=path or None)


def _secret(text: str) -> SecretKey:
    name, _, key = text.partition("/")
    if not _NAME.fullmatch(name) or not _KEY.fullmatch(key):
        raise InvalidValueError("is not a key in a Secret", remedy="write NAME/KEY, never the secret itself")
    return SecretKey(name=name, key=key)


def _secrets(texts: Sequence[str]) -> dict[str, SecretKey]:
    found = {}
    for text in texts:
        variable, equals, rest = text.partition("=")
        if not equals or not _VARIABLE.fullmatch(variable):
            raise InvalidValueError("is not a variable", remedy="write VARIABLE=NAME/KEY")
        found[variable] = _secret(rest)
    return found


def _named(kind: str) -> Callable[[str], Named]:
    def read(text: str) -> Named:
        head, slash, name = text.rpartition("/")
        if slash and head not in {kind, f"Cluster{kind}"}:
            raise InvalidValueError(
                f"is not a {kind}", remedy=f"write NAME if it is cluster-scoped, {kind}/NAME if it is namespaced"
            )
        if not _LABEL.fullmatch(name):
            raise InvalidValueError(
                "is not a valid label value, which OME requires", remedy="use a name of at most 63 of a-z, 0-9 and -"
            )
        return Named(name=name, namespaced=head == kind)

    return read


def _versioned(text: str) -> Versioned:
    name, _, version = text.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or (version and not re.fullmatch(r"[A-Za-z0-9.+_-]+", version)):
        raise InvalidValueError("is not valid", remedy="write NAME or NAME:VERSION, e.g. safetensors:1.0.0")
    return Versioned(name=name, version=version or None)


def _sizes(text: str) -> tuple[str, str]:
    low, dash, high = text.partition("-")
    found = [_SIZE.fullmatch(part) for part in (low, high)]
    numbers = [float(match[1]) * _UNITS[match[2]] for match in found if match]
    if not dash or len(numbers) < len(found):
        raise InvalidValueError("is not a range of model sizes", remedy="write both ends with T, B or M, e.g. 0.5B-1B")
    if numbers[0] > numbers[1]:
        raise ValueError("is reversed; the first size is larger than the second")
    return low, high


def _port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise ValueError("is not a port")
    return value


_READ: dict[str, Callable[[Any], Any]] = {
    "namespace": _namespace,
    "image": _image,
    "port": _port,
    "pvc": _claim,
    "cache_pvc": _claim_name,
    "hub_token_secret": _secret,
    "env_secret": _secrets,
    "runtime": _named("ServingRuntime"),
    "model": _named("BaseModel"),
    "start_from": lambda text: text,
    "model_format": _versioned,
    "model_framework": _versioned,
    "size_range": _sizes,
}
_PODS = (Form.KUBERNETES, Form.SERVING_RUNTIME, Form.INFERENCE_SERVICE)
_APPLIES: dict[str, tuple[Form, ...]] = {
    **dict.fromkeys(("name", "image", "server", "port"), tuple(Form)),
    **dict.fromkeys(("namespace", "env_secret"), _PODS),
    **dict.fromkeys(("pvc", "cache_pvc", "hub_token_secret"), (Form.KUBERNETES,)),
    **dict.fromkeys(("runtime", "model"), (Form.INFERENCE_SERVICE,)),
    **dict.fromkeys(
        ("start_from", "model_format", "model_framework", "architecture", "quantization", "size_range"),
        (Form.SERVING_RUNTIME,),
    ),
}
