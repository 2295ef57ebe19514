#!/bin/sh
# What tests use beside Python packages: a real PostgreSQL. Installed where that is allowed, said plainly where not.
set -eu
if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing postgresql for the tests"
    apt-get update -qq
    # No cluster is wanted: the tests make and end their own.
    mkdir -p /etc/postgresql-common
    [ -f /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
else
    echo "setup: no PostgreSQL here; the tests against it will be skipped (apt install postgresql)" >&2
fi
