#!/bin/sh
# What tests use beside Python packages: a real PostgreSQL, and a C compiler for a stand-in of NVIDIA's library.
# Installed where that is allowed, said plainly where not.
set -eu
missing=
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="postgresql"
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing for the tests: $missing"
    apt-get update -qq
    # No cluster is wanted: the tests make and end their own.
    mkdir -p /etc/postgresql-common
    [ -f /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    # shellcheck disable=SC2086 # several packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "setup: not here: $missing; the tests that need it will be skipped (apt install $missing)" >&2
fi
