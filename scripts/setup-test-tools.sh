#!/bin/sh
# What tests use beside Python packages: a real PostgreSQL and a real Docker engine, which the tests start and stop
# themselves. Installed where that is allowed, said plainly where not.
set -eu

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

install() {
    echo "setup: installing $1 for the tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    if may_install; then
        # No cluster is wanted: the tests make and end their own.
        mkdir -p /etc/postgresql-common
        [ -f /etc/postgresql-common/createcluster.conf ] ||
            echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
        install postgresql
    else
        echo "setup: no PostgreSQL here; the tests against it will be skipped (apt install postgresql)" >&2
    fi
fi

if ! command -v dockerd >/dev/null; then
    if may_install; then
        install docker.io || echo "setup: docker.io could not be installed; the tests in containers will be skipped" >&2
    else
        echo "setup: no Docker engine here; the tests in containers will be skipped (apt install docker.io)" >&2
    fi
elif [ "$(id -u)" != 0 ]; then
    echo "setup: only root can start a Docker engine; the tests in containers will be skipped" >&2
fi
