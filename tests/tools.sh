# shellcheck shell=bash
# Programs that Debian does not have: each of one version, installed once into a cache outside the checkout. Each function installs its
# program if it is missing, and prints its path.
TOOLS=${KBOOT_TOOLS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kboot-tools}

# Makes .deb and .rpm.
tool_nfpm() { go_tool nfpm 2.48.0 github.com/goreleaser/nfpm/v2/cmd/nfpm; }
# Makes bills of materials.
tool_cyclonedx() { cargo_tool cargo-cyclonedx 0.5.9; }
# Checks dependencies.
tool_deny() { cargo_tool cargo-deny 0.20.2; }

# Both install from elsewhere: a module, or the checkout's configuration of cargo, is not for these programs.
go_tool() { # NAME VERSION PACKAGE
  local folder=$TOOLS/$1-$2
  if [[ ! -x $folder/$1 ]]; then
    printf 'installing %s %s\n' "$1" "$2" >&2
    # As the testbed does: less work for the compiler, and little difference to a program that runs for a second.
    (cd / && GOBIN=$folder GOFLAGS="-trimpath -buildvcs=false '-gcflags=all=-dwarf=false -l'" GOWORK=off CGO_ENABLED=0 GOGC=off GOMEMLIMIT=1GiB \
      go install -ldflags '-s -w' "$3@v$2") >&2
  fi
  echo "$folder/$1"
}

cargo_tool() { # CRATE VERSION
  local folder=$TOOLS/$1-$2
  if [[ ! -x $folder/bin/$1 ]]; then
    printf 'installing %s %s\n' "$1" "$2" >&2
    (cd / && env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root "$folder" "$1@$2") >&2
  fi
  echo "$folder/bin/$1"
}
