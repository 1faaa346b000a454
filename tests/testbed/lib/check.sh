# shellcheck shell=bash
# What a machine must have: what can be installed is in tests/needs.sh; what cannot is told by `check` in one line.
# shellcheck source-path=SCRIPTDIR source=../../needs.sh
. "$TESTBED/../needs.sh"

require_tools() {
  local missing fault
  missing=$(missing_packages testbed | xargs)
  [[ -z $missing ]] || die "not installed: $missing; run: $TESTBED/testbed setup"
  fault=$(go_fault)
  [[ -z $fault ]] || die "$fault"
}

setup() { exec "$TESTBED/../setup" testbed; }

# Each prints why not, or nothing.
unfit() {
  [[ $EUID == 0 ]] || { echo "not root"; return; }
  [[ $(uname -m) == x86_64 ]] || { echo "the components are built for x86-64 only"; return; }
  command -v apt-get >/dev/null || { echo "no apt: hosts and packages are made with Debian's tools"; return; }
  unshare --mount --net --pid --fork --uts --ipc --cgroup true 2>/dev/null || { echo "this kernel or container does not allow new namespaces"; return; }
  local kind
  for kind in bridge veth 'vxlan id 1 dstport 4789'; do
    # shellcheck disable=SC2086 # a kind may come with options
    unshare --net ip link add x type $kind 2>/dev/null || { echo "the kernel lacks ${kind%% *} links"; return; }
  done
  [[ -d /proc/sys/net/bridge ]] || modprobe -q br_netfilter || { echo "the kernel lacks br_netfilter"; return; }
  # shellcheck disable=SC2016
  unshare --mount bash -c 'mkdir -p "$0" && d=$(mktemp -d -p "$0") && cd "$d" && mkdir l u w m; mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m; rc=$?; umount m; cd /; rm -rf "$d"; exit $rc' "$LAB_DIR" 2>/dev/null ||
    { echo "an overlay cannot be mounted in $LAB_DIR"; return; }
  [[ -d $(anchor) && -w $(anchor) ]] || { echo "no writable cgroup hierarchy at $(anchor)"; return; }
  [[ -c /dev/kmsg ]] || { echo "no /dev/kmsg, which kubelet reads"; return; }
  local free
  free=$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
  ((free >= 3)) || { echo "only $free GiB of memory available, a lab with a cluster needs 3"; return; }
  mkdir -p "$CACHE"
  free=$(($(stat -f -c '%a * %S' "$CACHE") / 1073741824))
  load_keys
  [[ -z $(missing_artifacts) ]] || ((free >= 12)) || { echo "only $free GiB free at $CACHE, a cold build needs 12"; return; }
}

check() {
  local why
  why=$(unfit)
  [[ -z $why ]] || { say "cannot run here: $why"; return 1; }
  say "this machine can run the testbed"
}
