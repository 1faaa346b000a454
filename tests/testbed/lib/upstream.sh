# shellcheck shell=bash
# The servers that kboot's defaults name, inside a lab that was made with --upstream: their names, by a name server at the
# controller's address; their layouts, redirects and tokens, by the artifact `upstream` (its program is beside this folder); their
# keys and their CA, of the lab's own.
#
# $LAB/upstream/   ca.crt   www/HOST/…   faults   KEYNAME.fingerprint   etc/ (what the controller's namespace sees in its /etc)

MACHINE_ROOTS=/etc/ssl/certs/ca-certificates.crt

is_upstream() { [[ -d $LAB/upstream ]]; }

upstream_start() {
  local dir=$LAB/upstream program
  [[ -f $MACHINE_ROOTS ]] || die "no $MACHINE_ROOTS on this machine: --upstream needs the package ca-certificates"
  program=$(artifact servers)/upstream
  mkdir -p "$dir/etc"
  # Links into the cache, and beside them what the lab signs.
  cp -rs "$(artifact upstream)/www" "$dir/www"
  # The agent that gpg starts is one of the lab's processes.
  (
    close_fds
    enter_group services
    upstream_keys
  ) >"$LAB/log/upstream-keys.log" 2>&1 &
  wait $! || die "the lab's keys were not made; see $LAB/log/upstream-keys.log"
  : >"$dir/faults"
  service_start upstream "$program" serve -address "$GATEWAY" -www "$dir/www" -registry "http://$GATEWAY:$REGISTRY_PORT" \
    -faults "$dir/faults" -roots "$dir/ca.crt"
  until_deadline 10 "the servers that stand in for upstream's; see $LAB/log/upstream.log" test -f "$dir/ca.crt"
  echo "nameserver $GATEWAY" >"$dir/etc/resolv.conf"
  cat "$MACHINE_ROOTS" "$dir/ca.crt" >"$dir/etc/ca-certificates.crt"
}

# As upstream's: Kubernetes' key once had an expiry date that has passed, and was given another one; Docker's signs by a subkey.
# Beside each of Kubernetes' stand what it was before, and one that expires within 60 days.
upstream_keys() {
  local www=$LAB/upstream/www home fingerprint key gpg
  home=$LAB/upstream/gnupg
  gpg=(gpg --homedir "$home" --quiet --batch --yes --no-tty --passphrase '' --trust-model always)

  install -dm700 "$home"
  "${gpg[@]}" --faked-system-time "$(date -u -d '4 years ago' +%Y%m%dT%H%M%S)!" --quick-gen-key 'kboot testbed, Kubernetes <kubernetes@kboot.invalid>' rsa2048 sign 2y
  fingerprint=$(primary_fingerprint)
  key=$(echo "$www"/prod-cdn.packages.k8s.io/repositories/isv:/kubernetes:/core:/stable:/*/deb)/Release.key
  "${gpg[@]}" --armor --export >"$key.expired"
  "${gpg[@]}" --quick-set-expire "$fingerprint" 30d
  "${gpg[@]}" --armor --export >"$key.soon"
  "${gpg[@]}" --quick-set-expire "$fingerprint" 2y
  # Setting a date replaces the signature that had the last one; in upstream's key both are there.
  "${gpg[@]}" --import "$key.expired"
  "${gpg[@]}" --armor --export >"$key"
  echo "$fingerprint" >"$LAB/upstream/kubernetes.fingerprint"
  upstream_sign "${key%/*}"
  gpgconf --homedir "$home" --kill all
  rm -rf "$home"

  install -dm700 "$home"
  "${gpg[@]}" --quick-gen-key 'kboot testbed, Docker <docker@kboot.invalid>' rsa4096 cert,sign never
  fingerprint=$(primary_fingerprint)
  "${gpg[@]}" --quick-add-key "$fingerprint" rsa4096 sign never
  "${gpg[@]}" --armor --export >"$www/download.docker.com/linux/debian/gpg"
  echo "$fingerprint" >"$LAB/upstream/containerd.fingerprint"
  upstream_sign "$www/download.docker.com/linux/debian/dists/$DEBIAN_RELEASE"
  gpgconf --homedir "$home" --kill all
  rm -rf "$home"
}
primary_fingerprint() { "${gpg[@]}" --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }'; }
upstream_sign() { # FOLDER with a Release
  "${gpg[@]}" --clearsign -o "$1/InRelease" "$1/Release"
  "${gpg[@]}" --armor --detach-sign -o "$1/Release.gpg" "$1/Release"
}

# upstream_host ROOT: what an administrator has put on the host. Debian's ca-certificates, once it is installed, takes it in.
upstream_host() {
  install -Dm644 "$LAB/upstream/ca.crt" "$1/usr/local/share/ca-certificates/lab.crt"
}

# Its own names and its own CA, beside those that the machine trusts. The files are laid over the machine's for one command.
# shellcheck disable=SC2016
upstream_exec() { # COMMAND…
  exec ip netns exec "$NETNS" bash -euc '
    [ ! -e /etc/resolv.conf ] || mount --bind "$1/resolv.conf" /etc/resolv.conf
    mount --bind "$1/ca-certificates.crt" "$2"
    shift 2
    exec "$@"' _ "$LAB/upstream/etc" "$MACHINE_ROOTS" "$@"
}

# What kboot cannot know: the hosts, how to log in to them, and the fingerprints of keys that are the lab's own.
bare_inventory() {
  local host
  echo "# The rest is kboot's defaults."
  printf 'apiVersion: kboot/v1alpha1\nkind: Cluster\n'
  if is_upstream; then
    echo packages:
    printf '  %s: {fingerprint: %s}\n' kubernetes "$(<"$LAB/upstream/kubernetes.fingerprint")" containerd "$(<"$LAB/upstream/containerd.fingerprint")"
  else
    eviction
  fi
  printf 'ssh: {user: root, identityFile: ./key, knownHosts: ./known_hosts}\nhosts:\n'
  for host in $(hosts); do
    printf '  - {name: %s, address: %s, ' "$host" "$(host_address "$host")"
    case $host in
    n1) echo 'roles: [control-plane]}' ;;
    n3) echo "roles: [worker], ssh: {user: $(host_user n3), port: $(host_port n3)}}" ;;
    *) echo 'roles: [worker]}' ;;
    esac
  done
}

# faults RULE…: from now on these happen, and no others.
faults() {
  need_root
  need_lab
  is_upstream || die "lab $LAB_NAME was made without --upstream"
  printf '%s\n' "$@" | replace "$LAB/upstream/faults"
}
