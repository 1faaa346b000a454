# shellcheck shell=bash
# A lab: its folder, its controller namespace with the services, and its hosts. Each verb of the command is one function here.

# Daemons must not inherit the lock (it would outlive the command) nor the caller's pipes (who reads them would wait for ever).
close_fds() {
  local fd
  for fd in /proc/"$BASHPID"/fd/*; do
    fd=${fd##*/}
    ((fd <= 2)) || eval "exec $fd>&-"
  done
}

# One command at a time changes a lab; one at a time touches what labs share.
lock_lab() {
  local file=$RUN_DIR/$LAB_NAME.lock
  need_root
  mkdir -p "$RUN_DIR"
  while :; do
    exec {lab_lock}>"$file"
    flock -w 120 "$lab_lock" || die "lab $LAB_NAME is busy: another command holds $file"
    # `down` removes the file; a lock on a removed one locks nobody out.
    [[ ! $file -ef /proc/self/fd/$lab_lock ]] || return 0
    exec {lab_lock}>&-
    mkdir -p "$RUN_DIR"
  done
}
shared() { # COMMAND…
  mkdir -p "$RUN_DIR"
  exec {shared_lock}>"$RUN_DIR/shared"
  flock -w 120 "$shared_lock" || die "another command holds $RUN_DIR/shared"
  "$@"
  exec {shared_lock}>&-
}

lab_up() { [[ -f $LAB/up && ! $(group_pids /services) == "" ]]; }
need_lab() { lab_up || die "lab $LAB_NAME is not up; run: testbed up"; }

up() {
  local wanted=3 fresh='' servers='' host started i
  local -a new=()
  while (($#)); do
    case $1 in
    --hosts) wanted=${2-}; shift ;;
    --hosts=*) wanted=${1#*=} ;;
    --fresh) fresh=1 ;;
    --upstream | --online)
      [[ -z $servers || $servers == "${1#--}" ]] || die "up: --upstream and --online exclude each other"
      servers=${1#--}
      ;;
    *) die "up: unknown argument $1" ;;
    esac
    shift
  done
  [[ $wanted =~ ^[1-9][0-9]?$ ]] || die "up: --hosts takes a number from 1 to 99"
  started=$(now)
  need_root
  if [[ -z $servers && -z $fresh ]] && lab_up; then servers=$(lab_servers); fi
  [[ -z $servers ]] || "with_$servers"
  build_all
  lock_lab
  if [[ -n $fresh ]] || ! lab_up; then
    clear_lab
    make_lab "$servers"
  elif [[ $servers != "$(lab_servers)" ]]; then
    die "lab $LAB_NAME was made without --$servers; \`up --$servers --fresh\` makes it anew"
  elif [[ $(artifact_list) != "$(<"$LAB/artifacts")" ]]; then
    say "lab $LAB_NAME was made from other versions or scripts than these; \`up --fresh\` makes it anew"
  fi
  for ((i = 1; i <= wanted; i++)); do
    host=n$i
    host_on "$host" || new+=("$host")
  done
  [[ ${#new[@]} == 0 ]] || boot "${new[@]}"
  touch "$LAB/up"
  say "lab $LAB_NAME is up after $(since "$started"): $(hosts | xargs) at $(host_address n1) …; inventory $LAB/inventory.yaml"
}

artifact_list() {
  local name
  for name in "${ARTIFACTS[@]}"; do echo "$name $(artifact "$name")"; done
}

# lab_servers: how the lab has the servers that kboot's defaults name, if it has.
lab_servers() { if is_upstream; then echo upstream; elif is_online; then echo online; fi; }

make_lab() { # [upstream|online]
  modprobe -aq overlay br_netfilter vxlan 2>/dev/null || true # where they are modules, hosts cannot load them
  mkdir -p "$LAB/hosts" "$LAB/log"
  [[ -z $1 ]] || mkdir "$LAB/$1"
  shared sysctls_save
  artifact_list >"$LAB/artifacts"
  ssh-keygen -q -t ed25519 -N '' -C kboot-testbed -f "$LAB/key"
  cp "$(artifact mirror)/repo.asc" "$LAB/repo.asc"
  net_up
  services_start
  [[ -z $1 ]] || "$1_start"
}

boot() { # HOST…: all at once; those without a disk get a bare one
  local host
  local -a jobs=()
  for host in "$@"; do
    (
      host_identity "$host"
      [[ -d $(host_dir "$host")/layer ]] || host_disk "$host"
      host_start "$host"
    ) &
    jobs+=($!)
  done
  all_ended "${jobs[@]}"
  write_files
  jobs=()
  for host in "$@"; do
    host_wait "$host" &
    jobs+=($!)
  done
  all_ended "${jobs[@]}" || die "not every host came up"
}

all_ended() {
  local job bad=0
  for job in "$@"; do wait "$job" || bad=1; done
  return $bad
}

# clear_lab: whatever is left of this lab, judged by what is there and not by what some file says.
clear_lab() {
  drop_group '' || return 1
  net_down
  ! grep -qF " $LAB/" /proc/mounts || awk -v d="$LAB/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount
  rm -rf "$LAB"
}

down() {
  lock_lab
  clear_lab
  rmdir --ignore-fail-on-non-empty "$LAB_DIR" 2>/dev/null || true
  rm -f "$RUN_DIR/$LAB_NAME.lock"
  shared sysctls_restore
  exec {lab_lock}>&-
  say "lab $LAB_NAME is down"
}

status() {
  local host state bad=0
  if ! lab_up; then
    say "lab $LAB_NAME is not up"
    return 1
  fi
  printf '%-6s %-12s %-6s %-6s %s\n' HOST ADDRESS USER PORT STATE
  for host in $(hosts); do
    if ! host_on "$host"; then
      state=off
    elif host_answers "$host"; then
      state=up
    else
      state='no answer'
      bad=1
    fi
    printf '%-6s %-12s %-6s %-6s %s\n' "$host" "$(host_address "$host")" "$(host_user "$host")" "$(host_port "$host")" "$state"
  done
  port_answers "$REPO_PORT" || { say "the package repository does not answer"; bad=1; }
  is_online || port_answers "$REGISTRY_PORT" || { say "the image registry does not answer"; bad=1; }
  [[ -z $(lab_servers) ]] || port_answers "$HTTPS_PORT" || { say "upstream's servers, or the relay to them, do not answer"; bad=1; }
  return $bad
}

shell() {
  local host
  [[ $# != 0 ]] || die "shell: which host?"
  need_root
  need_lab
  host=$(known_host "$1") || exit
  shift
  host_ssh "$host" "$@"
}

inside() {
  [[ $# != 0 ]] || die "exec: which command?"
  need_root
  need_lab
  if is_upstream; then upstream_exec "$@"; fi
  exec ip netns exec "$NETNS" "$@"
}

host_verb() {
  local verb=${1-} host
  [[ $# == 2 ]] || die "host: takes a verb (add, remove, kill, start, reset) and a host"
  lock_lab
  need_lab
  if [[ $verb == add ]]; then host=$(host_name "$2") || exit; else host=$(known_host "$2") || exit; fi
  case $verb in
  add)
    [[ ! -d $(host_dir "$host") ]] || die "lab $LAB_NAME has a host $host already"
    boot "$host"
    ;;
  remove)
    host_kill "$host"
    rm -rf "$(host_dir "$host")"
    write_files
    ;;
  kill) host_kill "$host" ;;
  start) host_on "$host" || boot "$host" ;;
  reset)
    host_kill "$host"
    host_wipe "$host"
    boot "$host"
    ;;
  *) die "host: unknown verb $verb" ;;
  esac
}
