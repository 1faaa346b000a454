# shellcheck shell=bash
# Sourced by the scripts that build Go modules. Each makes a module of its own in the work folder that requires what it builds, so that
# versions come from here and not from a checkout. The flags are the same everywhere: Go's own build cache then serves every repeat.
# No debug information is made, for `-s -w` would take it out again. Without inlining (-l) the compiler takes less time, and the programs
# are a little slower.
export GOFLAGS="-mod=mod -trimpath -buildvcs=false '-gcflags=all=-dwarf=false${KBOOT_TESTBED_QUICK:+ -l}'" GOWORK=off CGO_ENABLED=0
# The compiler's processes are short: memory is cheaper than collecting it.
export GOGC=off GOMEMLIMIT=1GiB

module() { # NAME REQUIREMENT…
  printf 'module testbed/%s\n\ngo 1.26.0\n' "$1" >go.mod
  shift
  printf '\nrequire %s\n' "$@" >>go.mod
}

# module_dir MODULE@VERSION: its source, for the files beside the code.
module_dir() { GOFLAGS='' go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }

# module_copy MODULE@VERSION FOLDER: its source, to be changed.
module_copy() { cp -r --no-preserve=mode "$(module_dir "$1")" "$2"; }

build() { # OUTPUT PACKAGE [LDFLAGS]
  go build -ldflags "-s -w ${3-}" -o "$1" "$2"
}
