#!/bin/sh
# Builds the web UI into src/autotuner/server/static, and the page of reports, which is made of the same components, into
# src/autotuner/report/documents/static, if their sources changed since the last time.
#   scripts/build-ui.sh         builds
#   scripts/build-ui.sh test    also checks it: lint, types, unit tests, and the types of the API
#   scripts/build-ui.sh types   writes what is generated from the Python code: types of the API, metrics, texts
set -eu
cd "$(dirname "$0")/.."
venv=${AUTOTUNER_VENV:-.venv}
built=src/autotuner/server/static
report=src/autotuner/report/documents/static/report.html
digest() { (cd "$1" && find . \( -name node_modules -o -name '*.tsbuildinfo' \) -prune -o -type f -print |
    LC_ALL=C sort | xargs cksum | cksum); }

write_types() { # FOLDER
    mkdir -p "$1"
    "$venv/bin/python" scripts/ui_data.py metrics > "$1/metrics.json"
    "$venv/bin/python" scripts/ui_data.py texts > "$1/texts.json"
    "$venv/bin/python" scripts/ui_data.py openapi > "$1/openapi.json"
    OPENAPI="$1/openapi.json" SCHEMA="$1/schema.ts" ui_npm --prefix ui run --silent schema >/dev/null
}

sources=$(digest ui)
what=${1:-build}
is_built() { [ -f $report ] && [ -f $built/.sources ] && [ "$(cat $built/.sources)" = "$sources" ]; }
if [ "$what" = build ] && is_built; then
    exit 0
fi
. scripts/node.sh
locked=$(cksum < ui/package-lock.json)
if [ ! -f ui/node_modules/.locked ] || [ "$(cat ui/node_modules/.locked)" != "$locked" ]; then
    echo "ui: installing its packages"
    ui_npm --prefix ui ci --loglevel error --no-audit --no-fund
    echo "$locked" > ui/node_modules/.locked
fi

case $what in
types)
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    write_types "$made"
    cp "$made/metrics.json" "$made/texts.json" ui/src/format/
    cp "$made/schema.ts" ui/src/api/
    ;;
build | test)
    if ! is_built; then
        echo "ui: building"
        ui_npm --prefix ui run --silent build -- --logLevel warn
        ui_npm --prefix ui run --silent build:report -- --logLevel warn
        echo "$sources" > $built/.sources
    fi
    ;;
esac
if [ "$what" = test ]; then
    ui_npm --prefix ui run --silent check
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    write_types "$made"
    for file in format/metrics.json format/texts.json api/schema.ts; do
        cmp -s "$made/${file#*/}" "ui/src/$file" || {
            echo "ui/src/$file does not match the Python code; run: make ui-types" >&2
            exit 1
        }
    done
fi
