# shellcheck shell=bash
# Some kernel settings are the machine's, not a namespace's: a host that boots (Debian's own sysctl.d) or a kubelet sets
# them for all. The first lab on a machine records them, the last one to go puts them back. A reboot undoes both.

SHARED_SYSCTLS=(
  kernel.core_uses_pid kernel.panic kernel.panic_on_oops kernel.pid_max kernel.sysrq
  kernel.keys.root_maxbytes kernel.keys.root_maxkeys
  fs.protected_fifos fs.protected_hardlinks fs.protected_regular fs.protected_symlinks
  fs.inotify.max_user_instances fs.inotify.max_user_watches
  vm.overcommit_memory vm.panic_on_oom vm.max_map_count
)

sysctl_path() { echo "/proc/sys/${1//.//}"; }

sysctls_save() {
  local key path
  if [[ ! -f $RUN_DIR/sysctls ]]; then
    for key in "${SHARED_SYSCTLS[@]}"; do
      path=$(sysctl_path "$key")
      [[ ! -r $path ]] || echo "$key $(<"$path")"
    done >"$RUN_DIR/sysctls.part"
    mv "$RUN_DIR/sysctls.part" "$RUN_DIR/sysctls"
  fi
  # All hosts' systemd, kubelet and containerd share root's inotify budget; the default is soon used up.
  (($(<"$(sysctl_path fs.inotify.max_user_instances)") >= 8192)) || echo 8192 >"$(sysctl_path fs.inotify.max_user_instances)"
  (($(<"$(sysctl_path fs.inotify.max_user_watches)") >= 524288)) || echo 524288 >"$(sysctl_path fs.inotify.max_user_watches)"
}

sysctls_restore() { # only when no lab is left
  local key value path
  [[ -d $(anchor) && -z $(find "$(anchor)" -maxdepth 1 -type d -name 'kboot-testbed-*' -print -quit) ]] || return 0
  while read -r key value; do
    path=$(sysctl_path "$key")
    [[ $(<"$path") == "$value" ]] || echo "$value" >"$path"
  done < <(cat "$RUN_DIR/sysctls" 2>/dev/null)
  rm -f "$RUN_DIR/sysctls"
  # The last one takes the folder, unless another command has begun meanwhile.
  if [[ -z $(find "$RUN_DIR" -name '*.lock' -print -quit) ]]; then rm -rf "$RUN_DIR"; fi
}
