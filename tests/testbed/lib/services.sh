# shellcheck shell=bash
# What the controller's address serves inside the lab: the apt repository and the image registry, read-only, by links into the cache.

service_start() { # NAME COMMAND…
  local name=$1
  shift
  (
    close_fds
    enter_group services
    exec setsid ip netns exec "$NETNS" "$@" </dev/null >>"$LAB/log/$name.log" 2>&1
  ) &
  disown
}

# shellcheck disable=SC2016
port_answers() { timeout 1 ip netns exec "$NETNS" bash -c 'exec 3<>"/dev/tcp/$1/$2"' _ "$GATEWAY" "$1" 2>/dev/null; }

services_start() {
  local tools
  tools=$(artifact tools)
  served
  service_start repo "$tools/busybox" httpd -f -p "$GATEWAY:$REPO_PORT" -h "$LAB/served/repo"
  until_deadline 10 "the package repository; see $LAB/log/repo.log" port_answers "$REPO_PORT"
  # The images come from elsewhere.
  if is_online; then return; fi
  cat >"$LAB/registry.yml" <<Y
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $LAB/served/storage}
  maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: true}}
http: {addr: "$GATEWAY:$REGISTRY_PORT"}
Y
  service_start registry "$tools/docker-registry" serve "$LAB/registry.yml"
  until_deadline 10 "the image registry; see $LAB/log/registry.log" port_answers "$REGISTRY_PORT"
}
