#!/bin/sh
# Runs the unit tests with the lowest versions of direct dependencies that pyproject.toml allows. Indirect dependencies
# and test tools are as new as possible. The environment is created in the folder given as the first argument.
set -eu
cd "$(dirname "$0")/.."
venv=$1
scripts/setup.sh "" dev
uv=${AUTOTUNER_VENV:-.venv}/bin/uv
python=${AUTOTUNER_VENV:-.venv}/bin/python
extras=docker,kubernetes,llama-cpp,pandas,polars,postgresql,server,tokenizer
"$uv" venv -q --clear --python "$python" "$venv"
set --
for extra in $(echo "$extras" | tr , ' '); do set -- "$@" --extra "$extra"; done
"$uv" pip compile -q --resolution lowest-direct "$@" --python "$python" pyproject.toml -o "$venv/lowest.txt"
"$uv" pip install -q --python "$venv/bin/python" -c "$venv/lowest.txt" -e ".[$extras]" --group dev
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider -m "not aiconfigurator" tests/unit
