"""Structural schemas that several kinds share, and functions to write them."""

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
INT_OR_STRING: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
STRINGS: Schema = {"type": "array", "items": STRING}
STRING_MAP: Schema = {"type": "object", "additionalProperties": STRING}
QUANTITIES: Schema = {"type": "object", "additionalProperties": INT_OR_STRING}


def a(*required: str, **properties: Schema) -> Schema:
    """Returns the schema of an object with these fields."""
    made: Schema = {"type": "object", "properties": properties}
    return {**made, "required": list(required)} if required else made


def many(items: Schema, **more: Any) -> Schema:
    """Returns the schema of a list."""
    return {"type": "array", "items": items, **more}


def one_of(*values: str) -> Schema:
    """Returns the schema of an enumeration."""
    return {"type": "string", "enum": list(values)}


RESOURCES = a(requests=QUANTITIES, limits=QUANTITIES, claims=many(a("name", name=STRING, request=STRING)))
_HTTP = a(
    "port",
    path=STRING,
    port=INT_OR_STRING,
    host=STRING,
    scheme=STRING,
    httpHeaders=many(a("name", "value", name=STRING, value=STRING)),
)
PROBE = a(
    httpGet=_HTTP,
    tcpSocket=a("port", port=INT_OR_STRING, host=STRING),
    exec=a(command=STRINGS),
    grpc=a("port", port=INTEGER, service=STRING),
    initialDelaySeconds=INTEGER,
    periodSeconds=INTEGER,
    timeoutSeconds=INTEGER,
    failureThreshold=INTEGER,
    successThreshold=INTEGER,
    terminationGracePeriodSeconds=INTEGER,
)
ENV = many(a("name", name=STRING, value=STRING, valueFrom=ANYTHING))
ENV_FROM = many(a(prefix=STRING, configMapRef=ANYTHING, secretRef=ANYTHING))
MOUNTS = many(
    a(
        "name",
        "mountPath",
        name=STRING,
        mountPath=STRING,
        readOnly=BOOLEAN,
        subPath=STRING,
        subPathExpr=STRING,
        mountPropagation=STRING,
        recursiveReadOnly=STRING,
    )
)
_CONTAINER: dict[str, Schema] = {
    "name": STRING, "image": STRING, "command": STRINGS, "args": STRINGS, "env": ENV, "envFrom": ENV_FROM,
    "workingDir": STRING, "imagePullPolicy": STRING, "volumeMounts": MOUNTS, "volumeDevices": many(ANYTHING),
    "ports": many(
        a("containerPort", containerPort=INTEGER, name=STRING, protocol=STRING, hostPort=INTEGER, hostIP=STRING)
    ),
    "resources": RESOURCES, "resizePolicy": many(ANYTHING), "restartPolicy": STRING,
    "livenessProbe": PROBE, "readinessProbe": PROBE, "startupProbe": PROBE, "lifecycle": ANYTHING,
    "terminationMessagePath": STRING, "terminationMessagePolicy": STRING, "securityContext": ANYTHING,
    "stdin": BOOLEAN, "stdinOnce": BOOLEAN, "tty": BOOLEAN,
}  # fmt: skip
RUNNER = a(**_CONTAINER)
"""Container whose name is optional."""
CONTAINER = a("name", **_CONTAINER)
TOLERATIONS = many(a(key=STRING, operator=STRING, value=STRING, effect=STRING, tolerationSeconds=INTEGER))
VOLUMES = many({**ANYTHING, "properties": {"name": STRING}, "required": ["name"]})
POD: dict[str, Schema] = {
    "volumes": VOLUMES, "initContainers": many(CONTAINER), "containers": many(CONTAINER), "nodeSelector": STRING_MAP,
    "tolerations": TOLERATIONS, "affinity": ANYTHING, "priorityClassName": STRING, "schedulerName": STRING,
    "runtimeClassName": STRING, "serviceAccountName": STRING, "imagePullSecrets": many(a(name=STRING)),
    "terminationGracePeriodSeconds": INTEGER, "hostNetwork": BOOLEAN, "hostIPC": BOOLEAN, "hostPID": BOOLEAN,
    "dnsPolicy": STRING, "dnsConfig": ANYTHING, "hostAliases": many(a("ip", ip=STRING, hostnames=STRINGS)),
    "securityContext": ANYTHING, "topologySpreadConstraints": many(ANYTHING), "nodeName": STRING, "hostname": STRING,
    "subdomain": STRING, "restartPolicy": STRING, "shareProcessNamespace": BOOLEAN, "enableServiceLinks": BOOLEAN,
    "automountServiceAccountToken": BOOLEAN, "activeDeadlineSeconds": INTEGER, "preemptionPolicy": STRING,
    "priority": INTEGER, "readinessGates": many(ANYTHING), "overhead": QUANTITIES, "schedulingGates": many(ANYTHING),
}  # fmt: skip
EMBEDDED = frozenset(POD)
"""Fields of a component that belong to its pods."""
