"""Reasons why no test cluster can be started, its builds, and image archives: without a cluster."""

import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from support import kueue
from support.labs import cluster, namespaces
from support.labs.cluster_images import image_names, write_archive, write_busybox

ROOT = Path(__file__).parents[3]


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that seems to lack nothing; returns the folder of its programs."""
    monkeypatch.setattr(namespaces, "why_not", lambda: "")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(cluster, "CNI", tmp_path)
    monkeypatch.setenv("AUTOTUNER_KUBERNETES_BIN", str(tmp_path))
    for name in ("bridge", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"):
        (tmp_path / name).touch()
    assert cluster.why_not() == ""
    return tmp_path


class TestWhyNot:
    """Each reason names its remedy."""

    def test_without_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert "only root" in cluster.why_not()

    @pytest.mark.parametrize(
        ("name", "package"), [("containerd", "containerd"), ("ctr", "containerd"), ("busybox", "busybox-static")]
    )
    def test_missing_package(self, able: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
        assert able.is_dir()
        monkeypatch.setattr("shutil.which", lambda program: None if program == name else f"/usr/bin/{program}")
        reason = cluster.why_not()
        assert reason.startswith(f"{name} ")
        assert f"apt install {package})" in reason

    def test_missing_network_plugins(self, able: Path) -> None:
        (able / "bridge").unlink()
        assert "apt install containernetworking-plugins" in cluster.why_not()

    @pytest.mark.parametrize("name", ["etcd", "kubelet", "kubectl"])
    def test_missing_build(self, able: Path, name: str) -> None:
        (able / name).unlink()
        reason = cluster.why_not()
        assert all(text in reason for text in (name, str(able), "make cluster-build", "AUTOTUNER_KUBERNETES_BIN"))

    def test_machine_without_namespaces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        refused = subprocess.CompletedProcess([], 1, "", "unshare failed: Operation not permitted")
        monkeypatch.setattr("subprocess.run", lambda *_, **__: refused)
        assert "unshare failed: Operation not permitted" in cluster.why_not()


class TestBuild:
    """Versions of the builds are those of their Go modules."""

    def test_version_of_kubernetes(self) -> None:
        module = (ROOT / "tests/support/labs/k8s/go.mod").read_text()
        assert re.findall(r"k8s\.io/kubernetes (v\S+)", module) == [cluster.VERSION]
        staging = set(re.findall(r"^\tk8s\.io/\S+ => k8s\.io/\S+ (\S+)$", module, re.MULTILINE))
        assert staging == {cluster.VERSION.replace("v1.", "v0.")}

    def test_version_of_kueue(self) -> None:
        module = (ROOT / "tests/support/kueue/go.mod").read_text()
        assert re.findall(r"sigs\.k8s\.io/kueue (v\S+)", module) == [kueue.VERSION]

    def test_nothing_is_built_twice(self, able: Path) -> None:
        for path in able.iterdir():
            path.chmod(0o755)
        argv = [str(ROOT / "scripts/build-kubernetes.sh"), str(able)]
        done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_without_go(self, tmp_path: Path) -> None:
        tools = tmp_path / "bin"
        tools.mkdir()
        for name in ("dirname", "sed", "head"):
            (tools / name).symlink_to(f"/usr/bin/{name}")
        argv = ["/bin/sh", str(ROOT / "scripts/build-kubernetes.sh"), str(tmp_path / "none")]
        done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": str(tools)})
        assert done.returncode == 4
        assert re.fullmatch(r"setup: .*\bGo\b.* \(apt install golang-go\)\n", done.stderr)


class TestArchives:
    """Images in tar archives."""

    def test_image_names_are_full(self, tmp_path: Path) -> None:
        layer = tmp_path / "layer"
        path = tmp_path / "image.tar"
        tarfile.open(layer, "w").close()
        write_archive(path, layer, ["a:1", "b/c:2", "registry.example/d:3", "localhost/e:4", "host:5000/f:5"], {})
        full = ["docker.io/library/a:1", "docker.io/b/c:2", "registry.example/d:3", "localhost/e:4", "host:5000/f:5"]
        assert image_names(path) == full
        assert not layer.exists()

    def test_layer_is_named_by_its_digest(self, tmp_path: Path, able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = able / "busybox"
        program.write_text("program")
        monkeypatch.setattr("shutil.which", lambda _: str(program))
        path = tmp_path / "image.tar"
        write_busybox(path, ["a:1"])
        with tarfile.open(path) as tar:
            content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        [image] = json.loads(content["manifest.json"])
        config = json.loads(content[image["Config"]])
        digest = f"sha256:{hashlib.sha256(content[image['Layers'][0]]).hexdigest()}"
        assert config["rootfs"] == {"type": "layers", "diff_ids": [digest]}
        with tarfile.open(fileobj=io.BytesIO(content["layer.tar"])) as root:
            assert root.getmember("bin/sh").linkname == "busybox"
