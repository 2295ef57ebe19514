#!/bin/sh
# Prints the path of an lm-evaluation-harness for the tests: AUTOTUNER_LM_EVAL if set, otherwise one in an environment
# of its own, created in the folder given as the first argument. It has no PyTorch: models are reached by their API.
set -eu
if [ -n "${AUTOTUNER_LM_EVAL:-}" ]; then
    echo "$AUTOTUNER_LM_EVAL"
    exit 0
fi
venv=$1
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
if [ ! -x "$venv/bin/lm_eval" ]; then
    echo "setup: installing lm_eval 0.4.13 into $venv (about 0.8 GB)" >&2
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv" >&2
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/pip" install -q 'lm_eval[api]==0.4.13' >&2
fi
echo "$venv/bin/lm_eval"
