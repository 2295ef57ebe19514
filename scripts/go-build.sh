# Sourced by scripts that build Go modules for tests, in the root of the repository. Finds a Go that can build "$module"
# ("$what" in version "$version"), and makes an empty folder "$made" (absolute: "$into") below "$folder", which is removed
# when the script ends. `compile ARGUMENTS` then runs that Go's `go build` in the module.
go=go
export GOTOOLCHAIN=auto CGO_ENABLED=0 GOFLAGS=-buildvcs=false
if ! command -v go >/dev/null; then
    echo "setup: Go is missing, so $what cannot be built (apt install golang-go)" >&2
    exit 4
fi
minor=$(go version | sed -n 's/.* go1\.\([0-9]*\).*/\1/p')
if [ "${minor:-0}" -lt 21 ]; then
    # A Go older than 1.21 cannot switch toolchains, but it can fetch modules, and a newer Go is available as one.
    wanted=$(sed -n 's/^toolchain go//p' "$module/go.mod")
    echo "setup: Go 1.$minor is too old to build $what; fetching Go $wanted as a module"
    go=$(cd / && go mod download -json "golang.org/toolchain@v0.0.1-go$wanted.$(go env GOOS)-$(go env GOARCH)" |
        sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')/bin/go
    root=${go%/bin/go}
    find "$root/bin" "$root/pkg/tool" -type f -exec chmod +x {} +
    export GOTOOLCHAIN=local GOROOT="$root"
fi

echo "setup: building $what $version for the tests (minutes, the first time)"
mkdir -p "$folder"
made=$(mktemp -d "$folder/build-XXXXXX")
trap 'rm -rf "$made"' EXIT
trap 'exit 130' INT TERM HUP
case $made in /*) into=$made ;; *) into=$PWD/$made ;; esac

# Show what was downloaded only if the build fails. Nothing links debug information in (-s -w), so none is made: that takes
# a seventh of the time.
compile() {
    (cd "$module" && "$go" build -trimpath -gcflags=all=-dwarf=false "$@") 2>"$made/log" || { grep -v '^go: downloading' "$made/log" >&2; return 1; }
}
