#!/bin/sh
# Prints the path of a genai-bench for the tests: AUTOTUNER_GENAI_BENCH if set, otherwise one in an environment of its
# own, created in the folder given as the first argument.
set -eu
if [ -n "${AUTOTUNER_GENAI_BENCH:-}" ]; then
    echo "$AUTOTUNER_GENAI_BENCH"
    exit 0
fi
venv=$1
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
if [ ! -x "$venv/bin/genai-bench" ]; then
    python=
    for candidate in "${PYTHON:-}" python3.12 python3.11 python3.10 python3; do
        if [ -n "$candidate" ] &&
            "$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "setup: genai-bench needs Python 3.10, 3.11 or 3.12 with venv; none was found;" \
            "install one, or set PYTHON=/path/to/python, or AUTOTUNER_GENAI_BENCH to an installed genai-bench" >&2
        exit 4
    fi
    echo "setup: installing genai-bench 0.0.5 into $venv (about 1.3 GB)" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/pip" install -q genai-bench==0.0.5 >&2
fi
echo "$venv/bin/genai-bench"
