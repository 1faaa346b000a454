# shellcheck shell=bash
# Runs one host from power-on to power-off: supervise.sh HOST. A reboot from inside gets fresh links too, as a machine would.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
for part in cgroup net host; do
  # shellcheck source=/dev/null
  . "$TESTBED/lib/$part.sh"
done

# In a function, for bash reads a script as it goes: this one runs for days, and its file may change under it.
supervise() {
  local host=$1 dir lower folder status
  local -a container unshare
  dir=$(host_dir "$host")
  lower=$(lab_artifact base)/rootfs
  mkdir -p /run/systemd

  # Beside the host's own group rather than in it, for on cgroup v2 only leaves may hold processes.
  enter_group "$host.boot"

  container=(
    systemd-nspawn --quiet --directory="$dir/root" --boot --machine="$LAB_NAME-$host" --hostname="$host"
    --register=no --keep-unit --settings=no --link-journal=no --resolv-conf=off --timezone=off
    --network-namespace-path="/run/netns/$(host_netns "$host")"
    # Everything a node does, short of what would reach the machine itself: its clock and its kernel modules.
    --capability=all --drop-capability='CAP_SYS_TIME,CAP_SYS_MODULE'
    --system-call-filter='@keyring bpf @raw-io @mount'
    --bind=/dev/kmsg
  )
  for folder in containerd kubelet etcd; do container+=(--bind="$dir/data/$folder:/var/lib/$folder"); done
  [[ ! -d /lib/modules ]] || container+=(--bind-ro=/lib/modules)

  export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1
  unshare=(unshare --mount --propagation slave)
  if unified; then
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  else
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0
    # Each host's group must be its cgroup root, else their kubelets' groups collide.
    unshare+=(--cgroup)
  fi

  while :; do
    net_host_up "$host"
    status=0
    (
      enter_group "$host"
      # The disk is mounted where only this host sees it: when its last process ends, so does the mount.
      # shellcheck disable=SC2016
      exec "${unshare[@]}" bash -euc '
        mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/layer,workdir=$2/work" "$2/root"
        shift 2
        exec "$@"' _ "$lower" "$dir" "${container[@]}"
    ) || status=$?
    # 133 is how the container says that it wants to be started again.
    ((status == 133)) || exit "$status"
  done
}

supervise "$1"
exit
