# shellcheck shell=bash
# The real servers that kboot's defaults name, for a lab that was made with --online: Kubernetes and containerd are downloaded instead of
# built. The lab still has no way out but a relay. Its one end, at the controller's address, takes every name and port 443; the other
# one, in the machine's network, connects to the server that a TLS handshake asks for. Debian's packages are the lab's own.
#
# $LAB/online/   socket, between the two

ONLINE=(https://pkgs.k8s.io/ https://download.docker.com/ https://registry.k8s.io/v2/ https://ghcr.io/v2/)

is_online() { [[ -d $LAB/online ]]; }

# online: whether they answer this machine.
online() {
  need_root
  # shellcheck disable=SC2034 # build_all reads it
  ARTIFACTS=(servers)
  build_all
  "$(artifact servers)/upstream" reach "${ONLINE[@]}"
}

online_start() {
  local program socket=$LAB/online/socket
  program=$(artifact servers)/upstream
  (
    close_fds
    enter_group services
    exec setsid "$program" leave -socket "$socket" </dev/null >>"$LAB/log/online.log" 2>&1
  ) &
  disown
  service_start relay "$program" enter -address "$GATEWAY" -socket "$socket"
  until_deadline 10 "the relay; see $LAB/log/relay.log" port_answers "$HTTPS_PORT"
  until_deadline 10 "the relay's other end; see $LAB/log/online.log" test -S "$socket"
}

# online_host ROOT: the certificate authorities that the machine's administrator has added, a company's for one.
online_host() {
  local added=/usr/local/share/ca-certificates
  [[ ! -d $added ]] || find "$added" -name '*.crt' -exec install -Dm644 -t "$1$added" {} +
}
