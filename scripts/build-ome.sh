#!/bin/sh
# Builds the manager of OME (Open Model Engine) for tests from a checkout of github.com/sgl-project/ome, with its CRDs,
# webhooks and configuration beside it, in about two minutes on two cores: `build-ome.sh CHECKOUT [FOLDER]`. Then run the
# tests with AUTOTUNER_TEST_OME set to the folder.
set -eu
cd "$(dirname "$0")/.."
source=$(cd "$1" && pwd)
version=$(git -C "$source" rev-parse --short=12 HEAD)
folder=${2:-$PWD/.cache/ome/$version}
if [ -x "$folder/manager" ]; then echo "$folder"; exit 0; fi

what=OME module=$source
. scripts/go-build.sh
module=$into/source
mkdir "$module"
git -C "$source" archive HEAD | tar -x -C "$module"

# The manager shares packages with OME's download agents, which link a Rust library. It creates a client of that library
# when it starts, but never uses it.
cat > "$made/xet.c" <<'C'
#include <stdlib.h>
void xet_version_1_0_0(void) {}
void xet_free_error(void) {}
void xet_free_file_list(void) {}
void xet_free_string(void) {}
void *xet_client_new(void) { static int one; return &one; }
void xet_client_free(void) {}
void *xet_client_set_progress_callback(void) { abort(); }
void *xet_list_files(void) { abort(); }
void *xet_download_file(void) { abort(); }
void *xet_download_snapshot(void) { abort(); }
C
mkdir -p "$module/pkg/xet/target/release"
cc -c "$made/xet.c" -o "$made/xet.o"
ar rcs "$module/pkg/xet/target/release/libxet.a" "$made/xet.o"
sed -i 's/ -lssl -lcrypto//' "$module/pkg/xet/xet.go"

CGO_ENABLED=1 compile -o "$into/manager" -ldflags '-s -w' ./cmd/manager
rm -rf "$folder/kinds" "$folder/configuration"
cp -r "$module/config/crd/full" "$folder/kinds"
mkdir "$folder/configuration"
cp "$module"/config/configmap/inferenceservice.yaml "$module"/config/configmap/benchmarkjob.yaml "$folder/configuration"
cp "$module/config/webhook/manifests.yaml" "$folder/webhooks.yaml"
mv "$made/manager" "$folder/manager"
echo "$folder"
