#!/bin/sh
# Builds Kueue for tests, from Go modules, with its kinds and webhooks beside it: two minutes on two cores the first time.
# Nothing to do where the folder of the first argument holds them already.
set -eu
cd "$(dirname "$0")/.."
module=tests/cluster/kueue
version=$(sed -n 's|.*sigs\.k8s\.io/kueue \(v[0-9.]*\).*|\1|p' "$module/go.mod" | head -n 1)
place=${1:-${AUTOTUNER_KUEUE:-.cache/kueue/$version}}
if [ -x "$place/kueue" ]; then exit 0; fi

what=Kueue
. scripts/find-go.sh

echo "setup: building Kueue $version for the tests (minutes, the first time)"
mkdir -p "$place"
made=$(mktemp -d "$place/build-XXXXXX")
trap 'chmod -R u+w "$made"; rm -rf "$made"' EXIT
trap 'exit 130' INT TERM HUP
case $made in /*) into=$made ;; *) into=$PWD/$made ;; esac
compile -o "$into/kueue" -ldflags '-s -w' sigs.k8s.io/kueue/cmd/kueue
source=$(cd "$module" && "$go" list -m -f '{{.Dir}}' sigs.k8s.io/kueue)/config/components
rm -rf "$place/kinds" "$place/webhooks.yaml"
cp -r "$source/crd/bases" "$made/kinds"
cp "$source/webhook/manifests.yaml" "$made/webhooks.yaml"
chmod -R u+w "$made"
mv "$made/kinds" "$made/webhooks.yaml" "$place"
mv "$made/kueue" "$place/kueue"
