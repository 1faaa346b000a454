# shellcheck shell=bash
# What every part of the testbed shares: where things are, how it speaks, how it fails.
# Names used throughout: LAB is the lab's folder, NETNS its controller namespace, GROUP the name of its cgroups,
# RUN_DIR what all labs of the machine share.

TESTBED=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${KBOOT_TESTBED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kboot-testbed}
LAB_DIR=${KBOOT_LAB_DIR:-/var/lib/kboot-testbed}
LAB_NAME=${KBOOT_LAB:-lab}
LAB=$LAB_DIR/$LAB_NAME
NETNS=kbt-$LAB_NAME
GROUP=kboot-testbed-$LAB_NAME
RUN_DIR=/run/kboot-testbed
export TESTBED CACHE LAB_DIR LAB_NAME LAB NETNS GROUP RUN_DIR

# The controller's address inside the lab, and where its services listen.
GATEWAY=10.77.0.1
REPO_PORT=8080
REGISTRY_PORT=5000
HTTPS_PORT=443
export GATEWAY REPO_PORT REGISTRY_PORT HTTPS_PORT

set -a
# shellcheck source-path=SCRIPTDIR source=../versions.env
. "$TESTBED/versions.env"
set +a

say() { printf '%s\n' "testbed: $*" >&2; }
die() { say "error: $*"; exit 1; }

# now: seconds with a fraction, for durations.
now() { printf '%s' "$EPOCHREALTIME"; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }

# until_deadline SECONDS WHAT COMMAND…: repeats a cheap check every 50 ms; on expiry says what it waited for.
until_deadline() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < deadline)) || { say "gave up waiting for $what"; return 1; }
    sleep 0.05
  done
}

need_root() { [[ $EUID == 0 ]] || die "this needs root"; }

valid_names() {
  [[ $LAB_NAME =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] || die "KBOOT_LAB=$LAB_NAME: use small letters, digits and dashes"
  [[ $LAB_DIR == /* && $LAB_DIR != / ]] || die "KBOOT_LAB_DIR=$LAB_DIR: must be an absolute path"
}
