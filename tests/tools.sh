# shellcheck shell=bash
# Programs that Debian does not have: each of one version, installed once into a cache outside the checkout. Each function installs its
# program if it is missing, and prints its path.
TOOLS=${KBOOT_TOOLS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kboot-tools}

# Checks dependencies.
tool_deny() { cargo_tool cargo-deny 0.20.2; }

# From elsewhere: the checkout's configuration of cargo is not for these programs.
cargo_tool() { # CRATE VERSION
  local folder=$TOOLS/$1-$2
  if [[ ! -x $folder/bin/$1 ]]; then
    printf 'installing %s %s\n' "$1" "$2" >&2
    (cd / && env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root "$folder" "$1@$2") >&2
  fi
  echo "$folder/bin/$1"
}
