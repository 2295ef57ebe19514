#!/bin/sh
# Creates .venv with the versions in uv.lock: the package, the extras given as the first argument ("docker,kubernetes")
# and the dependency groups given as the second one ("dev docs").
# On Debian or Ubuntu, as root, it installs python3-venv if that is missing.
set -eu
cd "$(dirname "$0")/.."
. scripts/apt.sh
extras=$1
groups=${2:-}
UV_VERSION=0.13.9
venv=${AUTOTUNER_VENV:-.venv}

python=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: no Python 3.11 or newer found; install one (Debian: apt install python3) or set PYTHON=/path/to/python" >&2
    exit 4
fi

if [ ! -x "$venv/bin/pip" ]; then
    rm -rf "$venv"
    if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
        rm -rf "$venv"
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "setup: installing python3-venv"
            version=$("$python" -c 'import sys; print(f"{sys.version_info.major}.{sys.version_info.minor}")')
            apt_update
            apt_install python3-venv || apt_install "python$version-venv"
            "$python" -m venv "$venv"
        else
            echo "setup: this Python cannot create environments; run: apt install python3-venv" >&2
            exit 4
        fi
    fi
fi

# Nothing to do if the same was installed before.
stamp="$venv/.setup-$extras-$(echo "${groups:-none}" | tr ' ' '+')"
inputs=$(cat pyproject.toml uv.lock scripts/setup.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$inputs" ]; then
    exit 0
fi
echo "setup: installing llm-inference-autotuner[$extras]${groups:+ and what tests need} into $venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
# The distribution used to be called autotuner; both would own the same files.
"$venv/bin/pip" uninstall -q -y autotuner 2>/dev/null
"$venv/bin/pip" install -q "uv==$UV_VERSION"
set --
for extra in $(echo "$extras" | tr , ' '); do set -- "$@" --extra "$extra"; done
for group in $groups; do set -- "$@" --group "$group"; done
"$venv/bin/uv" export -q --frozen --no-default-groups --no-emit-project "$@" -o "$venv/locked.txt"
# pip is slower, but uses the mirrors and certificates configured on this machine.
"$venv/bin/uv" pip install -q --python "$venv/bin/python" --require-hashes -r "$venv/locked.txt" ||
    "$venv/bin/pip" install -q --no-deps --require-hashes -r "$venv/locked.txt"
"$venv/bin/pip" install -q --no-deps -e .
echo "$inputs" > "$stamp"
