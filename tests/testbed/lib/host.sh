# shellcheck shell=bash
# A host: a system container with systemd and sshd in namespaces and groups of its own. Its disk is a layer over the common root file
# system and some plain folders; cutting the power kills every process in its group and keeps the disk.
#
# $LAB/hosts/nI/   layer/ (the disk's changes)  data/ (folders that cannot be in a layer)  identity/ (keys and machine id, kept over a reset)
#                  root/ and work/ (the mount's)  console.log

host_dir() { echo "$LAB/hosts/$1"; }
hosts() { find "$LAB/hosts" -mindepth 1 -maxdepth 1 -name 'n[0-9]*' -printf '%f\n' 2>/dev/null | sort -V; }
host_on() { ! group_empty "/$1"; }

# lab_artifact NAME: the folder this lab was made from; another checkout may have built a newer one since.
lab_artifact() { sed -n "s/^$1 //p" "$LAB/artifacts"; }

host_name() { # accepts 3 and n3
  local host=n${1#n}
  [[ $host =~ ^n[1-9][0-9]*$ && ${host#n} -le 200 ]] || die "no such host: $1; hosts are n1, n2, …"
  echo "$host"
}
known_host() {
  local host
  host=$(host_name "$1") || exit
  [[ -d $(host_dir "$host") ]] || die "lab $LAB_NAME has no host $host"
  echo "$host"
}

# The third host is the one that differs: a sudo user on another port, and no root login.
host_user() { if [[ $1 == n3 ]]; then echo admin; else echo root; fi; }
host_port() { if [[ $1 == n3 ]]; then echo 2222; else echo 22; fi; }

host_identity() {
  local dir kind
  dir=$(host_dir "$1")/identity
  [[ ! -d $dir ]] || return 0
  mkdir -p "$dir.part"
  ssh-keygen -q -t rsa -b 2048 -N '' -C "root@$1" -f "$dir.part/ssh_host_rsa_key"
  for kind in ecdsa ed25519; do ssh-keygen -q -t $kind -N '' -C "root@$1" -f "$dir.part/ssh_host_${kind}_key"; done
  tr -d - </proc/sys/kernel/random/uuid >"$dir.part/machine-id"
  mv "$dir.part" "$dir"
}

host_disk() { # lays out a bare disk
  local host=$1 dir etc home
  dir=$(host_dir "$host")
  etc=$dir/layer/etc
  mkdir -p "$dir"/{root,work} "$dir"/data/{containerd,kubelet,etcd} "$etc"/{ssh/sshd_config.d,apt/sources.list.d} "$dir/layer/usr/share/keyrings"
  echo "$host" >"$etc/hostname"
  printf '127.0.0.1\tlocalhost\n%s\t%s\n\n# The following lines are desirable for IPv6 capable hosts\n::1     localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n' \
    "$(host_address "$host")" "$host" >"$etc/hosts"
  echo "nameserver $GATEWAY" >"$etc/resolv.conf"
  install -m444 "$dir/identity/machine-id" "$etc/machine-id"
  install -m600 "$dir"/identity/ssh_host_*_key "$etc/ssh/"
  install -m644 "$dir"/identity/ssh_host_*_key.pub "$etc/ssh/"
  install -m644 "$LAB/repo.asc" "$dir/layer/usr/share/keyrings/debian-mirror.asc"
  cat >"$etc/apt/sources.list.d/debian.sources" <<Y
Types: deb
URIs: http://$GATEWAY:$REPO_PORT/debian
Suites: $DEBIAN_RELEASE
Components: main
Signed-By: /usr/share/keyrings/debian-mirror.asc
Y
  if is_upstream; then upstream_host "$dir/layer"; fi
  if is_online; then online_host "$dir/layer"; fi
  if [[ $(host_user "$host") == root ]]; then
    home=$dir/layer/root
    install -dm700 "$home"
  else
    home=$dir/layer/home/admin
    printf 'Port %s\nPermitRootLogin no\n' "$(host_port "$host")" >"$etc/ssh/sshd_config.d/testbed.conf"
    install -d "$dir/layer/home"
    cp -a "$(lab_artifact base)/rootfs/home/admin" "$home"
  fi
  install -dm700 "$home/.ssh"
  install -m600 "$LAB/key.pub" "$home/.ssh/authorized_keys"
  chown -R --reference="$(lab_artifact base)/rootfs${home#"$dir/layer"}" "$home"
  # Swap itself cannot be had here; the line that an installer leaves can.
  [[ $host != n2 ]] || host_fstab >"$etc/fstab"
}

host_fstab() {
  cat <<'Y'
# /etc/fstab: static file system information.
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
# swap was on /dev/vda5 during installation
UUID=0c7c5f0e-7f0c-4a55-9a52-0f4a1f9c4d11 none            swap    sw              0       0
Y
}

host_start() { # returns at once
  local host=$1
  # The supervisor must not hold the lab's lock, nor the caller's terminal and pipes.
  (
    close_fds
    exec setsid bash -euo pipefail "$TESTBED/lib/supervise.sh" "$host" </dev/null >>"$(host_dir "$host")/console.log" 2>&1
  ) &
  disown
}

host_kill() {
  drop_group "/$1.boot"
  drop_group "/$1"
  net_host_down "$1"
}

host_wipe() {
  local dir
  dir=$(host_dir "$1")
  # What a killed container left mounted went with its namespace, so this reaches nothing but the disk.
  rm -rf "$dir"/{layer,work,data,root}
}

# A host that boots lets nobody but root in until its last services are up. A degraded one is as ready as it gets.
host_ready() { host_ssh "$1" systemctl is-system-running --wait >/dev/null 2>&1 || [[ $? == 1 ]]; }

# An answer of sshd on its port, without the cost of a login.
# shellcheck disable=SC2016
host_answers() { timeout 1 ip netns exec "$NETNS" bash -c 'exec 3<>"/dev/tcp/$1/$2" && read -r line <&3' _ "$(host_address "$1")" "$(host_port "$1")" 2>/dev/null; }

host_wait() {
  until_deadline "${2:-90}" "$1 to answer on its SSH port; see $(host_dir "$1")/console.log" host_answers "$1" &&
    until_deadline 30 "$1 to let one log in and to have booted" host_ready "$1"
}

host_ssh() { # HOST COMMAND…
  local host=$1
  shift
  ip netns exec "$NETNS" ssh -F "$LAB/ssh_config" "$host" "$@"
}
