#!/bin/sh
# Builds what a Kubernetes node for tests is made of, from Go modules: etcd, API server, controller manager, scheduler,
# kubelet and kubectl. About six minutes on two cores the first time; Go keeps what it compiled. Nothing to do where the
# folder of the first argument holds them already.
set -eu
cd "$(dirname "$0")/.."
module=tests/cluster/k8s
version=$(sed -n 's|.*k8s\.io/kubernetes \(v[0-9.]*\).*|\1|p' "$module/go.mod" | head -n 1)
place=${1:-${AUTOTUNER_KUBERNETES_BIN:-.cache/kubernetes/$version}}
programs="kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet"

complete() { for name in etcd $programs; do [ -x "$place/$name" ] || return 1; done; }
if complete; then exit 0; fi

go=go
export GOTOOLCHAIN=auto CGO_ENABLED=0 GOFLAGS=-buildvcs=false
if ! command -v go >/dev/null; then
    echo "setup: no Go here, so no Kubernetes can be built (apt install golang-go)" >&2
    exit 4
fi
minor=$(go version | sed -n 's/.* go1\.\([0-9]*\).*/\1/p')
if [ "${minor:-0}" -lt 21 ]; then
    # It cannot fetch a newer Go by itself, but it can fetch modules, and a newer Go is one.
    wanted=$(sed -n 's/^toolchain go//p' "$module/go.mod")
    echo "setup: Go 1.$minor is too old to build Kubernetes; fetching Go $wanted as a module"
    go=$(cd / && go mod download -json "golang.org/toolchain@v0.0.1-go$wanted.$(go env GOOS)-$(go env GOARCH)" |
        sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')/bin/go
    root=${go%/bin/go}
    find "$root/bin" "$root/pkg/tool" -type f -exec chmod +x {} +
    export GOTOOLCHAIN=local GOROOT="$root"
fi

echo "setup: building Kubernetes $version for the tests (minutes, the first time)"
mkdir -p "$place"
made=$(mktemp -d "$place/build-XXXXXX")
trap 'rm -rf "$made"' EXIT
trap 'exit 130' INT TERM HUP
stamp=k8s.io/component-base/version
short=${version#v}
flags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=${short%%.*} -X $stamp.gitMinor=$(echo "$short" | cut -d. -f2)"
case $made in /*) into=$made ;; *) into=$PWD/$made ;; esac

# What it fetches is of interest only where it fails.
compile() {
    (cd "$module" && "$go" build -trimpath "$@") 2>"$made/log" || { grep -v '^go: downloading' "$made/log" >&2; return 1; }
}
compile -o "$into/etcd" -ldflags '-s -w' go.etcd.io/etcd/server/v3
# shellcheck disable=SC2046 # the names are words
compile -o "$into/" -ldflags "$flags" $(printf 'k8s.io/kubernetes/cmd/%s ' $programs)
for name in etcd $programs; do mv "$made/$name" "$place/$name"; done
