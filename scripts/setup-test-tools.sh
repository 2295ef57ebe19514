#!/bin/sh
# Installs what tests use besides Python packages: PostgreSQL, Prometheus, a browser, a Docker engine, a Kubernetes node, and a C
# compiler for a stand-in of NVIDIA's library. Tests start and stop these themselves. If a component cannot be installed,
# a message says so and its tests are skipped; with CI=true that is a failure.
set -eu
cd "$(dirname "$0")/.."
. scripts/apt.sh
missing=
need() { missing="$missing $1"; }
lacking() { # WHAT: reports that its tests cannot run
    if [ "${CI:-}" = true ]; then
        echo "setup: $1; with CI=true no test may be skipped for that" >&2
        exit 4
    fi
    echo "setup: $1; the tests that need it will be skipped" >&2
}
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need postgresql
command -v cc >/dev/null || need "gcc libc6-dev"
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    need chromium
command -v dockerd >/dev/null || need docker.io
command -v containerd >/dev/null || need containerd
command -v runc >/dev/null || need runc
command -v busybox >/dev/null || need busybox-static
command -v ip >/dev/null || need iproute2
command -v prometheus >/dev/null || need prometheus
command -v openssl >/dev/null || need openssl
command -v systemd-analyze >/dev/null || need systemd
[ -x /usr/lib/cni/bridge ] || need containernetworking-plugins
command -v go >/dev/null || need golang-go
[ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates
root=$([ "$(id -u)" = 0 ] && echo yes || echo no)
[ $root = yes ] || lacking "only root can start a Docker engine or a Kubernetes node"

if [ -n "$missing" ] && [ $root = yes ] && command -v apt-get >/dev/null; then
    apt_update
    # Prevent services and databases from being started: the tests start their own.
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
        # Ubuntu's chromium is a snap and may not install in a container.
        apt_install "$package" || lacking "$package could not be installed"
    done
    [ "${ours:-no}" = no ] || rm -f $policy
elif [ -n "$missing" ]; then
    for package in $missing; do
        lacking "$package is missing (apt install $package)"
    done
fi

if [ $root = yes ]; then
    # Limited, so that slow downloads do not hold up the other tests.
    timeout 720 scripts/build-kubernetes.sh || lacking "Kubernetes could not be built"
fi
