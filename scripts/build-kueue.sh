#!/bin/sh
# Builds Kueue for tests from Go modules, with its CRDs and webhooks beside it. Takes about two minutes on two cores the
# first time. Does nothing if the folder given as the first argument contains it already.
set -eu
cd "$(dirname "$0")/.."
module=tests/support/kueue
version=$(sed -n 's|.*sigs\.k8s\.io/kueue \(v[0-9.]*\).*|\1|p' "$module/go.mod" | head -n 1)
folder=${1:-${AUTOTUNER_KUEUE:-.cache/kueue/$version}}
if [ -x "$folder/kueue" ]; then exit 0; fi

what=Kueue
. scripts/go-build.sh

compile -o "$into/kueue" -ldflags '-s -w' sigs.k8s.io/kueue/cmd/kueue
source=$(cd "$module" && "$go" list -m -f '{{.Dir}}' sigs.k8s.io/kueue)/config/components
rm -rf "$folder/kinds" "$folder/webhooks.yaml"
mkdir "$made/kinds"
# Files of a Go module are read-only; copies must not be.
for file in "$source"/crd/bases/*.yaml; do cat "$file" > "$made/kinds/${file##*/}"; done
cat "$source/webhook/manifests.yaml" > "$made/webhooks.yaml"
for name in kinds webhooks.yaml kueue; do mv "$made/$name" "$folder/$name"; done
