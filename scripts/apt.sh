# Sourced by the setup scripts: installs packages of Debian or Ubuntu, waiting for other processes that use apt.
APT_WAIT_S=600

apt_update() {
    # apt-get update has no option to wait for the lock of the package lists, so try again for up to APT_WAIT_S.
    waited=0
    until apt-get update -qq; do
        [ "$waited" -lt "$APT_WAIT_S" ] || return 1
        if [ "$waited" = 0 ]; then echo "setup: waiting for the package lists" >&2; fi
        sleep 5
        waited=$((waited + 5))
    done
}

apt_install() { # PACKAGE...
    # Unquoted: "gcc libc6-dev" is two packages.
    # shellcheck disable=SC2048,SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout="$APT_WAIT_S" install \
        -y -qq --no-install-recommends $* >/dev/null
}
