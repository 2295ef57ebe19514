"""The kinds of ome.io/v1beta1: their fields, status subresources and printer columns. Unknown fields are pruned."""

from support.ome_standin.kube import KINDS, Object
from support.ome_standin.schemas import (
    ANYTHING,
    BOOLEAN,
    ENV,
    ENV_FROM,
    INT_OR_STRING,
    INTEGER,
    MOUNTS,
    POD,
    RESOURCES,
    RUNNER,
    STRING,
    STRING_MAP,
    STRINGS,
    TOLERATIONS,
    VOLUMES,
    Schema,
    a,
    many,
    one_of,
)

GROUP = "ome.io"
VERSION = "v1beta1"

_SCALING: dict[str, Schema] = {
    "minReplicas": INTEGER, "maxReplicas": INTEGER, "scaleTarget": INTEGER,
    "scaleMetric": one_of("cpu", "memory", "concurrency", "rps"), "containerConcurrency": INTEGER,
    "timeoutSeconds": INTEGER, "canaryTrafficPercent": INTEGER, "labels": STRING_MAP, "annotations": STRING_MAP,
    "minAvailable": INT_OR_STRING, "maxUnavailable": INT_OR_STRING, "deploymentStrategy": ANYTHING,
    "kedaConfig": ANYTHING,
}  # fmt: skip
_ENGINE = a(
    **POD,
    **_SCALING,
    runner=RUNNER,
    leader=a(**POD, runner=RUNNER),
    worker=a(**POD, size=INTEGER, runner=RUNNER),
    acceleratorOverride=ANYTHING,
)
_ROUTER = a(**POD, **_SCALING, runner=RUNNER, config=STRING_MAP, extension=ANYTHING)
_REFERENCE = {"name": STRING, "kind": STRING, "apiGroup": STRING}
_SELECTOR = a(
    acceleratorClass=STRING,
    constraints=a(
        minMemory=INTEGER, maxMemory=INTEGER, minComputePerformanceTFLOPS=INTEGER, minArchitectureVersion=STRING,
        requiredFeatures=STRINGS, excludedClasses=STRINGS, architectureFamilies=STRINGS, preferredPrecisions=STRINGS,
    ),
    policy=one_of("BestFit", "Cheapest", "MostCapable", "FirstAvailable"),
)  # fmt: skip
SERVICE = a(
    model=a("name", **_REFERENCE, fineTunedWeights=STRINGS),
    runtime=a("name", **_REFERENCE),
    engine=_ENGINE,
    decoder=_ENGINE,
    router=_ROUTER,
    acceleratorSelector=_SELECTOR,
    kedaConfig=ANYTHING,
)

_FORMAT = a("name", name=STRING, version=STRING, operator=STRING, weight=INTEGER)
_SUPPORTED = a(
    "modelFormat", "modelFramework", modelFormat=_FORMAT, modelFramework=_FORMAT, name=STRING,
    modelArchitecture=STRING, quantization=STRING, autoSelect=BOOLEAN, priority={**INTEGER, "minimum": 1},
    version=STRING, modelType=STRING, diffusionPipeline=ANYTHING,
    acceleratorConfig={"type": "object", "additionalProperties": a(
        minMemoryPerBillionParams=INTEGER,
        tensorParallelismOverride=a(tensorParallelSize=INTEGER, pipelineParallelSize=INTEGER, dataParallelSize=INTEGER),
        runtimeArgsOverride=STRINGS, environmentOverride=STRING_MAP,
    )},
)  # fmt: skip
RUNTIME = a(
    supportedModelFormats=many(_SUPPORTED),
    modelSizeRange=a(min=STRING, max=STRING),
    disabled=BOOLEAN,
    protocolVersions=STRINGS,
    engineConfig=_ENGINE,
    decoderConfig=_ENGINE,
    routerConfig=_ROUTER,
    acceleratorRequirements=a(acceleratorClasses=STRINGS, minMemory=INTEGER, requiredFeatures=STRINGS),
    containers=many(RUNNER),
    volumes=VOLUMES,
    nodeSelector=STRING_MAP,
    workers=ANYTHING,
)

_STORAGE = a(
    "storageUri",
    storageUri=STRING,
    path=STRING,
    key=STRING,
    parameters=STRING_MAP,
    nodeSelector=STRING_MAP,
    nodeAffinity=ANYTHING,
    downloadPolicy=one_of("AlwaysDownload", "ReuseIfExists"),
    schemaPath=STRING,
)
MODEL = a(
    "storage", storage=_STORAGE, modelFormat=a("name", name=STRING, version=STRING),
    modelFramework=a("name", name=STRING, version=STRING),
    modelArchitecture=STRING, quantization=STRING, modelParameterSize=STRING, modelType=STRING,
    modelCapabilities=STRINGS, apiCapabilities=STRINGS, maxTokens=INTEGER, vendor=STRING, version=STRING,
    disabled=BOOLEAN, displayName=STRING, compartmentID=STRING, additionalMetadata=STRING_MAP,
    modelConfiguration=ANYTHING,
)  # fmt: skip

_OVERRIDE = a(
    image=STRING,
    env=ENV,
    envFrom=ENV_FROM,
    volumeMounts=MOUNTS,
    resources=RESOURCES,
    tolerations=TOLERATIONS,
    nodeSelector=STRING_MAP,
    affinity=ANYTHING,
    volumes=VOLUMES,
)
BENCHMARK = a(
    "endpoint", "task", "maxTimePerIteration", "maxRequestsPerIteration", "outputLocation",
    endpoint=a(
        inferenceService=a("name", "namespace", name=STRING, namespace=STRING),
        endpoint=a(
            "url", "apiFormat", url=STRING, apiFormat=one_of("openai", "oci-cohere", "cohere"), modelName=STRING
        ),
    ),
    task=one_of("text-to-text", "image-to-text", "text-to-embeddings", "image-to-embeddings"),
    trafficScenarios=many(STRING, **{"x-kubernetes-list-type": "set"}),
    numConcurrency=many(INTEGER, **{"x-kubernetes-list-type": "set"}),
    maxTimePerIteration=INTEGER, maxRequestsPerIteration=INTEGER, additionalRequestParams=STRING_MAP,
    dataset=a("storageUri", storageUri=STRING, path=STRING, key=STRING, parameters=STRING_MAP), outputLocation=_STORAGE,
    resultFolderName=STRING,
    serviceMetadata=a(
        "engine", "version", "gpuType", "gpuCount", engine=one_of("vLLM", "SGLang", "TGI"), version=STRING,
        gpuType=one_of("H100", "A100", "MI300", "A10"), gpuCount=INTEGER,
    ),
    huggingFaceSecretReference=a("name", name=STRING), podOverride=_OVERRIDE,
)  # fmt: skip

_CONDITION = ".status.conditions[?(@.type=='Ready')].status"
_TRAFFIC = ".status.components.engine.traffic[?(@.{})].percent"
_SERVICE_COLUMNS = {
    "URL": ".status.url", "Ready": _CONDITION, "BaseModel": ".spec.model.name", "Runtime": ".spec.runtime.name",
    "Prev": _TRAFFIC.format("tag=='prev'"), "Latest": _TRAFFIC.format("latestRevision==true"),
    "PrevRolledoutRevision": ".status.components.engine.previousRolledoutRevision",
    "LatestReadyRevision": ".status.components.engine.latestReadyRevision",
}  # fmt: skip
_OF_FORMAT = ".spec.supportedModelFormats[*]"
_RUNTIME_COLUMNS = {
    "Disabled": ".spec.disabled", "ModelFormat": f"{_OF_FORMAT}.modelFormat.name",
    "ModelFramework": f"{_OF_FORMAT}.modelFramework.name",
    "ModelFrameworkVersion": f"{_OF_FORMAT}.modelFramework.version",
    "ModelArchitecture": f"{_OF_FORMAT}.modelArchitecture", "ModelSizeMin": ".spec.modelSizeRange.min",
    "ModelSizeMax": ".spec.modelSizeRange.max", "Images": ".spec.engineConfig.runner.image",
}  # fmt: skip
_MODEL_COLUMNS = {
    "Disabled": ".spec.disabled", "Version": ".spec.version", "Vendor": ".spec.vendor",
    "Framework": ".spec.modelFramework.name", "FrameworkVersion": ".spec.modelFramework.version",
    "ModelFormat": ".spec.modelFormat.name", "Architecture": ".spec.modelArchitecture",
    "Capabilities": ".spec.modelCapabilities", "Size": ".spec.modelParameterSize",
    "CompartmentID": ".spec.compartmentID", "Ready": ".status.state",
}  # fmt: skip
_WEIGHT_COLUMNS = {
    "Disabled": ".spec.disabled", "Version": ".spec.version", "Vendor": ".spec.vendor",
    "CompartmentID": ".spec.compartmentID", "ModelType": ".spec.modelType", "Ready": ".status.state",
}  # fmt: skip
_CLASS_COLUMNS = {
    "Vendor": ".spec.vendor", "Family": ".spec.family", "Memory": ".spec.capabilities.memoryGB",
    "Nodes": ".status.availableNodes",
}  # fmt: skip


def crds() -> list[Object]:
    """Returns the CustomResourceDefinitions of all kinds."""
    return [
        _crd("InferenceService", SERVICE, _SERVICE_COLUMNS, short=("isvc",)),
        _crd("ServingRuntime", RUNTIME, _RUNTIME_COLUMNS, status=False),
        _crd("ClusterServingRuntime", RUNTIME, _RUNTIME_COLUMNS, status=False),
        _crd("BaseModel", MODEL, _MODEL_COLUMNS),
        _crd("ClusterBaseModel", MODEL, _MODEL_COLUMNS),
        _crd("FineTunedWeight", ANYTHING, _WEIGHT_COLUMNS),
        _crd("BenchmarkJob", BENCHMARK, {"Age": ".metadata.creationTimestamp", "Status": ".status.state"}, age=False),
        _crd("AcceleratorClass", ANYTHING, _CLASS_COLUMNS, age=False),
    ]


def _crd(
    kind: str,
    spec: Schema,
    columns: dict[str, str],
    *,
    status: bool = True,
    short: tuple[str, ...] = (),
    age: bool = True,
) -> Object:
    known = KINDS[kind]
    shown = {**columns, "Age": ".metadata.creationTimestamp"} if age else columns
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": a(
                apiVersion=STRING,
                kind=STRING,
                metadata={"type": "object"},
                spec=spec,
                status=ANYTHING,
            )
        },
        "subresources": {"status": {}} if status else {},
        "additionalPrinterColumns": [
            {"name": name, "type": "date" if name == "Age" else "string", "jsonPath": path}
            for name, path in shown.items()
        ],
    }
    names = {"kind": kind, "listKind": f"{kind}List", "plural": known.plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{known.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if known.namespaced else "Cluster",
            "names": {**names, **({"shortNames": list(short)} if short else {})},
            "versions": [version],
        },
    }
