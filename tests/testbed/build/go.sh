# shellcheck shell=bash
# Sourced by the scripts that build Go modules. Each makes a module of its own in the work folder that requires what it builds, so that
# versions come from here and not from a checkout. The flags are the same everywhere: Go's own build cache then serves every repeat.
export GOFLAGS="-mod=mod -trimpath -buildvcs=false" GOWORK=off CGO_ENABLED=0

module() { # NAME REQUIREMENT…
  printf 'module testbed/%s\n\ngo 1.26.0\n' "$1" >go.mod
  shift
  printf '\nrequire %s\n' "$@" >>go.mod
}

# module_dir MODULE@VERSION: its source, for the files beside the code.
module_dir() { GOFLAGS='' go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }

build() { # OUTPUT PACKAGE [LDFLAGS]
  go build -ldflags "-s -w ${3-}" -o "$1" "$2"
}
