#!/bin/sh
# Builds the programs of a Kubernetes node for tests from Go modules: etcd, API server, controller manager, scheduler,
# kubelet and kubectl. Takes about six minutes on two cores the first time; Go caches what it compiled. Does nothing if
# the folder given as the first argument contains them already.
set -eu
cd "$(dirname "$0")/.."
module=tests/support/labs/k8s
version=$(sed -n 's|.*k8s\.io/kubernetes \(v[0-9.]*\).*|\1|p' "$module/go.mod" | head -n 1)
folder=${1:-${AUTOTUNER_KUBERNETES_BIN:-.cache/kubernetes/$version}}
programs="kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet"

complete() { for name in etcd $programs; do [ -x "$folder/$name" ] || return 1; done; }
if complete; then exit 0; fi

what=Kubernetes
. scripts/go-build.sh

stamp=k8s.io/component-base/version
short=${version#v}
flags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=${short%%.*} -X $stamp.gitMinor=$(echo "$short" | cut -d. -f2)"

compile -o "$into/etcd" -ldflags '-s -w' go.etcd.io/etcd/server/v3
# shellcheck disable=SC2046 # the names are words
compile -o "$into/" -ldflags "$flags" $(printf 'k8s.io/kubernetes/cmd/%s ' $programs)
for name in etcd $programs; do mv "$made/$name" "$folder/$name"; done
