# shellcheck shell=bash
# The files that a lab hands to its users, written anew whenever its hosts change: known_hosts, ssh_config, inventory.yaml, env.

write_files() {
  known_hosts_file | replace "$LAB/known_hosts"
  ssh_config_file | replace "$LAB/ssh_config"
  inventory_file | replace "$LAB/inventory.yaml"
  env_file | replace "$LAB/env"
}

replace() {
  cat >"$1.part"
  mv "$1.part" "$1"
}

known_hosts_file() {
  local host name key
  for host in $(hosts); do
    name=$(host_address "$host")
    [[ $(host_port "$host") == 22 ]] || name="[$name]:$(host_port "$host")"
    for key in "$(host_dir "$host")"/identity/ssh_host_*_key.pub; do printf '%s %s\n' "$name" "$(cut -d' ' -f1,2 "$key")"; done
  done
}

ssh_config_file() {
  local host
  for host in $(hosts); do
    printf 'Host %s\n  HostName %s\n  User %s\n  Port %s\n' "$host" "$(host_address "$host")" "$(host_user "$host")" "$(host_port "$host")"
  done
  cat <<Y
Host *
  IdentityFile $LAB/key
  IdentitiesOnly yes
  UserKnownHostsFile $LAB/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 10
  LogLevel ERROR
  # The default exchange takes the client 85 ms more of the processor's time, at each of a test's many logins.
  KexAlgorithms curve25519-sha256
Y
}

inventory_file() {
  if [[ -n $(lab_servers) ]]; then bare_inventory; else lab_inventory; fi
}

eviction() {
  cat <<'Y'
# The disk is the whole machine's, and may well be fuller than the kubelet's tenths allow.
kubelet: {config: {evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, nodefs.inodesFree: 1%, imagefs.available: 1Gi, imagefs.inodesFree: 1%}}}
Y
}

lab_inventory() {
  local host
  cat <<Y
apiVersion: kboot/v1alpha1
kind: Cluster
name: lab
kubernetes: {version: v$K8S_VERSION}
network: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local, cni: flannel}
packages:
  kubernetes: {url: http://$GATEWAY:$REPO_PORT/kubernetes, suite: /, keyFile: ./repo.asc}
  containerd: {url: http://$GATEWAY:$REPO_PORT/docker, suite: $DEBIAN_RELEASE, components: [stable], keyFile: ./repo.asc}
images:
  mirrors: {registry.k8s.io: http://$GATEWAY:$REGISTRY_PORT, ghcr.io: http://$GATEWAY:$REGISTRY_PORT}
$(eviction)
ssh: {user: root, identityFile: ./key, knownHosts: ./known_hosts}
hosts:
Y
  for host in $(hosts); do
    printf '  - {name: %s, address: %s, ' "$host" "$(host_address "$host")"
    case $host in
    n1) echo 'roles: [control-plane]}' ;;
    n2) echo 'roles: [worker], labels: {disk: ssd}}' ;;
    n3) echo "roles: [worker], ssh: {user: $(host_user n3), port: $(host_port n3)}, taints: [\"dedicated=db:NoSchedule\"]}" ;;
    *) echo 'roles: [worker]}' ;;
    esac
  done
}

env_file() {
  printf 'LAB=%q\nLAB_NAME=%q\nNETNS=%q\nINVENTORY=%q\nHOSTS=%q\nREPO_URL=%q\nREGISTRY_URL=%q\n' "$LAB" "$LAB_NAME" "$NETNS" "$LAB/inventory.yaml" \
    "$(hosts | xargs)" "http://$GATEWAY:$REPO_PORT" "http://$GATEWAY:$REGISTRY_PORT"
}
