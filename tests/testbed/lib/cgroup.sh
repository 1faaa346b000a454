# shellcheck shell=bash
# The lab's control groups. Each host is in a group of its own in every hierarchy; being in a lab's group is also
# what makes a process ours: nothing else is ever killed. Works on cgroup v1 (also mixed) and on pure v2.

unified() { [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]]; }

# The hierarchy in which every process of a lab can be found.
anchor() { if unified; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/systemd; fi; }

# Mount points of all hierarchies with controllers, and the folder in each below which a lab's groups go:
# the root, but in `memory` the caller's own group, so that a limit set on the caller holds for the lab too.
parents() {
  local names path dir
  if unified; then echo /sys/fs/cgroup; return; fi
  while IFS=: read -r _ names path; do
    dir=/sys/fs/cgroup/${names#name=}
    [[ -n $names && -d $dir ]] || continue
    path=${path%%/kboot-testbed-*} # a lab's own process may be asking
    if [[ $names == memory ]]; then echo "$dir${path%/}"; else echo "$dir"; fi
  done </proc/self/cgroup
}

# lab_groups SUFFIX: this lab's groups in all hierarchies, wherever an earlier caller put them.
lab_groups() {
  local dir
  find /sys/fs/cgroup -type d -name "$GROUP" -prune 2>/dev/null | while read -r dir; do
    [[ ! -d $dir$1 ]] || echo "$dir$1"
  done
}

# enter_group NAME: moves the calling shell (and what it starts) into the lab's group of that name.
enter_group() {
  local parent dir
  for parent in $(parents); do
    for dir in "$parent/$GROUP" "$parent/$GROUP/$1"; do
      mkdir -p "$dir"
      # A new cpuset is empty, and nothing may enter it before it is filled.
      if [[ -f $dir/cgroup.clone_children && -f $dir/cpuset.cpus && -z $(<"$dir/cpuset.cpus") ]]; then
        cat "${dir%/*}/cpuset.cpus" >"$dir/cpuset.cpus"
        cat "${dir%/*}/cpuset.mems" >"$dir/cpuset.mems"
        echo 1 >"$dir/cgroup.clone_children"
      fi
      # On v2 a controller reaches a group only if each group above hands it down.
      if unified && [[ $dir == */"$GROUP" ]]; then delegate "$parent"; delegate "$dir"; fi
    done
    echo "$BASHPID" >"$parent/$GROUP/$1/cgroup.procs"
  done
}

delegate() {
  local controller
  for controller in $(<"$1/cgroup.controllers"); do
    echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || true
  done
}

# group_pids SUFFIX: the processes in the lab's group and all below it.
group_pids() {
  local dir
  dir=$(anchor)/$GROUP$1
  [[ -d $dir ]] || return 0
  find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null
}

group_empty() { [[ -z $(group_pids "$1") ]]; }

group_killed() {
  local -a pids
  mapfile -t pids < <(group_pids "$1")
  [[ ${#pids[@]} != 0 ]] || return 0
  kill -KILL "${pids[@]}" 2>/dev/null
  group_empty "$1"
}

groups_removed() {
  local dir
  lab_groups "$1" | while read -r dir; do find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null; done
  [[ -z $(lab_groups "$1") ]]
}

# drop_group SUFFIX: kills everything in the group at once and removes it. An empty suffix is the whole lab.
drop_group() {
  until_deadline 20 "the processes in $GROUP$1 to end" group_killed "$1" &&
    until_deadline 10 "the groups $GROUP$1 to be free" groups_removed "$1"
}
