#!/bin/sh
# What tests use beside Python packages: a real PostgreSQL, a real browser, a real Docker engine, a real Kubernetes node,
# a C compiler for a stand-in of NVIDIA's library. Installed where that is allowed, said plainly where not; tests start
# and stop what they need themselves.
set -eu
cd "$(dirname "$0")/.."
missing=
need() { missing="$missing $1"; }
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need postgresql
command -v cc >/dev/null || need "gcc libc6-dev"
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    need chromium
command -v dockerd >/dev/null || need docker.io
command -v containerd >/dev/null || need containerd
command -v runc >/dev/null || need runc
command -v busybox >/dev/null || need busybox-static
command -v ip >/dev/null || need iproute2
command -v openssl >/dev/null || need openssl
[ -x /usr/lib/cni/bridge ] || need containernetworking-plugins
command -v go >/dev/null || need golang-go
[ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates
root=$([ "$(id -u)" = 0 ] && echo yes || echo no)
[ $root = yes ] ||
    echo "setup: only root can start a Docker engine or a Kubernetes node; the tests on them will be skipped" >&2

if [ -n "$missing" ] && [ $root = yes ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # No service and no database is wanted: the tests make and end their own.
    mkdir -p /etc/postgresql-common
    [ -f /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod +x $policy
        ours=yes
    fi
    for package in $missing; do
        echo "setup: installing $package for the tests"
        # Ubuntu's chromium is a snap and may not install in a container: the tests that need it are skipped then.
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
            echo "setup: $package could not be installed; the tests that need it will be skipped" >&2
    done
    [ "${ours:-no}" = no ] || rm -f $policy
elif [ -n "$missing" ]; then
    for package in $missing; do
        echo "setup: no $package here; the tests that need it will be skipped (apt install $package)" >&2
    done
fi

if [ $root = yes ]; then
    # Bounded: where modules come too slowly, the other tests are not to wait for it.
    timeout 720 scripts/build-kubernetes.sh ||
        echo "setup: Kubernetes could not be built; the tests that need it will be skipped" >&2
fi
