"""Messages with which admission refuses a pod: who refuses it, whether waiting may help, and the remedy.

The message is the same in a dry run, in the ``FailedCreate`` events of the object that makes the pod, and in a
Deployment's conditions.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from autotuner.study.failure import Failure, FailureCause

LOADGEN = "loadgen"
"""Name of the load generator's container; every other container is a server's."""
_TRANSIENT = re.compile(
    r"failed calling webhook|timed out|timeout|deadline exceeded|connection refused|Internal error|etcdserver"
    r"|object has been modified|status unknown for quota|too many requests|\bEOF\b"
    r'|serviceaccount "default" not found',  # created a moment after its namespace
    re.IGNORECASE,
)
_FINAL = re.compile(r"is forbidden|is invalid|denied|pod rejected|Invalid value|Unsupported value|unknown field")
_PREFIX = re.compile(r"^Error creating: ")
_SUBJECT = re.compile(r'^pods "[^"]+" is forbidden: (?=\S)')
_RIGHT = re.compile(r'cannot (\w+) resource "([^"]+)"(?: in API group "([^"]*)")?')
_CONTEXT = re.compile(r"allowPrivilegeEscalation|capabilities|runAsNonRoot|seccompProfile|runAsUser")
_VOLUME = re.compile(r"hostPath|restricted volume types")
_MISSING = re.compile(r"((?:requests|limits)\.[a-z-]+|cpu|memory|ephemeral-storage)(?= for:|,|;|$)")
_POLICY = "make the pod comply (deploy.labels, deploy.annotations, deploy.security), or ask the owner of the policy"


@dataclass(frozen=True)
class Refusal:
    """Why a pod was not created."""

    why: str
    """The message of the API server."""
    who: str
    """What refuses it; empty if unknown."""
    remedies: tuple[str, ...]
    """What to change; the pod is refused until all of it is done."""
    final: bool
    """Retrying does not help."""

    @property
    def remedy(self) -> str:
        """All remedies in one line."""
        return ", and ".join(self.remedies)

    @property
    def message(self) -> str:
        """The API server's message, after who refuses the pod."""
        return f"{self.who} refuses the pod: {_SUBJECT.sub('', self.why)}" if self.who else self.why


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    who: Callable[[re.Match[str]], str]
    remedies: Callable[[re.Match[str], str], tuple[str, ...]]


def judge(why: str, part: str = "") -> Refusal:
    """Classifies a message about a pod whose container is ``part``."""
    message = _PREFIX.sub("", " ".join(why.split()))
    transient = bool(_TRANSIENT.search(message))
    for rule in _RULES:
        if match := rule.pattern.search(message):
            return Refusal(message, rule.who(match), rule.remedies(match, part), final=not transient)
    remedy = "correct the settings under deploy that it names, or ask the cluster's administrator"
    return Refusal(message, "", (remedy,), final=bool(_FINAL.search(message)) and not transient)


def not_authenticated(why: str) -> Failure:
    """Returns the failure for credentials that are not accepted even after they were read again."""
    return Failure(
        cause=FailureCause.NOT_ACCEPTED,
        message=f"the API server refuses the credentials ({why})",
        remedy="log in again or renew the token in deploy.kubeconfig; kubectl auth whoami must work with it",
    )


def missing_right(why: str) -> str:
    """Returns the verb and the resource that an account lacks (``create pods``); empty for another kind of refusal."""
    match = _RIGHT.search(why)
    if match is None:
        return ""
    return f"{match[1]} {match[2]}" + (f" ({match[3]})" if match[3] else "")


def setting(name: str, part: str) -> str:
    """Returns the path of a setting in a study file, for the server or the load generator."""
    return f"deploy.loadgen_{name}" if part == LOADGEN else f"deploy.{name}"


def resource_setting(key: str, part: str) -> str:
    """Returns the setting for a resource that a quota or LimitRange names (``limits.cpu``)."""
    kind, _, name = key.rpartition(".")
    if name == "cpu":
        return setting("cpu_limit" if kind == "limits" else "cpu", part)
    return setting(name.replace("-", "_"), part)


def _pod_security(match: re.Match[str], _: str) -> tuple[str, ...]:
    violations = match[2] or ""
    changes = list[str]()
    if _CONTEXT.search(violations):
        changes.append("set deploy.security: restricted, or deploy.security_context and container_security_context")
    if _VOLUME.search(violations):
        changes.append("use deploy.pvc or a model of the Hub instead of deploy.model_roots, which are hostPath volumes")
    other = "choose a namespace whose pod-security.kubernetes.io/enforce label allows it"
    return tuple(changes) or (other,)


def _required(match: re.Match[str], part: str) -> tuple[str, ...]:
    keys = dict.fromkeys(_MISSING.findall(match[2]))
    settings = dict.fromkeys(resource_setting(key, part) for key in keys)
    return (f"set {' and '.join(settings)}" if settings else "set what the quota requires (kubectl describe quota)",)


def _limit_range(match: re.Match[str], part: str) -> tuple[str, ...]:
    key = "limits.cpu" if "No limit is specified" in match.string and match[1] == "cpu" else match[1]
    return (f"bring {resource_setting(key, part)} within the namespace's LimitRange (kubectl describe limitrange)",)


def _of_setting(name: str, make: str) -> Callable[[re.Match[str], str], tuple[str, ...]]:
    def remedies(_: re.Match[str], part: str) -> tuple[str, ...]:
        # The load generator has no runtime class of its own.
        own = setting(name, part) if name != "runtime_class" else f"deploy.{name}"
        return (f"correct {own}, or {make}",)

    return remedies


def _always(remedy: str) -> Callable[[re.Match[str], str], tuple[str, ...]]:
    return lambda _, __: (remedy,)


_RULES = (
    _Rule(
        re.compile(r'violate[s]? PodSecurity "([^"]+)"(?:: (.*))?'), lambda m: f"Pod Security ({m[1]})", _pod_security
    ),
    _Rule(
        re.compile(r"unable to validate against any security context constraint"),
        lambda _: "OpenShift's SecurityContextConstraints",
        _always("set deploy.security: restricted without a runAsUser, or deploy.service_account to one with an SCC"),
    ),
    _Rule(
        re.compile(r"failed quota: ([^\s:]+): must specify (.*)"),
        lambda m: f"ResourceQuota {m[1]}",
        _required,
    ),
    _Rule(
        re.compile(r"(?:maximum|minimum) ([a-z-]+) usage per (?:Container|Pod)"),
        lambda _: "a LimitRange of the namespace",
        _limit_range,
    ),
    _Rule(
        re.compile(r"([a-z-]+) max limit to request ratio per (?:Container|Pod)"),
        lambda _: "a LimitRange of the namespace",
        _limit_range,
    ),
    _Rule(
        re.compile(r"ValidatingAdmissionPolicy '([^']+)'"),
        lambda m: f"admission policy {m[1]}",
        _always(_POLICY),
    ),
    _Rule(
        re.compile(r'admission webhook "([^"]+)" denied'),
        lambda m: f"admission webhook {m[1]}",
        _always(_POLICY),
    ),
    _Rule(
        re.compile(r'serviceaccount "([^"]+)" not found'),
        lambda _: "the API server",
        _of_setting("service_account", "create the ServiceAccount in the namespace"),
    ),
    _Rule(
        re.compile(r"no PriorityClass with name (\S+) was found"),
        lambda _: "the API server",
        _of_setting("priority_class", "create the PriorityClass"),
    ),
    _Rule(
        re.compile(r'RuntimeClass "?([^"\s]+)"? not found'),
        lambda _: "the API server",
        _of_setting("runtime_class", "create the RuntimeClass"),
    ),
    _Rule(
        _RIGHT,
        lambda _: "the API server",
        lambda m, _: (f"give the tuner's account the verb {m[1]} on {m[2]} (packaging/rbac-*.yaml)",),
    ),
    _Rule(
        re.compile(r"because it is being terminated"),
        lambda _: "the namespace",
        _always("wait until the namespace is gone, or choose another deploy.namespace"),
    ),
)
