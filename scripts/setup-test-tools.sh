#!/bin/sh
# What tests use beside Python packages: a real PostgreSQL, a real browser, a real Docker engine, a C compiler for a
# stand-in of NVIDIA's library. Installed where that is allowed, said plainly where not; tests start and stop what they
# need themselves.
set -eu
missing=
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="postgresql"
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing="$missing chromium"
command -v dockerd >/dev/null || missing="$missing docker.io"
[ "$(id -u)" = 0 ] || echo "setup: only root can start a Docker engine; the tests in containers will be skipped" >&2
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # No cluster is wanted: the tests make and end their own.
    mkdir -p /etc/postgresql-common
    [ -f /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    for package in $missing; do
        echo "setup: installing $package for the tests"
        # Ubuntu's chromium is a snap and may not install in a container: the tests that need it are skipped then.
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
            echo "setup: $package could not be installed; the tests that need it will be skipped" >&2
    done
else
    for package in $missing; do
        echo "setup: no $package here; the tests that need it will be skipped (apt install $package)" >&2
    done
fi
