"""What clients of the server may name in studies: traversal, links, file URLs, commands, images, variables."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.api.clients.policy import Policy
from autotuner.errors import UsageError
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that clients may use, beside one that they may not."""
    root = tmp_path / "root"
    for name in ("root/models", "secret", "root-2"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("root/models/m.gguf", "secret/key", "root-2/m.gguf"):
        (tmp_path / name).write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "file-link").symlink_to(tmp_path / "secret" / "key")
    (root / "inner-link").symlink_to(root / "models")
    (root / "circle").symlink_to(root / "circle")
    return root


def spec(**changes: Any) -> StudySpec:
    study = {
        "name": "s",
        "model": "org/model",
        "engine": "vllm",
        "workload": {"scenarios": ["D(16,8)"], "concurrency": [1]},
        "objective": "max output_throughput",
        **changes,
    }
    return parse_study(study, source="study", folder=Path("/")).spec


def refused(policy: Policy, **changes: Any) -> list[str]:
    """The places that are refused."""
    with pytest.raises(UsageError) as caught:
        policy.permitted(spec(**changes))
    return [problem.where for problem in caught.value.problems]


def engine(**changes: Any) -> dict[str, Any]:
    return {"engine": {"kind": "vllm", **changes}}


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{root}/../secret/key",
        "{root}/link/key",
        "{root}/file-link",
        "{root}-2/m.gguf",
        "{root}/circle",
        "{root}/models/../../secret/key",
        "{root}/inner-link/../../secret/key",
        "../secret/key",
        "~/key",
        "~root/key",
        "file:{root}/models/m.gguf",
        "file:///etc/passwd",
        "./m.gguf",
        "models/a/m.gguf",
        "{root}/link/new",
        "//etc/passwd",
        "/proc/self/root/etc/passwd",
        "..",
        ".",
        "/",
        "C:\\key",
        "org/..",
        "org/../../key",
        "s3://bucket/model",
    ],
)
def test_models_outside_of_the_roots_are_refused(root: Path, path: str, trusted: bool) -> None:
    text = path.format(root=root)
    assert refused(Policy([root], trusted=trusted), model=text) == ["model"]


def test_files_under_the_roots_and_names_of_hub_models_are_allowed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy([root])
    for name in ("Qwen/Qwen3-8B", "gpt2", "org_1/model-v1.5"):
        assert policy.permitted(spec(model=name)).model.path == name
    file = str(root / "models/m.gguf")
    assert policy.permitted(spec(model=file)).model.path == file
    monkeypatch.chdir(root)
    assert refused(policy, model="models/m.gguf") == ["model"], "it would be read as a file, wherever the server runs"


def test_allowed_links_are_replaced_by_what_they_lead_to(root: Path) -> None:
    """A link that is changed after the check must not lead anywhere else."""
    found = Policy([root]).permitted(spec(model=str(root / "inner-link/m.gguf")))
    assert found.model.path == str(root / "models/m.gguf")


def test_a_root_may_itself_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    policy = Policy([tmp_path / "alias"])
    assert policy.permitted(spec(model=f"{tmp_path}/alias/models/m.gguf")).model.path == str(root / "models/m.gguf")


def test_without_roots_no_file_is_allowed(root: Path) -> None:
    assert refused(Policy(), model=str(root / "models/m.gguf")) == ["model"]


@pytest.mark.parametrize("trusted", [False, True])
def test_files_of_the_load_are_checked(root: Path, trusted: bool) -> None:
    policy = Policy([root], trusted=trusted)
    load = {"concurrency": [1]}
    assert refused(policy, workload={"scenarios": ["dataset:/etc/passwd"], **load}) == ["workload.scenarios[0]"]
    assert refused(policy, workload={"scenarios": ["trace:/etc/passwd"], "speeds": [1]}) == ["workload.scenarios[0]"]
    assert refused(policy, workload={"scenarios": ["D(16,8)"], "tokenizer": "tokenizer.json", **load}) == [
        "workload.tokenizer"
    ]
    mix = {"mix": [{"scenario": "dataset:/etc/passwd", "weight": 1}, {"scenario": "D(8,8)", "weight": 1}]}
    assert refused(policy, workload={"scenarios": [mix], **load}) == ["workload.scenarios[0]"]
    found = policy.permitted(spec(workload={"scenarios": [f"dataset:{root}/inner-link/m.gguf"], **load}))
    assert found.workload.scenarios[0].dataset == str(root / "models/m.gguf")


HIDDEN_PATHS = (
    "/etc/passwd", "a=/etc/passwd", '{"path": "/etc/passwd"}', "x,/etc/passwd", "x:/etc/passwd", "file:///etc/passwd",
    "FILE:/etc/passwd", "file:///%65tc/passwd", "../secret", "a/../../secret", "~/secret", "x=~/secret", "./secret",
    "{root}/link/key", "{root}/../secret/key", "[/etc/passwd]", "<(/etc/passwd)", "a|/etc/passwd", "a\n/etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("text", HIDDEN_PATHS)
def test_paths_in_flags_are_found(root: Path, text: str, trusted: bool) -> None:
    policy = Policy([root], trusted=trusted, allow={"flags": ["chat-template"]})
    text = text.replace("{root}", str(root))
    assert refused(policy, **engine(args={"chat-template": text})) == ["engine.args.chat-template"]
    tuned = {"parameters": {"chat-template": ["a", text]}}
    assert refused(policy, **tuned) == ["parameters.chat-template"]
    assert "baseline.chat-template" in refused(
        policy, parameters={"chat-template": ["a"]}, baseline={"chat-template": text}
    )
    combinations = [{"chat-template": "a"}, {"chat-template": text}]
    assert refused(policy, parameters=combinations) == ["parameters[1].chat-template"]
    named = {"t": {"combinations": {"one": {"chat-template": text}}}}
    assert refused(policy, parameters=named) == ["parameters.t"]


def test_a_file_under_the_roots_may_be_a_flag(root: Path) -> None:
    Policy([root]).permitted(spec(**engine(args={"chat-template": str(root / "models/m.gguf")})))


@pytest.mark.parametrize(
    "args",
    [
        {"trust-remote-code": True}, {"trust_remote_code": True}, {"worker-cls": "m.C"}, {"middleware": "m.f"},
        {"tool-parser-plugin": "m"}, {"custom-weight-loader": "m.f"}, {"rpc": "host"}, {"--trust-remote-code": True},
        {"speculative-config": '{"method": "ngram"}'}, {"x": "a b"}, {"x": "https://host/a"}, {"x": "$(id)"},
    ],
)  # fmt: skip
def test_flags_that_run_code_or_have_structure_are_for_administrators(root: Path, args: dict[str, Any]) -> None:
    (name,) = args
    assert set(refused(Policy([root]), **engine(args=args))) == {f"engine.args.{name}"}
    Policy([root], trusted=True).permitted(spec(**engine(args=args)))
    Policy([root], allow={"flags": [name.lstrip("-")]}).permitted(spec(**engine(args=args)))


@pytest.mark.parametrize("name", ["a b", "a\n--x", "--a=/etc/passwd", "/etc/passwd", ""])
def test_names_of_flags_hide_nothing(name: str) -> None:
    with pytest.raises(UsageError):
        Policy(trusted=True).permitted(spec(**engine(args={name: 1})))


def test_ordinary_flags_are_allowed(root: Path) -> None:
    args = {"max-num-seqs": 64, "gpu-memory-utilization": 0.9, "kv-cache-dtype": "fp8", "enforce-eager": True}
    Policy([root]).permitted(
        spec(**engine(args=args), parameters={"max-num-batched-tokens": {"low": 1024, "high": 8192}})
    )


@pytest.mark.parametrize(
    ("section", "settings", "where", "allowed"),
    [
        ("engine", {"kind": "vllm", "env": {"LD_PRELOAD": "x"}}, "env.LD_PRELOAD", ("env", "LD_*")),
        ("deploy", {"kind": "docker", "image": "evil:1"}, "image", ("images", "evil:*")),
        ("deploy", {"kind": "docker", "image": "evil", "image_tag": "2"}, "image", ("images", "evil:2")),
        ("deploy", {"kind": "docker", "docker_host": "tcp://h:1"}, "docker_host", ("settings", "deploy.docker.*")),
        ("deploy", {"kind": "docker", "model_roots": ["/etc"]}, "model_roots", ("settings", "deploy.*.model_roots")),
        ("deploy", {"kind": "external", "url": "http://10.0.0.1"}, "url", ("settings", "deploy.external.url")),
        ("deploy", {"kind": "kubernetes", "namespace": "x"}, "namespace", ("settings", "deploy.kubernetes.namespace")),
        ("engine", {"kind": "llama_cpp", "server": "/bin/sh"}, "server", ("settings", "engine.llama_cpp.server")),
        ("benchmark", {"kind": "genai_bench", "command": "sh"}, "command", ("settings", "benchmark.*.command")),
        ("benchmark", {"kind": "native", "api_key_env": "AWS"}, "api_key_env", ("settings", "*.native.api_key_env")),
    ],
)
def test_commands_images_and_variables_are_for_administrators(
    root: Path, section: str, settings: dict[str, Any], where: str, allowed: tuple[str, str]
) -> None:
    changes = {section: settings}
    assert set(refused(Policy([root]), **changes)) == {f"{section}.{where}"}
    Policy([root], trusted=True).permitted(spec(**changes))
    Policy([root], allow={allowed[0]: [allowed[1]]}).permitted(spec(**changes))


def test_tuned_variables_are_for_administrators(root: Path) -> None:
    tuned = {"parameters": {"env.LD_PRELOAD": ["x", "y"]}}
    assert set(refused(Policy([root]), **tuned)) == {"parameters.env.LD_PRELOAD"}
    Policy([root], trusted=True).permitted(spec(**tuned))
    Policy([root], allow={"env": ["LD_PRELOAD"]}).permitted(spec(**tuned))


def test_every_entry_of_several_engines_is_checked(root: Path) -> None:
    entries = [
        {"name": "a", "kind": "vllm", "deploy": {"kind": "process"}},
        {"name": "b", "kind": "sglang", "deploy": {"kind": "docker", "image": "evil"}, "env": {"X": "1"},
         "parameters": {"chat-template": ["/etc/passwd"]}, "args": {"trust-remote-code": True}},
    ]  # fmt: skip
    study = {
        "name": "s",
        "model": "org/model",
        "engines": entries,
        "workload": {"scenarios": ["D(16,8)"], "concurrency": [1]},
        "objective": "max output_throughput",
    }
    found = parse_study(study, source="study", folder=Path("/")).spec
    with pytest.raises(UsageError) as caught:
        Policy([root]).permitted(found)
    places = {problem.where for problem in caught.value.problems}
    assert {"engines[1].deploy.image", "engines[1].engine.env.X", "engines[1].engine.args.trust-remote-code"} <= places
    assert "engines[1].parameters.chat-template" in places


def test_tasks_name_no_commands(root: Path) -> None:
    quality = {"tasks": {"names": ["gsm8k"], "command": ["sh", "-c", "id"]}}
    assert refused(Policy([root]), quality=quality) == ["quality.tasks.command"]
    Policy([root], trusted=True).permitted(spec(quality=quality))
    arguments = {"tasks": {"names": ["gsm8k"], "model_args": {"tokenizer": "/etc/passwd"}}}
    assert refused(Policy([root], trusted=True), quality=arguments) == ["quality.tasks"]


def test_all_problems_are_reported_at_once(root: Path) -> None:
    found = refused(Policy([root]), model="/etc/passwd", **engine(env={"A": "1"}, args={"trust-remote-code": True}))
    assert sorted(found) == ["engine.args.trust-remote-code", "engine.env.A", "model"]
